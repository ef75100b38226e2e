# shellcheck shell=bash
# The router: neighbours, ping of all sizes both ways and through, TTL, the ICMP errors a router owes, its own silence.

lladdr() { ns client ip neighbor show "$1" dev eth0 | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p'; }
arp_is_answered() {
  ns client ip neighbor flush dev eth0
  ns client arping -q -c 2 -W 0.2 -i eth0 10.0.1.1 || { echo "no reply to ARP"; return 1; }
  ns client ping -q -c1 -W1 10.0.1.1
  expect "neighbour's address" "$(lladdr 10.0.1.1)" '??:??:??:??:??:??'
}
arp_for_others_is_not_answered() { refuse ns client arping -q -c 2 -W 0.2 -i eth0 10.0.1.77; }
nd_is_answered() {
  ns client ip -6 neighbor flush dev eth0
  ns client ndisc6 -q -1 -r 2 -w 500 fd00:1::1 eth0
  ns client ping -q -c1 -W1 fd00:1::1
  expect "neighbour's address" "$(lladdr fd00:1::1)" '??:??:??:??:??:??'
}
# The address that every router of a prefix has (RFC 4291 §2.6.1): of the link, and of one behind the gateway.
anycast_is_answered() {
  ns client ip -6 neighbor flush dev eth0
  said '^64 bytes from fd00:1::1' ns client ping -c2 -W1 fd00:1:: || return 1
  said '^fd00:1:: .*lladdr .* router' ns client ip -6 neighbor show dev eth0 || return 1
  said '^64 bytes from fd00:1::1' ns client ping -c2 -W1 fd00:2::
}
ping_sizes() { # ping_sizes ADDRESS LARGEST
  local size
  for size in 0 1 56 511 1000 "$2"; do
    ns client ping -q -c2 -i 0.02 -W1 -M "do" -s "$size" "$1" || { echo "size $size"; return 1; }
  done
}
# In fragments that the gateway joins itself, and answers in fragments: ping compares what comes back.
ping_in_fragments() { # ping_in_fragments ADDRESS LARGEST
  local size
  for size in 1500 4000 "$2"; do
    ns client ping -q -c3 -i 0.05 -W2 -M dont -s "$size" "$1" || { echo "size $size"; return 1; }
  done
}
said() { # said PATTERN COMMAND… — the command may fail, its output must match
  local pattern=$1 output
  shift
  output=$("$@" 2>&1) || true
  printf '%s\n' "$output"
  grep -qE "$pattern" <<<"$output"
}
flood_ping_loses_nothing() {
  local seen
  seen=$(ns client ping -q -f -c 2000 -W1 10.0.2.11)
  expect "packets" "$seen" '*2000 received*'
}
# From a backend to the client: the other direction has to resolve its own neighbours.
backwards() {
  ns b1 ping -q -c2 -i 0.05 -W1 10.0.1.100
  ns b1 ping -q -c2 -i 0.05 -W1 fd00:1::100
  ns b1 ping -q -c2 -i 0.05 -W1 10.0.3.11
}
ages_out() {
  ns b1 ip link set eth0 address 02:00:00:aa:bb:cc
  ns b1 ip neighbor flush dev eth0
  # The gateway hears the new address from the backend's own ARP, sooner than its entry would age.
  ns b1 ping -q -c1 -W1 10.0.2.1
  await 5 ns client ping -q -c1 -W1 10.0.2.11
}
direct_tcp() {
  expect "page" "$(ns client curl -s --max-time 5 http://10.0.2.11/)" 'This is backend 1*'
  expect "page over IPv6" "$(ns client curl -s --max-time 5 'http://[fd00:3::11]/')" 'This is backend 2*'
}

check arp-is-answered arp_is_answered
check arp-for-others-is-not-answered arp_for_others_is_not_answered
check nd-is-answered nd_is_answered
check anycast-is-answered anycast_is_answered
check ping-gateway-v4 ping_sizes 10.0.1.1 1472
check ping-gateway-v6 ping_sizes fd00:1::1 1452
check ping-gateway-in-fragments-v4 ping_in_fragments 10.0.1.1 65507
check ping-gateway-in-fragments-v6 ping_in_fragments fd00:1::1 65487
check ping-far-address-in-fragments ping_in_fragments 10.0.3.1 20000
check ping-far-address-of-gateway ping_sizes 10.0.3.1 1472
check ping-through-v4 ping_sizes 10.0.2.11 1472
check ping-through-v6 ping_sizes fd00:3::11 1452
check ping-backwards backwards
check flood-ping-loses-nothing flood_ping_loses_nothing
check ttl-exceeded-v4 said 'From 10\.0\.1\.1.*Time to live exceeded' ns client ping -c1 -W1 -t1 10.0.2.11
check ttl-exceeded-v6 said 'From fd00:1::1.*Time exceeded' ns client ping -c1 -W1 -t1 fd00:2::11
check traceroute-ends-at-the-host said '^64 bytes from 10\.0\.2\.11' ns client ping -c1 -W1 -t2 10.0.2.11
check host-unreachable said 'Host Unreachable' ns client ping -c2 -W4 10.0.2.99
check address-unreachable-v6 said 'Address unreachable' ns client ping -c2 -W4 fd00:2::99
check no-route said '(Net|Network|Host) (Unreachable|unreachable)' ns client ping -c1 -W2 192.0.2.1
check blackhole-is-silent refuse said 'Unreachable|unreachable|Filtered|bytes from' ns client ping -c1 -W1 10.66.1.1
check unreachable-route said 'Unreachable|unreachable' ns client ping -c1 -W2 10.67.1.1
check changed-neighbour-is-learnt ages_out
check tcp-through-the-router direct_tcp
python_cases packets.py
