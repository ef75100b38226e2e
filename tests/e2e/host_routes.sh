# shellcheck shell=bash
# scripts/test: config=host.toml
# Routes that are put into the kernel by hand become routes of the data plane, and go again.

for host in b1 b2; do
  ns "$host" ip address replace 10.77.0.1/32 dev lo
  ns "$host" ip address replace fd77::1/128 dev lo
done
gets() { ns client ping -q -c 2 -i 0.05 -W 1 "$1"; }
fails() { ! ns client ping -q -c 1 -W 1 "$1"; }
# The backend that a packet for 10.77.0.1 meets, by what it has received.
meets() { # meets b1|b2
  local before
  before=$(pinged "$1")
  ns client ping -q -c 5 -i 0.02 -W 1 10.77.0.1
  expect_at_least "echo requests at $1" "$(($(pinged "$1") - before))" 5
}
route() { ns gw ip route "$@"; }
route6() { ns gw ip -6 route "$@"; }

comes_and_goes() {
  fails 10.77.0.1
  route add 10.77.0.0/16 via 10.0.2.11
  await 1 gets 10.77.0.1
  route delete 10.77.0.0/16
  await 1 fails 10.77.0.1
}
comes_and_goes_v6() {
  fails fd77::1
  route6 add fd77::/32 via fd00:2::11
  await 1 gets fd77::1
  route6 delete fd77::/32
  await 1 fails fd77::1
}
link_local_of() { ns "$1" ip -6 -br address show dev eth0 scope link | awk '{print $3}' | cut -d/ -f1; }
by_a_link_local_router() {
  local router
  router=$(link_local_of b1)
  route6 add fd77::/32 via "$router" dev host1
  await 1 gets fd77::1
  route6 delete fd77::/32
}
# IPv4 by a router that is known by its IPv6 address only (RFC 8950), as BGP without addresses on the links has it.
by_an_ipv6_router() {
  local router
  router=$(link_local_of b1)
  route add 10.77.0.0/16 via inet6 "$router" dev host1
  await 5 gets 10.77.0.1
  expect "the route" "$(show routes --exact 10.77.0.0/16 --json | jq -r '.routes[0] | .via + " " + .interface')" "$router web0"
  expect "the explanation" "$(explain --in lan --src 10.0.1.9 --dst 10.77.0.1 --proto icmp)" "*by the router $router on web0*"
  route replace 10.77.0.0/16 nexthop via inet6 "$router" dev host1 nexthop via 10.0.3.11
  leads_to 10.77.0.0/16 "10.0.3.11 web1 1 $router web0 1"
  await 5 gets 10.77.0.1
  # As an object, which has routes of both families.
  ns gw ip nexthop add id 6 via "$router" dev host1
  route replace 10.77.0.0/16 nhid 6
  route6 add fd77::/32 nhid 6
  await 5 meets b1
  await 5 gets fd77::1
  ns gw ip nexthop delete id 6
  await 5 fails 10.77.0.1
  await 5 has_learnt "$STATE" 0
}
by_an_ipv6_router_of_the_file() {
  local router
  router=$(link_local_of b2)
  edit "$STATE" "1i [[route]]\nto = \"10.77.0.0/16\"\nvia = \"$router\"\ninterface = \"web1\"\n"
  await 5 meets b2
  edit "$STATE" '1,/^interface = "web1"/d'
  await 5 fails 10.77.0.1
}
is_replaced() {
  route add 10.77.0.0/16 via 10.0.2.11
  await 1 meets b1
  route replace 10.77.0.0/16 via 10.0.3.11
  await 1 meets b2
  route delete 10.77.0.0/16
}
lowest_metric_wins() {
  route add 10.77.0.0/16 via 10.0.2.11 metric 20
  route add 10.77.0.0/16 via 10.0.3.11 metric 10
  await 1 meets b2
  route delete 10.77.0.0/16 metric 10
  await 1 meets b1
  route delete 10.77.0.0/16
}
# leads_to PREFIX HOPS — in the data plane, within a second
leads_to() { await 1 has_hops "$STATE" "$1" "$2" || expect "hops of $1" "$(hops_of "$STATE" "$1")" "$2"; }
many_hops() {
  route add 10.77.0.0/16 nexthop via 10.0.2.11 weight 1 nexthop via 10.0.3.11 weight 2
  await 1 gets 10.77.0.1
  leads_to 10.77.0.0/16 '10.0.2.11 web0 1 10.0.3.11 web1 2'
  route replace 10.77.0.0/16 nexthop via 10.0.2.11 weight 3 nexthop via 10.0.3.11 weight 2
  leads_to 10.77.0.0/16 '10.0.2.11 web0 3 10.0.3.11 web1 2'
  route delete 10.77.0.0/16
  await 1 fails 10.77.0.1
  route6 add fd77::/32 nexthop via fd00:2::11 weight 1 nexthop via fd00:3::11 weight 2
  await 1 gets fd77::1
  leads_to fd77::/32 'fd00:2::11 web0 1 fd00:3::11 web1 2'
  route6 delete fd77::/32
  await 1 fails fd77::1
}
objects_are_followed() {
  ns gw ip nexthop add id 4 via 10.0.2.11 dev host1
  ns gw ip nexthop add id 5 via 10.0.3.11 dev host2
  ns gw ip nexthop add id 9 group 4
  route add 10.77.0.0/16 nhid 9
  await 1 meets b1
  ns gw ip nexthop replace id 9 group 5
  await 1 meets b2
  ns gw ip nexthop replace id 9 group 4,3/5,1
  leads_to 10.77.0.0/16 '10.0.2.11 web0 3 10.0.3.11 web1 1'
  ns gw ip nexthop delete id 9
  await 1 fails 10.77.0.1
  ns gw ip nexthop flush
}
# A hundred thousand routes to one object of the kernel change with it: not one of them is told to the data plane again.
MANY=100000
many_prefixes() { # many_prefixes — in the form of ip -batch
  awk -v count="$MANY" 'BEGIN {
    for (i = 0; i < count; i++) printf "route add %d.%d.%d.0/24 nhid 9\n", 20 + int(i / 65536), int(i / 256) % 256, i % 256 }'
}
LAST=21.134.159.0/24
changes_of() { admin "$STATE" /metrics | sed -n "s/^tidegate_kernel_changes_total{of=\"$1\"} //p"; } # changes_of route|next_hop
has_changed() { (($(changes_of "$1") >= $2)); } # has_changed route|next_hop COUNT — the status is renewed now and then
# turns COMMAND… HOPS — the object changes, the routes follow, and nothing was said about any of them
turns() {
  local hops=${*: -1} routes objects began
  routes=$(changes_of route) objects=$(changes_of next_hop)
  began=$(milliseconds)
  ns gw ip nexthop "${@:1:$#-1}"
  await 10 has_hops "$STATE" "$LAST" "$hops" || expect "hops of $LAST" "$(hops_of "$STATE" "$LAST")" "$hops"
  echo "$MANY routes, ip nexthop ${*:1:$#-1}: $(($(milliseconds) - began)) ms" >>"$STATE/turned"
  await 10 has_changed next_hop $((objects + 1))
  expect "changes of next hops" "$(($(changes_of next_hop) - objects))" 1
  expect "changes of routes" "$(($(changes_of route) - routes))" 0
}
many_change_as_one() {
  ns gw ip nexthop add id 4 via 10.0.2.11 dev host1
  ns gw ip nexthop add id 5 via 10.0.3.11 dev host2
  ns gw ip nexthop add id 9 group 4/5
  local before
  before=$(changes_of route)
  many_prefixes | ns gw ip -batch -
  await 30 has_learnt "$STATE" "$MANY" || expect "learnt" "$(learnt "$STATE")" "$MANY"
  await 10 has_changed route $((before + MANY))
  leads_to "$LAST" '10.0.2.11 web0 1 10.0.3.11 web1 1'
  : >"$STATE/turned"
  turns replace id 9 group 4,3/5,1 '10.0.2.11 web0 3 10.0.3.11 web1 1'
  turns replace id 4 via 10.0.2.12 dev host1 '10.0.2.12 web0 3 10.0.3.11 web1 1'
}
# With its object a route goes without a word from the kernel.
many_go_as_one() {
  ns gw ip nexthop delete id 9
  await 30 has_learnt "$STATE" 0 || expect "learnt" "$(learnt "$STATE")" 0
  ns gw ip nexthop flush
}
objects_of_other_kinds() {
  ns gw ip nexthop add id 4 via 10.0.2.11 dev host1
  ns gw ip nexthop add id 7 blackhole
  route add 10.77.0.0/16 nhid 7
  route add 10.77.0.1/32 nhid 4
  await 1 gets 10.77.0.1
  ns gw ip nexthop delete id 4
  # What is left to it is dropped.
  await 1 fails 10.77.0.1
  await 1 has_learnt "$STATE" 1
  # One for a bridge concerns no route.
  ns gw ip nexthop add id 8 via 10.0.2.11 fdb
  ns gw ip nexthop replace id 7 via 10.0.2.11 dev host1
  await 1 gets 10.77.0.1
  ns gw ip nexthop flush
  await 1 has_learnt "$STATE" 0
}
blackhole() {
  route add blackhole 10.77.0.0/16
  route add 10.77.0.1/32 via 10.0.2.11
  await 1 gets 10.77.0.1
  route delete 10.77.0.1/32
  await 1 fails 10.77.0.1
  route delete blackhole 10.77.0.0/16
  await 2 has_learnt "$STATE" 0
}
prohibit() {
  route add prohibit 10.77.0.0/16
  await 1 says 'Packet filtered' 10.77.0.1
  route replace unreachable 10.77.0.0/16
  await 1 says 'Destination Host Unreachable' 10.77.0.1
  route delete unreachable 10.77.0.0/16
  await 2 has_learnt "$STATE" 0
}
says() { # says PATTERN ADDRESS — what ping is told
  local output
  output=$(ns client ping -c 1 -W 1 "$2") || true
  grep -q "$1" <<<"$output"
}
# With the device IPv4 routes go without a word from the kernel.
goes_with_the_device() {
  route add 10.77.0.0/16 via 10.0.2.11
  await 1 gets 10.77.0.1
  ns gw ip link set host1 down
  await 1 fails 10.77.0.1
  ns gw ip link set host1 up
  await 2 has_learnt "$STATE" 0
}
others_stay_out() {
  ns gw ip link add mgmt0 type dummy 2>/dev/null || ns gw ip link add mgmt0 type veth peer name mgmt1
  ns gw ip address add 192.0.2.1/24 dev mgmt0
  ns gw ip link set mgmt0 up
  route add 10.77.0.0/16 via 192.0.2.2 dev mgmt0 onlink metric 1
  route add 10.77.0.0/16 via 10.0.2.11 metric 100
  route add 10.78.0.0/16 via 10.0.2.11 table 100
  route add 10.79.0.0/16 via 10.0.2.11 proto kernel
  await 1 meets b1
  await 1 has_learnt "$STATE" 1
  ns gw ip link delete mgmt0
  route flush table 100
  route flush proto kernel to 10.79.0.0/16
  route delete 10.77.0.0/16
}
file_wins_unless_told() {
  edit "$STATE" '1i [[route]]\nto = "10.77.0.0/16"\nvia = "10.0.2.11"\n'
  await 3 meets b1
  route add 10.77.0.0/16 via 10.0.3.11
  await 2 has_learnt "$STATE" 1
  meets b1
  edit "$STATE" '1i [kernel_routes]\noverride_static = true\n'
  await 3 meets b2
  edit "$STATE" 's/^override_static = true/enabled = false/'
  await 3 meets b1
  edit "$STATE" 's/^enabled = false/protocols = ["bgp"]/'
  sleep 0.5
  meets b1
  route replace 10.77.0.0/16 via 10.0.3.11 proto bgp
  edit "$STATE" 's/^protocols = .*/protocols = ["bgp"]\noverride_static = true/'
  await 3 meets b2
  route delete 10.77.0.0/16
  await 1 meets b1
}
# A restarted gateway reads what is there. IPv4 routes went with the old device, so they are put back first.
is_read_at_the_start() {
  gateway_stop "$STATE"
  gateway_config "$ROOT/tests/e2e/host.toml" "$DRIVER" "$STATE" "$PKI"
  gateway_start "$DRIVER" "$STATE"
  route add 10.77.0.0/16 via 10.0.2.11
  await 1 gets 10.77.0.1
  edit "$STATE" '1i [kernel_routes]\nenabled = false\n'
  await 3 fails 10.77.0.1
  edit "$STATE" 's/^enabled = false/enabled = true/'
  await 3 gets 10.77.0.1
  route delete 10.77.0.0/16
}

check comes-and-goes comes_and_goes
check comes-and-goes-v6 comes_and_goes_v6
check by-a-link-local-router by_a_link_local_router
check by-an-ipv6-router by_an_ipv6_router
check by-an-ipv6-router-of-the-file by_an_ipv6_router_of_the_file
check is-replaced is_replaced
check lowest-metric-wins lowest_metric_wins
check many-hops many_hops
check objects-are-followed objects_are_followed
check objects-of-other-kinds objects_of_other_kinds
check many-change-as-one many_change_as_one
told "$STATE/turned"
check many-go-as-one many_go_as_one
check blackhole blackhole
check prohibit prohibit
check goes-with-the-device goes_with_the_device
check others-stay-out others_stay_out
check file-wins-unless-told file_wins_unless_told
check is-read-at-the-start is_read_at_the_start
