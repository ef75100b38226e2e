# shellcheck shell=bash
# The gateway's own addresses on their links: announced when new, withheld or defended when another station has them; and what hosts
# are told by router advertisements.

listen() { # listen FILTER — what the client hears, into STATE/heard
  spawn client "$STATE/heard" tcpdump -i eth0 -n -l -e "$1"
  LISTENER=$SPAWNED
  await 5 grep -q 'listening on' "$STATE/heard"
}
heard() { grep -cE "$1" "$STATE/heard" || true; }
heard_at_least() { (($(heard "$2") >= $1)); }
deaf() { kill "$LISTENER" 2>/dev/null || true; wait "$LISTENER" 2>/dev/null || true; }
logged() { grep -qE "$1" "$STATE/gateway.log"; }

new_address_is_announced() {
  local status=0
  # What it says about its addresses when it starts is over after three rounds of at most two seconds.
  sleep 6
  listen 'arp or icmp6'
  reloaded 's|"10\.0\.1\.1/24", "fd00:1::1/64"|"10.0.1.1/24", "10.0.1.9/24", "fd00:1::1/64", "fd00:1::9/64"|' || status=1
  await 10 heard_at_least 3 'ARP.*who-has 10\.0\.1\.9 .*tell 10\.0\.1\.9' || { echo "no gratuitous ARP"; status=1; }
  await 10 heard_at_least 3 'ARP.*who-has 10\.0\.1\.9 .*tell 0\.0\.0\.0' || { echo "no ARP probes"; status=1; }
  await 10 heard_at_least 3 'fd00:1::9 > ff02::1: .*neighbor advertisement.*fd00:1::9' || { echo "no advertisements"; status=1; }
  deaf
  expect "known addresses announced again" "$(heard 'tell 10\.0\.1\.1[ ,]')" 0 || status=1
  cat "$STATE/heard"
  ns client ping -q -c1 -W1 10.0.1.9 && ns client ping -q -c1 -W1 fd00:1::9 || status=1
  return "$status"
}

# Another station takes an address that is in use: it is defended and reported, and goes on working.
conflict_is_reported() {
  local mac
  mac=$(ns client cat /sys/class/net/eth0/address)
  ns client "$PYTHON" -c "
from scapy.all import ARP, Ether, sendp
sendp(Ether(src='$mac', dst='ff:ff:ff:ff:ff:ff') / ARP(op=1, hwsrc='$mac', psrc='10.0.1.9', pdst='10.0.1.9'), iface='eth0', verbose=0)"
  await 5 logged "another station uses our address.*10\.0\.1\.9.*$mac" || { tail -n 5 "$STATE/gateway.log"; return 1; }
  ns client ip neighbor flush dev eth0
  await 3 ns client ping -q -c1 -W1 10.0.1.9
}

# As ARP, by neighbour discovery: a station that advertises the address, which the gateway takes back; and one that had it before.
conflict6_is_reported() {
  local mac gateway status=0
  mac=$(ns client cat /sys/class/net/eth0/address)
  gateway=$(ns client ip -json neighbor show 10.0.1.9 dev eth0 | jq -r '.[0].lladdr')
  sleep 10 # since it was last defended
  listen 'icmp6 and ip6[40] == 136'
  ns client "$PYTHON" -c "
from scapy.all import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6, Ether, sendp
sendp(Ether(src='$mac', dst='33:33:00:00:00:01') / IPv6(src='fd00:1::9', dst='ff02::1', hlim=255) / ICMPv6ND_NA(tgt='fd00:1::9', R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr='$mac'), iface='eth0', verbose=0)"
  await 5 logged "another station uses our address.*fd00:1::9.*$mac" || { tail -n 5 "$STATE/gateway.log"; status=1; }
  await 5 heard_at_least 1 "$gateway > 33:33:00:00:00:01.*fd00:1::9 > ff02::1: .*neighbor advertisement" || { echo "not defended"; cat "$STATE/heard"; status=1; }
  deaf
  ns client ip address add fd00:1::90/64 dev eth0 nodad
  reloaded 's|"fd00:1::9/64"|"fd00:1::9/64", "fd00:1::90/64"|' || status=1
  await 10 logged "another station uses our address.*fd00:1::90.*$mac" || { echo "the kernel's answer to a probe is not heard"; status=1; }
  ns client ip address del fd00:1::90/64 dev eth0
  reloaded 's|, "fd00:1::90/64"||' || status=1
  return "$status"
}

withheld_until_it_is_free() {
  ns client ip address add 10.0.1.200/24 dev eth0
  ns client ip address add fd00:1::200/64 dev eth0 nodad
  reloaded 's|"10\.0\.1\.9/24", |"10.0.1.200/24", "fd00:1::200/64", |; s|^(interface = "lan0")|\1\nduplicate_detection = "withhold"|; s|^(device = "[^"]*lan0")|\1\nduplicate_detection = "withhold"|'
  await 10 logged "another station's and is not used.*10\.0\.1\.200" || { echo "IPv4: no report"; return 1; }
  await 10 logged "another station's and is not used.*fd00:1::200" || { echo "IPv6: no report"; return 1; }
  sleep 8
  ns client ip address del 10.0.1.200/24 dev eth0
  ns client ip address del fd00:1::200/64 dev eth0
  refuse ns client ping -q -c1 -W1 10.0.1.200 || { echo "a withheld address answers"; return 1; }
  ns client ping -q -c1 -W1 10.0.1.1 || { echo "the other addresses must go on"; return 1; }
  "$BINARY" reload --socket "$STATE/admin.sock"
  await 12 logged 'now in use' || { echo "never in use"; return 1; }
  await 3 ns client ping -q -c1 -W1 10.0.1.200
  await 3 ns client ping -q -c1 -W1 fd00:1::200
}

hosts_configure_themselves() {
  local output
  ns client sysctl -qw net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.eth0.autoconf=1
  reloaded '/^addresses = \["10\.0\.1\.1/a [port.router_advertisements]\ninterval_s = 4\nleast_interval_s = 3\nlifetime_s = 12\nhop_limit = 61\nmtu = 1400\nprefixes = [{ prefix = "fd00:1::/64", valid_lifetime_s = 86000, preferred_lifetime_s = 14000 }]\ndns = ["fd00:1::53"]'
  output=$(ns client rdisc6 -1 -r 3 -w 2000 eth0)
  printf '%s\n' "$output"
  grep -q 'Prefix *: fd00:1::/64' <<<"$output" || { echo "no prefix"; return 1; }
  grep -q 'Recursive DNS server *: fd00:1::53' <<<"$output" || { echo "no name server"; return 1; }
  grep -qE 'Router lifetime *: *12 ' <<<"$output" || { echo "no lifetime"; return 1; }
  await 5 said_by_kernel 'inet6 fd00:1:.*dynamic' address show dev eth0 || { echo "the kernel made no address"; return 1; }
  await 5 said_by_kernel '^default via fe80:.*proto ra' route show || { echo "the kernel has no default route"; return 1; }
  expect "hop limit" "$(ns client sysctl -n net.ipv6.conf.eth0.hop_limit)" 61 || return 1
  expect "MTU" "$(ns client sysctl -n net.ipv6.conf.eth0.mtu)" 1400 || return 1
  grep -qE 'Valid time *: *86000 ' <<<"$output" || { echo "the prefix has no lifetime of its own"; return 1; }
  # A prefix that comes is told at once, one that goes is withdrawn at once: not in ten minutes.
  reloaded 's|^interval_s = 4|interval_s = 600|; s|^lifetime_s = 12|lifetime_s = 1800|'
  sleep 4
  reloaded 's|"fd00:1::1/64"|"fd00:1::1/64", "fd00:78::1/64"|'
  await 6 said_by_kernel 'inet6 fd00:78:.*dynamic' address show dev eth0 || { echo "no address in the new prefix"; return 1; }
  reloaded 's|, "fd00:78::1/64"||'
  await 6 said_by_kernel 'inet6 fd00:78:.*deprecated' address show dev eth0 || { echo "the old prefix stays"; return 1; }
  # The router says good-bye when it stops advertising: the route goes at once, not after 12 s.
  reloaded '/^\[port\.router_advertisements\]/,/^dns = /d'
  await 6 gone_from_kernel '^default via fe80:.*proto ra' route show || { echo "the default route stays"; return 1; }
  ns client sysctl -qw net.ipv6.conf.eth0.accept_ra=0
}

# A gateway that is stopped sends a last advertisement (RFC 4861 §6.2.5): hosts turn to another router at once.
farewell_at_the_end() {
  ns client sysctl -qw net.ipv6.conf.eth0.accept_ra=2
  reloaded '/^addresses = \["10\.0\.1\.1/a [port.router_advertisements]\ninterval_s = 600\nlifetime_s = 1800'
  ns client rdisc6 -1 -r 3 -w 2000 eth0
  await 5 said_by_kernel '^default via fe80:.*proto ra' route show || { echo "the kernel has no default route"; return 1; }
  gateway_stop "$STATE"
  await 3 gone_from_kernel '^default via fe80:.*proto ra' route show || { echo "the default route stays"; return 1; }
  ns client sysctl -qw net.ipv6.conf.eth0.accept_ra=0
  gateway_start "$DRIVER" "$STATE"
}
# Switches that look (RFC 4541) bring solicitations only where they are listened to: the groups of new addresses are reported, those
# of old ones left, and queriers of both versions answered (RFC 9777).
mld() { ns client timeout 30 "$PYTHON" "$ROOT/tests/e2e/mld.py" eth0 "$@"; } # mld WHAT SECONDS GROUP…
groups_are_reported() {
  told_while reports 's|"10\.0\.1\.1/24"|"10.0.1.1/24", "fd00:1::7:9/64"|' && told_while left 's|, "fd00:1::7:9/64"||'
}
told_while() { # told_while WHAT EDIT
  local heard status=0
  mld "$1" 10 ff02::1:ff07:9 >"$STATE/mld" 2>&1 &
  heard=$!
  await 10 grep -q listening "$STATE/mld" || status=1
  reloaded "$2" || status=1
  wait "$heard" || status=1
  cat "$STATE/mld"
  return "$status"
}
queriers_are_answered() { mld query 5 ff02::1:ff00:1 ff02::2; }
# For minutes after it the gateway speaks version 1, so that this comes last.
queriers_of_version_1_are_answered() { mld query1 5 ff02::1:ff00:1 ff02::2; }
# A Linux bridge that looks: the gateway's groups are in its table, and solicitations still come through. A new
# address says all groups again.
a_bridge_that_looks_knows_them() {
  local status=0
  [[ $DRIVER == tap ]] || return 0
  ns gw ip link set br0 type bridge mcast_snooping 1 mcast_querier 1 || return 1
  reloaded 's|"10\.0\.1\.1/24"|"10.0.1.1/24", "fd00:1::7:8/64"|' || status=1
  await 15 in_bridge ff02::1:ff07:8 || { echo "not in the table"; ns gw bridge -d mdb show; status=1; }
  ns client ip -6 neighbor flush dev eth0
  # It is withheld until it is known to be free.
  await 15 ns client ping -q -c1 -W1 fd00:1::7:8 || { echo "no answer"; status=1; }
  reloaded 's|, "fd00:1::7:8/64"||' || status=1
  ns gw ip link set br0 type bridge mcast_querier 0 mcast_snooping 0
  return "$status"
}
in_bridge() { ns gw bridge mdb show dev br0 | grep -q "grp $1 "; }

# RFC 4861 §6.2.7: another router that tells hosts something else is named in the log, once, and counted.
another_router_disagrees() {
  local before status=0
  reloaded '/^addresses = \["10\.0\.1\.1/a [port.router_advertisements]\ninterval_s = 600\nprefixes = [{ prefix = "fd00:1::/64", valid_lifetime_s = 86000, preferred_lifetime_s = 14000 }]' || return 1
  before=$(dropped router_disagrees)
  advertises 'chlim=64' && advertises 'chlim=32' && advertises 'chlim=32' || status=1
  await 5 dropped_since router_disagrees "${before:-0}" 2 || { echo "counted: $(dropped router_disagrees)"; status=1; }
  await 5 logged 'another router advertises.*fe80::abcd' || { echo "not logged"; status=1; }
  grep 'another router' "$STATE/gateway.log"
  expect "times in the log" "$(grep -c 'another router advertises' "$STATE/gateway.log")" 1 || status=1
  logged 'another router advertises.*hop_limit.*theirs.*32.*ours.*64' || { echo "it does not say what"; status=1; }
  reloaded '/^\[port\.router_advertisements\]/,/^prefixes = /d' || status=1
  return "$status"
}
dropped_since() { (($(dropped "$1") - $2 == $3)); } # dropped_since REASON BEFORE COUNT
advertises() { # advertises FIELDS — what an advertisement of another router says
  ns client "$PYTHON" -c "
from scapy.all import Ether, ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6, get_if_hwaddr, sendp
prefix = ICMPv6NDOptPrefixInfo(prefix='fd00:1::', prefixlen=64, validlifetime=86000, preferredlifetime=14000)
sendp(Ether(src=get_if_hwaddr('eth0'), dst='33:33:00:00:00:01') / IPv6(src='fe80::abcd', dst='ff02::1', hlim=255)
      / ICMPv6ND_RA(routerlifetime=1800, M=0, O=0, $1) / prefix, iface='eth0', verbose=0)"
}
said_by_kernel() { ns client ip -6 "${@:2}" | grep -qE "$1"; }
gone_from_kernel() { ! said_by_kernel "$@"; }

check new-address-is-announced new_address_is_announced
check conflict-is-reported conflict_is_reported
check conflict-is-reported-ipv6 conflict6_is_reported
check withheld-until-it-is-free withheld_until_it_is_free
check hosts-configure-themselves hosts_configure_themselves
check groups-are-reported groups_are_reported
check queriers-are-answered queriers_are_answered
check a-bridge-that-looks-knows-them a_bridge_that_looks_knows_them
check another-router-disagrees another_router_disagrees
check farewell-at-the-end farewell_at_the_end
check queriers-of-version-1-are-answered queriers_of_version_1_are_answered
