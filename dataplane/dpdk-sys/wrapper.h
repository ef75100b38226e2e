/* What the allow-list in build.rs picks from. Everything below the includes exists because bindgen cannot read it
 * from DPDK's own headers: rte_errno is a thread-local behind a macro, and RTE_BIT64() is a function-like macro. */
#include <rte_version.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_dev.h>
#include <rte_ether.h>
#include <rte_mempool.h>
#include <rte_mbuf.h>
#include <rte_ethdev.h>

/** The calling thread's error number after a DPDK function has failed. */
static inline int tidegate_rte_errno(void) { return rte_errno; }

static const uint64_t TIDEGATE_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t TIDEGATE_RX_OFFLOAD_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t TIDEGATE_RX_OFFLOAD_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t TIDEGATE_TX_OFFLOAD_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t TIDEGATE_TX_OFFLOAD_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t TIDEGATE_RSS_IP = RTE_ETH_RSS_IP;
static const uint64_t TIDEGATE_RSS_TCP = RTE_ETH_RSS_TCP;
static const uint64_t TIDEGATE_RSS_UDP = RTE_ETH_RSS_UDP;
static const uint64_t TIDEGATE_F_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t TIDEGATE_F_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t TIDEGATE_F_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t TIDEGATE_F_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t TIDEGATE_F_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t TIDEGATE_F_TX_UDP_CKSUM = RTE_MBUF_F_TX_UDP_CKSUM;
