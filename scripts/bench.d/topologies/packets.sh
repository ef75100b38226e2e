# shellcheck shell=bash
# generator and sink on one side of a program that forwards, in a namespace each: veth pairs, or shared memory without a kernel
#
#   load-NAME  in0  02:00:00:01:00:01 ── lan0  02:00:00:00:00:01  gw-NAME
#   load-NAME  out0 02:00:00:01:00:02 ── web0  02:00:00:00:00:02  gw-NAME
#
# The kernel has no addresses here; a peer that is the kernel gives them to itself.
# shellcheck source=scripts/bench.d/topologies/wire.sh
source "$CATALOGUE/topologies/wire.sh"

network_up() { # network_up PROGRAM
  local load=load-$1 gw=gw-$1
  ip netns add "$PREFIX-$load"
  ip netns add "$PREFIX-$gw"
  packets_namespace "$load"
  packets_namespace "$gw"
  case $PORT in af_xdp | tap | dpdk) ;; *) return 0 ;; esac
  packets_pair "$load" in0 "$gw" lan0 1
  packets_pair "$load" out0 "$gw" web0 2
  # So that the kernel, when it is the program, receives on the program's CPU: see wire_checksums.
  wire_without tso "$load" in0 out0
}

packets_namespace() {
  # Addresses of its own would make the kernel speak where only packets of the generator should be.
  ns "$1" sysctl -qw net.ipv6.conf.default.addr_gen_mode=1 net.ipv6.conf.default.accept_dad=0 net.ipv4.conf.all.rp_filter=0 \
    net.ipv4.conf.default.rp_filter=0
  ns "$1" ip link set lo up
}

packets_pair() { # packets_pair NAMESPACE END NAMESPACE END NUMBER
  ip link add "$2" netns "$PREFIX-$1" address "02:00:00:01:00:0$5" type veth peer name "$4" netns "$PREFIX-$3"
  # A bridge keeps what is addressed to one of its ends, and a TAP is behind one.
  [[ $PORT == tap ]] || ns "$3" ip link set "$4" address "02:00:00:00:00:0$5"
  wire_end "$1" "$2" "$LOAD_CPU"
  wire_end "$3" "$4" "$PROGRAM_CPU"
}

# The device of an end for a program on DPDK: packets_device CASE INDEX END
packets_device() {
  case $PORT in
    dpdk | af_xdp) echo "net_af_xdp$2,iface=$3" ;;
    tap) echo "net_tap$2,iface=tap-$3" ;;
    memif) echo "net_memif$2,role=server,id=0,socket=$PROGRAM_DIR/$3.memif,socket-abstract=no,rsize=11" ;;
    # Packets go out nowhere: a port with a capture to read and none to write drops what it is given.
    pcap) if [[ $2 == 0 ]]; then echo "net_pcap0,rx_pcap=$STATE/$1.pcap,infinite_rx=1"; else echo net_null0,no-rx=1; fi ;;
  esac
}

# Options of DPDK for whoever runs on it: everybody has the same kind of memory.
packets_memory() { # packets_memory [MIB WITHOUT HUGE PAGES]
  local memory
  memory=$(program tidegate tidegate_memory)
  memory=${memory//[\",]/}
  echo "${memory/512/${1:-512}}"
}

# The generator's options for the ends on its side: packets_far PROGRAM
packets_far() {
  if [[ $PORT == memif ]]; then
    printf -- '--port memif:%s --sink memif:%s' "$STATE/$1/lan0.memif,rsize=11" "$STATE/$1/web0.memif,rsize=11"
  else
    printf -- '--port af_xdp:in0 --sink af_xdp:out0'
  fi
}
