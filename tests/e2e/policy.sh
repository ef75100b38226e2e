# shellcheck shell=bash disable=SC2016 # the backquotes are those of messages
# Policy routing: what rules send another way than the routes, by whatever they ask for. The routes lead to b1, rules to b2; next hops
# that only listen are static neighbours, which the backends hear (ways.py).

neighbor() { # neighbor INTERFACE ADDRESS LAST-OCTETS
  printf '\n[[neighbor]]\ninterface = "%s"\naddress = "%s"\nmac = "02:00:00:00:%s"\n' "$@"
}
around() { # the links, and routes to b1
  neighbor web0 10.0.2.21 02:21
  neighbor web1 10.0.3.21 03:21
  neighbor web1 10.0.3.22 03:22
  neighbor web0 fd00:2::21 06:21
  neighbor web1 fd00:3::21 06:31
  neighbor far-link 10.89.0.2 08:92
  cat <<'END'

[[route]]
to = "10.88.0.0/16"
via = "10.0.2.21"

[[route]]
to = "fd88::/32"
via = "fd00:2::21"

# A host that both backends are.
[[route]]
to = "10.87.0.1/32"
via = "10.0.2.11"

[[vrf]]
name = "far"

[[vlan]]
name = "far-link"
port = "web1"
id = 77
vrf = "far"
addresses = ["10.89.0.1/24"]

[[route]]
vrf = "far"
to = "10.88.0.0/16"
via = "10.89.0.2"
END
}
rules() {
  cat <<'END'

[[policy]]
name = "keep"
to = "10.88.9.0/24"
lookup = "main"

[[policy]]
name = "by-source"
from = ["10.0.1.99/32", "10.0.1.64/27"]
to = "10.88.0.0/16"
via = "10.0.3.21"

[[policy]]
name = "by-port"
incoming = "lan"
protocol = "udp"
destination_port = ["7800-7899", 9000]
via = "10.0.3.21"

[[policy]]
name = "by-dscp"
to = "fd88::/32"
dscp = "ef"
via = "fd00:3::21"

# IPv4 by a router that is known by its IPv6 address (RFC 8950).
[[policy]]
name = "by-v6-router"
to = "10.88.7.0/24"
via = "fd00:3::21"

[[policy]]
name = "far"
dscp = "af11"
lookup = "far"

[[policy]]
name = "refused"
to = "10.88.66.0/24"
prohibit = true

[[policy]]
name = "shut"
to = "10.88.67.0/24"
unreachable = true

[[policy]]
name = "shared"
to = "10.88.5.0/24"
next_hops = [
    { via = "10.0.3.21" },
    { via = "10.0.3.22", weight = 3 },
]
END
}

# configure COMMAND… — the gateway's own file and what they print, taken by a reload
configure() {
  [[ -e $STATE/gateway.toml.base ]] || cp "$STATE/gateway.toml" "$STATE/gateway.toml.base"
  taken "$STATE" write "$@"
}
write() {
  { cat "$STATE/gateway.toml.base"; for part in "$@"; do "$part"; done; } >"$STATE/gateway.toml.new"
  mv "$STATE/gateway.toml.new" "$STATE/gateway.toml"
}
takes() { # takes WHO ADDRESS WAYS-OPTIONS… — all flows arrive there
  local who=$1 address=$2
  shift 2
  ways take "$PREFIX" "$address" 20 "$STATE/ways.one" "$@" || return 1
  ways shares "$STATE/ways.one" "$who=1" || { echo "to $address with $*: not $who"; return 1; }
}
counted() { show policies --name "$1" --json | jq .policies[0].packets; } # counted NAME

routes_decide_without_rules() {
  configure around || return 1
  takes b1 10.88.0.1 source=10.0.1.99 dscp=10 port=7801 || return 1
  expect 'rules' "$(show policies)" 'no policy: the routes decide'
}
each_rule_takes_its_packets() {
  configure around rules || return 1
  takes b1 10.88.0.1 && takes b1 fd88::1 || return 1
  takes 02:00:00:00:03:21 10.88.0.1 source=10.0.1.99 || return 1
  takes 02:00:00:00:03:21 10.88.0.1 port=7800 && takes 02:00:00:00:03:21 10.88.0.1 port=9000 || return 1
  takes b1 10.88.0.1 port=7900 || return 1
  takes 02:00:00:00:06:31 fd88::1 dscp=46 && takes b1 fd88::1 dscp=44 || return 1
  takes 02:00:00:00:06:31 10.88.7.1 || return 1
  takes 02:00:00:00:08:92 10.88.0.1 dscp=10
}
the_first_rule_wins() {
  takes b1 10.88.9.1 source=10.0.1.99 port=7801 dscp=10 || return 1
  takes 02:00:00:00:03:21 10.88.0.1 source=10.0.1.99 dscp=10
}
a_refusal_is_told() {
  local output
  output=$(ns client ping -c1 -W2 10.88.66.1 2>&1) || true
  expect 'answer' "$output" '*From 10.0.1.1 *Packet filtered*'
}
flows_share_next_hops() {
  ways take "$PREFIX" 10.88.5.1 1000 "$STATE/ways.shared" || return 1
  ways shares "$STATE/ways.shared" 02:00:00:00:03:21=1 02:00:00:00:03:22=3
}
what_is_for_the_gateway_is_its_own() { ns client ping -q -c2 -i 0.05 -W1 -I 10.0.1.99 10.0.1.1; }
rules_count() {
  local before
  before=$(counted by-source)
  takes 02:00:00:00:03:21 10.88.0.1 source=10.0.1.99 || return 1
  expect 'counted' "$(($(counted by-source) - before))" 40
  expect 'table' "$(show policies)" $'POLICY*\nkeep *lookup main *to 10.88.9.0/24\nby-source *via 10.0.3.21 web1 *from 10.0.1.99/32 or 10.0.1.64/27, to 10.88.0.0/16\n*in lan, protocol udp, to port 7800-7899 or 9000\n*lookup far*'
  expect 'shared' "$(show policies --name shared --json | jq -r '.policies[0].hops[] | .via + " " + (.weight | tostring)' | paste -sd' ')" '10.0.3.2[12] * 10.0.3.2[12] *'
  expect 'metric' "$(admin "$STATE" /metrics)" '*tidegate_policy_packets_total{policy="by-source",core=*'
  expect 'refusal' "$(refuse show policies --name by-sauce)" '*no policy `by-sauce`; there are: keep, by-source*'
}
they_are_explained() {
  expect 'to a router' "$(explain --in lan --src 10.0.1.99 --dst 10.88.0.1)" \
    $'*l3_policy *the first rule that fits is `by-source`, which sends it by the router 10.0.3.21 on web1\n*l3_route *the rule says where\n*by the router 10.0.3.21 on web1, which takes 1500 bytes*it leaves by web1*'
  expect 'into a domain' "$(explain --in lan --src 10.0.1.100 --dst 10.88.0.1 --tos 40)" \
    $'*rule that fits is `far`, which sends it where the routes of the VRF `far` lead\n*the longest prefix of the VRF `far` with 10.88.0.1 in it is 10.88.0.0/16\n*by the router 10.89.0.2 on far-link*'
  expect 'exempt' "$(explain --in lan --src 10.0.1.99 --dst 10.88.9.1)" '*rule that fits is `keep`, which leaves it to the routes*by the router 10.0.2.21*'
  expect 'none' "$(explain --in lan --src 10.0.1.100 --dst 10.88.0.1)" '*no rule fits: the routes decide*'
  # A domain without a route is the one to look into; no table has what a rule says itself.
  expect 'into a domain without a route' "$(explain --in lan --src fd00:1::100 --dst fd88::1 --tos 40)" \
    '*no prefix of the VRF `far` has fd88::1 in it*`tidegate show routes --longest fd88::1 --vrf far` shows what there is*'
  expect 'shut' "$(explain --in lan --src 10.0.1.100 --dst 10.88.67.1 --json | jq -r '.ways[0].end | .policy + " " + .reason + " " + (.hint | tostring)')" 'shut no_route null'
  expect 'refused' "$(explain --in lan --src 10.0.1.100 --dst 10.88.66.1 --json | jq -r '.ways[0].end | .policy + " " + .reason')" 'refused prohibited'
}
# What explain says of a flow is the way that it has taken.
the_next_hop_of_a_flow_is_named() {
  local flow station via said
  while read -r flow _ station; do
    via=10.0.3.${station##*:}
    said=$(explain --in lan --src 10.0.1.100 --dst 10.88.5.1 --proto udp --sport "$((20000 + flow))" --dport 7777)
    expect "flow $flow" "$said" "*of its 2 next hops the flow takes the one by the router $via on web1, with [13] of 4 shares*" || return 1
  done < <(head -n 12 "$STATE/ways.shared")
}
real_packets_are_followed() {
  local name=$STATE/policy.trace
  "$BINARY" trace --socket "$STATE/admin.sock" --json --count 1 icmp and dst 10.88.0.1 >"$name" 2>"$name.err" &
  sleep 0.7
  ns client ping -q -c3 -i 0.2 -W0.1 -I 10.0.1.99 10.88.0.1 || true
  wait $! || { cat "$name.err"; return 1; }
  expect 'policy' "$(jq -r '.end.policy + " " + .end.port' "$name")" 'by-source web1'
}

both_backends_have_the_host() {
  ns b1 ip address add 10.87.0.1/32 dev lo
  ns b2 ip address add 10.87.0.1/32 dev lo
}
moved() { printf '\n[[policy]]\nname = "moved"\nfrom = "10.0.1.0/24"\nto = "10.87.0.1/32"\nprotocol = "icmp"\nvia = "10.0.3.11"\n'; }
a_reload_moves_a_running_ping() {
  local first second pid
  # Both neighbours are known, so that no echo waits for one.
  ns client ping -q -c1 -W2 10.0.3.11 && ns client ping -q -c1 -W2 10.87.0.1 || return 1
  first=$(pinged b1) second=$(pinged b2)
  ns client ping -q -c 400 -i 0.01 -W1 10.87.0.1 >"$STATE/ping" &
  pid=$!
  sleep 1
  configure around rules moved || return 1
  sleep 1
  configure around rules || return 1
  wait "$pid" || { cat "$STATE/ping"; return 1; }
  expect 'answers' "$(cat "$STATE/ping")" '*400 packets transmitted, 400 received*'
  expect_at_least 'echo requests at b1' "$(($(pinged b1) - first))" 100
  expect_at_least 'echo requests at b2' "$(($(pinged b2) - second))" 50
  expect 'all of them' "$(($(pinged b1) - first + $(pinged b2) - second))" 400
}
own() { printf '\n[[policy]]\nname = "own"\nown = true\nfrom = "10.0.1.1/32"\nprotocol = "icmp"\nblackhole = true\n'; }
what_the_gateway_sends_has_rules_of_its_own() {
  configure around own || return 1
  refuse ns client ping -q -c1 -W0.5 10.0.1.1 || return 1
  ns client ping -q -c1 -W2 10.0.2.11 || return 1
  expect 'tcp' "$(ns client curl -s -o /dev/null -w '%{http_code}' --max-time 5 http://10.0.1.1/)" 200
  expect_at_least 'counted' "$(counted own)" 1
}

ns client ip address add 10.0.1.99/32 dev eth0
check routes-decide-without-rules routes_decide_without_rules
check each-rule-takes-its-packets each_rule_takes_its_packets
check the-first-rule-wins the_first_rule_wins
check a-refusal-is-told a_refusal_is_told
check flows-share-next-hops flows_share_next_hops
check what-is-for-the-gateway-is-its-own what_is_for_the_gateway_is_its_own
check rules-count rules_count
check they-are-explained they_are_explained
check the-next-hop-of-a-flow-is-named the_next_hop_of_a_flow_is_named
check real-packets-are-followed real_packets_are_followed
check both-backends-have-the-host both_backends_have_the_host
check a-reload-moves-a-running-ping a_reload_moves_a_running_ping
check what-the-gateway-sends-has-rules-of-its-own what_the_gateway_sends_has_rules_of_its_own
ns client ip address del 10.0.1.99/32 dev eth0 2>/dev/null || true
for host in b1 b2; do ns "$host" ip address del 10.87.0.1/32 dev lo 2>/dev/null || true; done
rm -f "$STATE/gateway.toml.base"
