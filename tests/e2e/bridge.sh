# shellcheck shell=bash disable=SC2016 # the backquotes are those of messages
# A bridge over two wires and a VLAN of the third: the backends' wires are one Ethernet, the client's VLAN 10 is part of it (tags.py),
# and the gateway routes it by its own address. The other ends are the Linux stack.

stats() { admin "$STATE" /metrics | sed -n "s/^tidegate_$1\({[^}]*}\)\? //p" | head -1; }

# The backends' ports become members; what named their addresses goes.
bridge_is_written() {
  "$PYTHON" - "$STATE/gateway.toml" <<'EOF'
import re, sys
text = open(sys.argv[1]).read()
head, *tables = re.split(r"(?m)^(?=\[)", text)
kept = [head]
for table in tables:
    if table.startswith("[[port]]") and 'name = "web' in table:
        table = re.sub(r"(?m)^addresses = .*\n", "", table)
    # Ports, and the sections that are no list.
    if re.match(r"\[\[port\]\]|\[\w+\]", table):
        kept.append(table)
kept.append('''
[[vlan]]
name = "ten"
port = "lan"
id = 10

[[bridge]]
name = "site"
ports = ["web0", "web1", "ten"]
addresses = ["10.50.0.1/24", "fd50::1/64"]
mac_age_s = 4
mac_limit = 50
''')
open(sys.argv[1] + ".new", "w").write("".join(kept))
EOF
  mv "$STATE/gateway.toml.new" "$STATE/gateway.toml"
}
becomes_a_bridge() {
  taken "$STATE" bridge_is_written || return 1
  spawn client "$STATE/tags.log" "$PYTHON" "$ROOT/tests/e2e/tags.py" eth0 v10=10
  echo "$SPAWNED" >"$STATE/tags.pid"
  await 20 grep -q ready "$STATE/tags.log" || { cat "$STATE/tags.log"; return 1; }
  ns client ip link set v10 up
  ns client ip address add 10.50.0.100/24 dev v10
  ns client ip address add fd50::100/64 dev v10 nodad
  local number=1 host
  for host in b1 b2; do
    ns "$host" ip address add "10.50.0.1$number/24" dev eth0
    ns "$host" ip address add "fd50::1$number/64" dev eth0 nodad
    number=$((number + 1))
  done
}

all_reach_all() {
  local size
  for size in 0 46 1000 1472; do
    ns b1 ping -q -c1 -W2 -s "$size" 10.50.0.12 >/dev/null || { echo "b1 to b2, $size"; return 1; }
    ns b1 ping -q -c1 -W2 -s "$size" 10.50.0.100 >/dev/null || { echo "b1 to the VLAN, $size"; return 1; }
    ns client ping -q -c1 -W2 -s "$size" 10.50.0.12 >/dev/null || { echo "the VLAN to b2, $size"; return 1; }
    ns b2 ping -q -c1 -W2 -s "$size" 10.50.0.1 >/dev/null || { echo "b2 to the bridge, $size"; return 1; }
    ns client ping -q -c1 -W2 -s "$size" 10.50.0.1 >/dev/null || { echo "the VLAN to the bridge, $size"; return 1; }
  done
  ns b1 ping -q -c1 -W2 fd50::12 && ns client ping -q -c1 -W2 fd50::11 && ns b2 ping -q -c1 -W2 fd50::1
}

# Not one hop in between, and one from outside.
bridged_and_routed() {
  await 5 hops_left 64 b1 10.50.0.12 || { echo "a bridge takes no hop"; return 1; }
  ns b1 ip route add 10.0.1.0/24 via 10.50.0.1
  ns client ip route add 10.50.0.11/32 via 10.0.1.1
  local status=0
  await 5 hops_left 63 client 10.50.0.11 || { echo "a router takes one"; ns client ping -c1 -W2 10.50.0.11; status=1; }
  ns client ip route del 10.50.0.11/32
  ns b1 ip route del 10.0.1.0/24
  return "$status"
}

hops_left() { # hops_left TTL FROM TO
  ns "$2" ping -c1 -W1 "$3" | grep -q "ttl=$1"
}

stations_are_learnt_and_forgotten() {
  local known
  known=$(stats bridge_stations)
  ((known >= 2)) || { echo "$known stations"; return 1; }
  # Kernels confirm their neighbours for some seconds more; then nobody speaks.
  await 30 forgotten "$known" || { echo "still $(stats bridge_stations)"; return 1; }
}
forgotten() { (($(stats bridge_stations) < $1)); }

# b2's address appears behind b1: frames follow it.
a_station_moves() {
  local mac before
  mac=$(ns b2 cat /sys/class/net/eth0/address)
  before=$(stats bridge_moves_total)
  ns b2 ping -q -c1 -W2 10.50.0.1 >/dev/null
  ns b1 "$PYTHON" -c "
from scapy.all import Ether, sendp
sendp(Ether(src='$mac', dst='02:00:00:00:77:77', type=0x88b5) / (b'moved' * 10), iface='eth0', verbose=0)"
  await 3 moved "$before" || { echo "no move is counted"; return 1; }
  ns b2 ping -q -c1 -W2 10.50.0.1 || { echo "it does not come back"; return 1; }
}
moved() { (($(stats bridge_moves_total) > $1)); }

made_up_addresses_reach_the_limit() {
  ns b1 "$PYTHON" -c "
from scapy.all import Ether, sendp
sendp([Ether(src=f'02:00:00:01:{n >> 8:02x}:{n & 255:02x}', dst='02:00:00:00:77:77', type=0x88b5) / bytes(50) for n in range(300)],
      iface='eth0', verbose=0)"
  (($(stats bridge_stations) <= 50)) || { echo "$(stats bridge_stations) stations"; return 1; }
  (($(stats bridge_refused_total) >= 200)) || { echo "$(stats bridge_refused_total) refused"; return 1; }
  ns b1 ping -q -c1 -W2 10.50.0.12
}

bulk_over_the_bridge() {
  spawn b2 "$STATE/iperf" iperf3 -s -1 -B 10.50.0.12 -p 5204
  disown "$SPAWNED"
  await 5 iperf_listens || { cat "$STATE/iperf"; return 1; }
  local bytes
  bytes=$(ns b1 timeout 30 iperf3 -c 10.50.0.12 -p 5204 -t 2 -J | jq .end.sum_received.bytes)
  expect_at_least "bytes" "${bytes:-0}" 20000000
}
iperf_listens() { [[ -n $(ns b2 ss -Hltn 'sport = :5204') ]]; }

# A bridge of Linux's behind the first backend's wire, with another host behind it. It speaks the spanning tree protocol, and hears
# nobody.
far_switch() {
  local status=0 before
  before=$(dropped bridge_reserved)
  ip netns add "$PREFIX-far"
  ip link add fair netns "$PREFIX-b1" type veth peer name eth0 netns "$PREFIX-far"
  ns far ethtool -K eth0 tx off >/dev/null 2>&1
  ns far ip link set eth0 up
  ns far ip address add 10.50.0.13/24 dev eth0
  ns b1 ip link add sw type bridge stp_state 1 forward_delay 200 mcast_snooping 0
  ns b1 ip address del 10.50.0.11/24 dev eth0
  ns b1 ip address add 10.50.0.11/24 dev sw
  ns b1 ip link set fair master sw up
  ns b1 ip link set eth0 master sw
  ns b1 ip link set sw up
  await 20 ns far ping -q -c1 -W1 10.50.0.12 >/dev/null || { echo "from behind the switch to b2"; status=1; }
  ns far ping -q -c3 -i 0.2 -W2 -s 1400 10.50.0.100 || { echo "to the VLAN"; status=1; }
  ns far ping -q -c3 -i 0.2 -W2 10.50.0.1 || { echo "to the gateway"; status=1; }
  await 3 ns b1 ping -q -c1 -W1 10.50.0.12 >/dev/null || { echo "from the switch itself"; status=1; }
  await 10 more_dropped bridge_reserved "$before" || { echo "its spanning tree frames are not counted"; status=1; }
  ns b1 ip link del sw
  ns b1 ip link del fair
  ip netns del "$PREFIX-far"
  ns b1 ip address add 10.50.0.11/24 dev eth0
  # The address was the switch's meanwhile.
  ns client ip neighbor flush dev v10
  ns b2 ip neighbor flush dev eth0
  await 5 ns client ping -q -c1 -W1 10.50.0.11 >/dev/null || { echo "not as before"; status=1; }
  return "$status"
}

spanning_tree_ends_here() {
  local before
  before=$(dropped bridge_reserved)
  ns b1 "$PYTHON" -c "
from scapy.all import Dot3, LLC, STP, sendp
sendp(Dot3(dst='01:80:c2:00:00:00', src='02:00:00:00:00:99') / LLC() / STP(), iface='eth0', verbose=0)"
  await 3 more_dropped bridge_reserved "$before"
}
more_dropped() { (($(dropped "$1") > $2)); }

# A member goes while the others talk.
reload_moves_only_what_it_names() {
  spawn client "$STATE/ping.log" ping -q -i 0.02 -c 200 -W1 10.50.0.11
  local pinger=$SPAWNED status=0
  sleep 1
  reloaded 's|^ports = \["web0", "web1", "ten"\]|ports = ["web0", "ten"]|' || status=1
  refuse ns b2 ping -q -c1 -W1 10.50.0.1 >/dev/null || { echo "b2 is still a member"; status=1; }
  wait "$pinger" || status=1
  grep -q ' 0% packet loss' "$STATE/ping.log" || { cat "$STATE/ping.log"; status=1; }
  return "$status"
}

# What is for another station crosses the bridge; what is for the router goes up, and is meant unless something else is said.
explained_across_the_bridge() {
  local b2
  ns b1 ping -q -c1 -W2 10.50.0.12 >/dev/null
  b2=$(ns b2 cat /sys/class/net/eth0/address)
  expect 'bridged' "$(explain --src 10.50.0.11 --in web0 --dst 10.50.0.12 --to-station "$b2")" $'*l2_bridge *cycles  through bridge site: station '"$b2"$' is behind web1\n  => it leaves by web1'
  expect 'routed' "$(explain --src 10.50.0.11 --in web0 --dst 10.0.1.100)" $'*IPv4 on interface web0\n  l2_bridge *cycles  into bridge site, for the gateway itself\n *from here on it is a packet on site\n *to this station*it leaves by lan*'
  expect 'a VLAN that is a member' "$(explain --src 10.50.0.11 --in ten --dst 10.0.1.100)" $'*VLAN 10*IPv4 on interface ten\n  l2_bridge *into bridge site, for the gateway itself\n*to this station*it leaves by lan*'
  expect 'a broadcast' "$(explain --src 10.50.0.11 --in web0 --dst 10.50.0.255 --to-station ff:ff:ff:ff:ff:ff)" '*l2_bridge *into bridge site, for all stations: flooded to 2 members*=> *copies leave by *web1*'
  expect 'an unknown station' "$(explain --src 10.50.0.11 --in web0 --dst 10.50.0.12 --to-station 02:00:00:00:88:88)" '*l2_bridge *through bridge site: station 02:00:00:00:88:88 is not known, flooded to 2 members*'
  expect 'out by the bridge' "$(explain --src 10.0.1.100 --in lan --dst 10.50.0.12)" "*l2_output *l2_bridge *out of bridge site: station $b2 is behind web1*it leaves by web1*"
  refuse grep l2_bridge <<<"$(explain --src 10.0.1.100 --in lan --dst 10.0.1.1)" || { echo 'lan is no member'; return 1; }
  expect 'the bridge itself' "$(refuse explain --src 10.50.0.11 --in site --dst 10.0.1.100)" '*`site` is a bridge: name the member*'
}

# way FILTER FROM TO — what is told of the first packet that the filter fits, while FROM pings TO
way() {
  "$BINARY" trace --socket "$STATE/admin.sock" --count 1 "$1" >"$STATE/bridge.trace" 2>"$STATE/bridge.trace.err" &
  sleep 0.7
  ns "$2" ping -q -c3 -i 0.2 -W1 "$3" >/dev/null || true
  wait $! || { cat "$STATE/bridge.trace.err"; return 1; }
  cat "$STATE/bridge.trace"
}

# Of a real packet the same is known.
followed_across_the_bridge() {
  local b2
  b2=$(ns b2 cat /sys/class/net/eth0/address)
  expect 'followed' "$(way 'icmp and dst 10.50.0.12' b1 10.50.0.12)" "*l2_bridge *through bridge site: station $b2 is behind web1*=> it leaves by web1*"
}

# What the gateway itself sends by the bridge: its question about a host that is not there.
questions_are_followed() {
  local told
  ns client ip route add 10.50.0.77/32 via 10.0.1.1
  told=$(way 'arp and src 10.50.0.1 and dst 10.50.0.77' client 10.50.0.77) || true
  ns client ip route del 10.50.0.77/32
  expect 'followed' "$told" '*l2_bridge *out of bridge site: for all stations, flooded to * members*'
}

check becomes-a-bridge becomes_a_bridge
check all-reach-all all_reach_all
check bridged-and-routed bridged_and_routed
check explained-across-the-bridge explained_across_the_bridge
check followed-across-the-bridge followed_across_the_bridge
check questions-are-followed questions_are_followed
check a-station-moves a_station_moves
check stations-are-learnt-and-forgotten stations_are_learnt_and_forgotten
check made-up-addresses-reach-the-limit made_up_addresses_reach_the_limit
check spanning-tree-ends-here spanning_tree_ends_here
check bulk-over-the-bridge bulk_over_the_bridge
check far-switch far_switch
check reload-moves-only-what-it-names reload_moves_only_what_it_names
kill "$(cat "$STATE/tags.pid")" 2>/dev/null || true
for host in b1 b2; do
  ns "$host" ip address flush dev eth0 to 10.50.0.0/24
  ns "$host" ip address flush dev eth0 to fd50::/64
done
