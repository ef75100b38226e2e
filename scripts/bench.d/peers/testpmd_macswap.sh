# shellcheck shell=bash
# DPDK's testpmd, which exchanges the hardware addresses of each packet
# shellcheck source=scripts/bench.d/peers/testpmd_io.sh
source "$CATALOGUE/peers/testpmd_io.sh"
# shellcheck disable=SC2034 # read above
testpmd_mode=macswap
