# shellcheck shell=bash disable=SC2034 # sources are passed by their names
# Spoofed packets: the client sends from addresses that lie with it, elsewhere, nowhere and in a blackhole; what may pass is heard at the
# backends, what may not is neither there nor missing from the metrics.

# Sources of the client, and where the routes say they are. In the order of `sources`: IPv4, IPv6.
ON_LINK=(10.0.1.100 fd00:1::100)
BEHIND_THE_CLIENT=(172.16.0.5 fd16::5) # which is a router to them
BEHIND_ONE_OF_TWO=(10.98.0.5 fd98::5)  # by the client or by b2
AT_B2=(10.0.3.77 fd00:3::77)
NOWHERE=(10.99.0.5 fd99::5)
IN_A_BLACKHOLE=(10.66.0.5 fd66::5)
# A neighbour that only listens: an error of its own would go to where the packet says it comes from, and that may be the other backend.
TARGETS=(10.0.2.21 fd00:2::21)

borrow_addresses() {
  # Questions for the router are asked with an address of the link, whatever the packet has that waits.
  ns client sysctl -qw net.ipv4.conf.all.arp_announce=2
  borrowed add
}
borrowed() { # borrowed add|del
  local address
  for address in "${BEHIND_THE_CLIENT[@]}" "${BEHIND_ONE_OF_TWO[@]}" "${AT_B2[@]}" "${NOWHERE[@]}" "${IN_A_BLACKHOLE[@]}"; do
    case $1/$address in
      add/*:*) ns client ip address add "$address/128" dev lo nodad ;;
      add/*) ns client ip address add "$address/32" dev lo ;;
      *) ns client ip address del "$address" dev lo 2>/dev/null || true ;;
    esac
  done
}

neighbours_and_routes_are_added() {
  extended <<'END'

[[neighbor]]
interface = "web0"
address = "10.0.2.21"
mac = "02:00:00:00:02:21"

[[neighbor]]
interface = "web0"
address = "fd00:2::21"
mac = "02:00:00:00:02:21"

[[route]]
to = "fd16::/16"
via = "fd00:1::100"

[[route]]
to = "10.98.0.0/16"
via = ["10.0.1.100", "10.0.3.11"]

[[route]]
to = "fd98::/16"
via = ["fd00:1::100", "fd00:3::11"]

[[route]]
to = "fd66::/16"
blackhole = true
END
}

# 20 flows of two packets from a source, heard by b1.
flows() { # flows SOURCE TARGET
  ways take "$PREFIX" "$2" 20 "$STATE/ways.spoofed" "source=$1" || true
}
come() { # come ARRIVED DROPPED NAMES-OF-SOURCES… — of the 20 flows of each source, and of their 40 packets
  local arrived=$1 dropped=$2 name family before
  shift 2
  for name in "$@"; do
    local -n sources=$name
    for family in 0 1; do
      before=$(dropped reverse_path)
      expect "$name, ${sources[family]}" "$(flows "${sources[family]}" "${TARGETS[family]}")" "$arrived of 20 flows arrived" || return 1
      expect "$name, ${sources[family]}: dropped" "$(($(dropped reverse_path) - before))" "$dropped" || return 1
    done
  done
}
pass() { come 20 0 "$@"; }
are_dropped() { come 0 40 "$@"; }
mode_is() { reloaded "s/^reverse_path = .*/reverse_path = \"$1\"/"; }

said() { # said SOURCE WORDS — what explain says of a packet of the client's that is dropped
  local target=10.0.2.21
  [[ $1 != *:* ]] || target=fd00:2::21
  expect "explained: $1" "$(explain --in lan --src "$1" --dst "$target")" $'*l3_input *cycles  reverse_path: '"$2"$'\n  => it is dropped: There is no way to the source*'
}

off_asks_nothing() {
  pass ON_LINK BEHIND_THE_CLIENT BEHIND_ONE_OF_TWO AT_B2 NOWHERE IN_A_BLACKHOLE
}
loose_asks_for_a_way() {
  reloaded '/^name = "lan"/a reverse_path = "loose"' || return 1
  pass ON_LINK BEHIND_THE_CLIENT BEHIND_ONE_OF_TWO AT_B2 || return 1
  are_dropped NOWHERE IN_A_BLACKHOLE || return 1
  said 10.99.0.5 'no prefix has 10.99.0.5 in it' && said fd99::5 'no prefix has fd99::5 in it' || return 1
  said 10.66.0.5 '10.66.0.5 leads into a blackhole (10.66.0.0/16)' && said fd66::5 'fd66::5 leads into a blackhole (fd66::/16)'
}
strict_asks_for_one_by_the_interface() {
  mode_is strict || return 1
  pass ON_LINK BEHIND_THE_CLIENT BEHIND_ONE_OF_TWO || return 1
  are_dropped AT_B2 NOWHERE IN_A_BLACKHOLE || return 1
  said 10.0.3.77 '10.0.3.77 lies behind web1 (10.0.3.0/24), and came in by lan' || return 1
  said fd00:3::77 'fd00:3::77 lies behind web1 (fd00:3::/64), and came in by lan'
}
# Also what is for the gateway itself, and what has mistakes: it would answer whoever is named as the sender.
the_gateway_is_no_reflector() {
  local before
  before=$(dropped reverse_path)
  ns client ping -q -c 3 -i 0.05 -W 0.1 -I "${AT_B2[0]}" 10.0.1.1 || true
  ns client ping -q -c 3 -i 0.05 -W 0.1 -I "${AT_B2[1]}" fd00:1::1 || true
  expect 'dropped' "$(($(dropped reverse_path) - before))" 6 || return 1
  # An option that is longer than the header, in transit and for the gateway; a destination option that must be known and is not.
  ns client "$PYTHON" -c "
from scapy.all import IP, IPv6, IPOption, IPv6ExtHdrDestOpt, HBHOptUnknown, UDP, Ether, getmacbyip, sendp
gateway = Ether(dst=getmacbyip('10.0.1.1'))
sendp([gateway / IP(src='${AT_B2[0]}', dst=to, options=[IPOption(option=7, length=39, value=b'\x04\x00')]) / UDP() for to in ('${TARGETS[0]}', '10.0.1.1')]
      + [gateway / IPv6(src='${AT_B2[1]}', dst='fd00:1::1') / IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0xbf, optdata=b'four')]) / UDP()],
      iface='eth0', verbose=0)" || return 1
  expect 'dropped, with mistakes' "$(($(dropped reverse_path) - before))" 9
}
other_interfaces_are_not_asked() {
  ns b1 ip address add 10.99.0.6/32 dev lo
  ways take "$PREFIX" 10.0.3.11 20 "$STATE/ways.spoofed" from=b1 source=10.99.0.6
}
a_default_route_is_a_way() {
  extended <<'END' || return 1

[[route]]
to = "0.0.0.0/0"
via = "10.0.3.11"

[[route]]
to = "::/0"
via = "fd00:3::11"
END
  # It leads to b2, not to where these packets come from.
  are_dropped NOWHERE || return 1
  mode_is loose || return 1
  pass NOWHERE || return 1
  are_dropped IN_A_BLACKHOLE
}
a_default_route_by_the_interface_is_one_of_it() {
  # No other route has one of these as its only router.
  reloaded 's/^via = "10.0.3.11"/via = "10.0.1.100"/; s/^via = "fd00:3::11"/via = "fd00:1::100"/' || return 1
  mode_is strict || return 1
  pass NOWHERE || return 1
  are_dropped AT_B2 IN_A_BLACKHOLE
}
off_again_asks_nothing() {
  mode_is off || return 1
  pass AT_B2 NOWHERE IN_A_BLACKHOLE
}

check borrow-addresses borrow_addresses
check neighbours-and-routes-are-added neighbours_and_routes_are_added
check off-asks-nothing off_asks_nothing
check loose-asks-for-a-way loose_asks_for_a_way
check strict-asks-for-one-by-the-interface strict_asks_for_one_by_the_interface
check the-gateway-is-no-reflector the_gateway_is_no_reflector
check other-interfaces-are-not-asked other_interfaces_are_not_asked
check a-default-route-is-a-way a_default_route_is_a_way
check a-default-route-by-the-interface-is-one-of-it a_default_route_by_the_interface_is_one_of_it
check off-again-asks-nothing off_again_asks_nothing
borrowed del
ns b1 ip address del 10.99.0.6/32 dev lo 2>/dev/null || true
ns client sysctl -qw net.ipv4.conf.all.arp_announce=0
