# shellcheck shell=bash
# client — gateway — two backends: four network namespaces, one wire (a veth pair) from the gateway to each other.
#
#   client 10.0.1.100  fd00:1::100 ── port 0  10.0.1.1  fd00:1::1 ┐
#   b1     10.0.2.11   fd00:2::11  ── port 1  10.0.2.1  fd00:2::1 ├ gw
#   b2     10.0.3.11   fd00:3::11  ── port 2  10.0.3.1  fd00:3::1 ┘
#
# The gateway's kernel has no address and no IPv6: whatever answers there is Tidegate. Drivers see the wire's end
# directly (af_xdp, and dpdk by net_af_xdp) or through a TAP that is joined with it by a small bridge (tap, dpdk_tap).
# All namespaces carry PREFIX; removing them removes everything, also a half-made state.

PREFIX=${TIDEGATE_PREFIX:-tidegate}
HOSTS=(client b1 b2)
# Names of the gateway's ports, in the order of HOSTS. For af_xdp they are the wire's ends, for tap the TAPs.
PORTS=(lan0 web0 web1)

ns() { # ns NAME COMMAND…
  local name=$1
  shift
  ip netns exec "$PREFIX-$name" "$@"
}

# In the background, with the program's own process id in SPAWNED: a function with `&` would give that of a shell.
spawn() { # spawn NAME OUTPUT COMMAND…
  local name=$1 output=$2
  shift 2
  ip netns exec "$PREFIX-$name" "$@" >"$output" 2>&1 </dev/null 8>&- 9>&- &
  # shellcheck disable=SC2034 # read by those who call
  SPAWNED=$!
}

host_addresses() { # host_addresses NAME -> "IPv4 IPv6 router4 router6 subnet"
  case $1 in
    client) echo "10.0.1.100 fd00:1::100 10.0.1.1 fd00:1::1" ;;
    b1) echo "10.0.2.11 fd00:2::11 10.0.2.1 fd00:2::1" ;;
    b2) echo "10.0.3.11 fd00:3::11 10.0.3.1 fd00:3::1" ;;
  esac
}

# Removes every namespace with our prefix and the processes that live in them, which are all ours.
topology_down() {
  local name pid round
  for name in $(ip netns list | cut -d' ' -f1 | grep "^$PREFIX-" || true); do
    for round in TERM KILL; do
      for pid in $(ip netns pids "$name" 2>/dev/null || true); do
        kill -"$round" "$pid" 2>/dev/null || true
      done
      await 2 no_process_in "$name" || true
    done
    ip netns delete "$name" 2>/dev/null || true
  done
}
# Every thread is asked for: `ip netns pids` knows of a process by its first, which may be gone while others still close what they have open.
no_process_in() {
  [[ ! -e /run/netns/$1 || -z $(find -L /proc/[0-9]*/task/*/ns/net -maxdepth 0 -samefile "/run/netns/$1" -print -quit 2>/dev/null) ]]
}

# topology_up DRIVER [QUEUES]
topology_up() {
  local driver=$1 queues=${2:-1} index
  topology_down
  ip netns add "$PREFIX-gw"
  ns gw sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.ip_forward=0
  ns gw ip link set lo up
  for index in "${!HOSTS[@]}"; do
    host_up "${HOSTS[index]}" "$driver" "$index" "$queues"
  done
}

host_up() {
  local host=$1 driver=$2 index=$3 queues=$4 end=${PORTS[$3]}
  [[ $driver != *tap ]] || end=wire$index
  ip netns add "$PREFIX-$host"
  ns "$host" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
    net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0
  wire_up "$host" "$driver" "$end" "$queues"
  if [[ $driver == *tap ]]; then
    ns gw ip link add "br$index" type bridge forward_delay 0 mcast_snooping 0
    ns gw ip link set "br$index" up
    ns gw ip link set "$end" master "br$index"
  fi
}

# The wire from a host to the gateway: wire_up HOST DRIVER END QUEUES — END is the name of the gateway's end.
wire_up() {
  local host=$1 driver=$2 end=$3 queues=$4
  ip link add eth0 netns "$PREFIX-$host" numtxqueues "$queues" numrxqueues "$queues" type veth \
    peer name "$end" netns "$PREFIX-gw" numtxqueues "$queues" numrxqueues "$queues"
  # A partial checksum is finished by a NIC, and there is none on this wire: what XDP sees must be whole.
  # A TAP with a virtio header carries the state of the checksum along, so there the kernel may stay lazy.
  [[ $driver == tap ]] || ns "$host" ethtool -K eth0 tx off >/dev/null 2>&1
  ns "$host" ip link set lo up
  ns gw ip link set "$end" up
  host_speaks "$host"
}

# What a host has on its wire, and loses when its end is set down: host_speaks HOST
host_speaks() {
  local host=$1 v4 v6 router4 router6
  read -r v4 v6 router4 router6 <<<"$(host_addresses "$host")"
  ns "$host" ip link set eth0 up
  ns "$host" ip address replace "$v4/24" dev eth0
  ns "$host" ip address replace "$v6/64" dev eth0 nodad
  ns "$host" ip route replace default via "$router4"
  ns "$host" ip -6 route replace default via "$router6"
}

# Joins the TAPs a started gateway has made with their wires. The bridge takes frames for the TAP's own address as its
# own, so the kernel's end gets another one than the gateway answers for.
join_taps() {
  local index
  for index in "${!PORTS[@]}"; do
    ns gw ip link set "${PORTS[index]}" address "02:00:5e:00:53:$(printf %02x $((index + 160)))" || return 1
    ns gw ip link set "${PORTS[index]}" master "br$index" up || return 1
    # A TAP has a new address at each start, and what the gateway announced before it was joined nobody heard.
    ns "${HOSTS[index]}" ip neighbor flush dev eth0
  done
}

# A network behind the second backend, which is its router: client — gateway — b2 — far. Towards `far` the link takes 1280 bytes
# and b2 says so. The other way it swallows what is longer, as a path does on which somebody drops ICMP: unless far_up is told to
# give that end the same MTU, `far` sends packets of 1500.
far_up() { # far_up [MTU]
  ip netns add "$PREFIX-far"
  ip link add eth0 netns "$PREFIX-far" type veth peer name far0 netns "$PREFIX-b2"
  ns far ethtool -K eth0 tx off gso off tso off >/dev/null 2>&1
  ns b2 ethtool -K far0 tx off gso off tso off >/dev/null 2>&1
  # Nobody here waits for its turn to complain: how many errors a kernel sends is not what is tested.
  for host in b2 far; do
    ns "$host" sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 \
      net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
  done
  ns b2 sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  ns far ip link set lo up
  ns far ip link set eth0 mtu "${1:-1500}" up
  ns b2 ip link set far0 mtu 1280 up
  ns b2 ip address add 10.0.4.1/24 dev far0
  ns b2 ip address add fd00:4::1/64 dev far0 nodad
  ns far ip address add 10.0.4.12/24 dev eth0
  ns far ip address add fd00:4::12/64 dev eth0 nodad
  ns far ip route add default via 10.0.4.1
  ns far ip -6 route add default via fd00:4::1
}
far_down() {
  local pid
  for pid in $(ip netns pids "$PREFIX-far" 2>/dev/null || true); do kill -KILL "$pid" 2>/dev/null || true; done
  ip netns delete "$PREFIX-far" 2>/dev/null || true
  ns b2 ip link delete far0 2>/dev/null || true
  ns b2 sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
  # With forwarding goes what the kernel had by it.
  ns b2 ip -6 route replace default via fd00:3::1
}
