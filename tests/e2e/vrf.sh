# shellcheck shell=bash disable=SC2016 # the backquotes are those of messages
# Two routing domains with the same addresses, on VLANs of the same wires: client — red — b1, client — blue — b2; and a loopback in
# each. The VLAN devices are made in user space (tags.py), so that a kernel without them will do.

domain() { # domain NAME ID PORT — what both domains have in common
  cat <<EOF

[[vrf]]
name = "$1"

[[vlan]]
name = "$1-clients"
port = "lan"
id = $2
vrf = "$1"
addresses = ["10.50.0.1/24", "fd50::1/64"]

[[vlan]]
name = "$1-servers"
port = "$3"
id = 30
vrf = "$1"
addresses = ["10.60.0.1/24", "fd60::1/64"]

[[route]]
vrf = "$1"
to = "10.61.0.0/16"
via = "10.60.0.11"

[[loopback]]
name = "lo-$1"
vrf = "$1"
addresses = ["10.255.0.1/32", "fdff::1/128"]
EOF
}
domains_are_configured() {
  { domain red 10 web0; domain blue 20 web1; } >"$STATE/domains.toml"
  cat >>"$STATE/domains.toml" <<'EOF'

[[loopback]]
name = "lo"
addresses = ["10.255.0.9/32"]

[[listener]]
name = "on-loopback"
address = "10.255.0.9:80"
EOF
  extended <"$STATE/domains.toml"
}

tagged() { # tagged HOST NAME=TAGS…
  spawn "$1" "$STATE/tags.$1" "$PYTHON" "$ROOT/tests/e2e/tags.py" eth0 "${@:2}"
  TAGS+=("$SPAWNED")
  await 20 grep -q ready "$STATE/tags.$1" || { cat "$STATE/tags.$1"; return 1; }
}
device_up() { # device_up HOST NAME ADDRESSES…
  local host=$1 name=$2 address
  ns "$host" sysctl -qw "net.ipv4.conf.$name.rp_filter=0" net.ipv4.conf.all.rp_filter=0
  ns "$host" ip link set "$name" up
  for address in "${@:3}"; do ns "$host" ip address add "$address" dev "$name" nodad; done
}
devices_come_up() {
  local metric=10 name
  for name in red blue; do
    device_up client "$name" 10.50.0.100/24 fd50::100/64
    ns client ip route add 10.60.0.0/15 via 10.50.0.1 dev "$name" metric "$metric"
    ns client ip route add 10.255.0.1/32 via 10.50.0.1 dev "$name" metric "$metric"
    ns client ip route add 10.0.2.11/32 via 10.50.0.1 dev "$name" metric "$((metric + 1000))"
    ns client ip -6 route add fd60::/64 via fd50::1 dev "$name" metric "$metric"
    metric=$((metric + 10))
  done
  device_up b1 red 10.60.0.11/24 fd60::11/64
  device_up b2 blue 10.60.0.11/24 fd60::11/64
  ns b1 ip route add 10.50.0.0/24 via 10.60.0.1 dev red
  ns b2 ip route add 10.50.0.0/24 via 10.60.0.1 dev blue
  ns b1 ip -6 route add fd50::/64 via fd60::1 dev red
  ns b2 ip -6 route add fd50::/64 via fd60::1 dev blue
  ns b1 ip address add 10.61.0.1/32 dev lo
  ns b2 ip address add 10.61.0.1/32 dev lo
}
by() { ns client ping -q -c2 -i 0.05 -W2 -I "$@"; } # by DEVICE ADDRESS
said() { # said PATTERN DEVICE OPTIONS… — what ping says
  local output
  output=$(ns client ping -c1 -W2 -I "${@:2}" 2>&1) || true
  printf '%s\n' "$output"
  grep -qE "$1" <<<"$output"
}
page() { ns client curl -sS --max-time 5 --interface "$1" "$2"; }

each_domain_answers() {
  local name
  for name in red blue; do
    by "$name" 10.50.0.1 || { echo "$name: its own address"; return 1; }
    by "$name" 10.60.0.1 || { echo "$name: its far address"; return 1; }
    by "$name" fd50::1 || { echo "$name: IPv6"; return 1; }
    by "$name" 10.255.0.1 || { echo "$name: its loopback"; return 1; }
  done
}
same_address_other_host() {
  local name host before other there
  for name in red blue; do
    if [[ $name == red ]]; then host=b1 other=b2; else host=b2 other=b1; fi
    before=$(pinged "$other") there=$(pinged "$host")
    by "$name" 10.60.0.11 || { echo "$name: IPv4"; return 1; }
    by "$name" 10.61.0.1 || { echo "$name: by its route"; return 1; }
    by "$name" fd60::11 || { echo "$name: IPv6"; return 1; }
    expect "echo requests at $other" "$(pinged "$other")" "$before"
    expect_at_least "echo requests at $host" "$(($(pinged "$host") - there))" 4
  done
}
tcp_in_each_domain() {
  expect "page" "$(page red http://10.60.0.11/)" 'This is backend 1*'
  expect "page" "$(page blue http://10.60.0.11/)" 'This is backend 2*'
}
UNREACHABLE='From 10\.50\.0\.1.*(Net|Network) (U|u)nreachable'
errors_come_from_the_domain() {
  said 'From 10\.50\.0\.1.*Time to live exceeded' red -t1 10.60.0.11 || return 1
  said "$UNREACHABLE" red 10.0.2.11
}
# A route that names an interface of another domain is the only way out of one.
a_route_leads_out() {
  cat >"$STATE/leak.toml" <<'EOF'

[[route]]
vrf = "red"
to = "10.0.2.0/24"
interface = "web0"

[[route]]
to = "10.50.0.0/24"
interface = "red-clients"
EOF
  extended <"$STATE/leak.toml" || return 1
  # A link of the main domain is none of this one.
  expect 'origin' "$(show routes --vrf red --exact 10.0.2.0/24 --json | jq -r '.routes[].source')" static || return 1
  ns b1 ip route replace 10.50.0.0/24 via 10.0.2.1 dev eth0
  by red 10.0.2.11 || return 1
  said "$UNREACHABLE" blue 10.0.2.11
}
loopback_is_ours() {
  ns client ping -q -c2 -i 0.05 -W2 10.255.0.9 || return 1
  ns b2 ping -q -c2 -i 0.05 -W2 10.255.0.9 || return 1
  expect 'page' "$(ns client curl -s -o /dev/null -w '%{http_code}' --max-time 5 http://10.255.0.9/)" 200
  refuse ns b1 ping -q -c1 -W1 10.255.0.1 >/dev/null || { echo 'that of a domain answers in the main one'; return 1; }
}
domains_are_shown() {
  local routes
  routes=$(show routes --vrf red --to 10.60.0.0/15 --json |
    jq -r '.routes[] | .to + " " + (.interface // "")' | paste -sd' ')
  expect 'routes of red' "$routes" '*10.60.0.0/24 red-servers*10.61.0.0/16 red-servers*'
  expect 'refusal' "$(refuse show routes --vrf green 2>&1)" '*there are: main, red, blue; *'
}
# Routes and neighbours of every domain at once, each with the name of its own.
all_domains_are_shown() {
  local domain sum=0
  expect 'domains' "$(show routes --vrf all --json --limit 0 | jq -r '[.routes[].vrf] | unique | join(" ")')" 'blue main red'
  expect 'each has its own' "$(show routes --vrf all --exact 10.60.0.0/24 | awk '{ print $1, $2 }' | paste -sd' ')" \
    'VRF TO red 10.60.0.0/24*'
  expect 'none twice' "$(show routes --vrf all --json --limit 0 | jq '[.routes[] | [.vrf, .to]] | length - (unique | length)')" 0
  for domain in main red blue; do sum=$((sum + $(show routes --vrf "$domain" --limit 0 --json | jq .shown))); done
  expect 'the sum' "$(show routes --vrf all --limit 0 --json | jq .shown)" "$sum"
  expect 'neighbours' "$(show neighbours --vrf all | head -n 1)" 'VRF *INTERFACE*'
  expect 'of one' "$(show neighbours --vrf red --json | jq -r '[.neighbors[] | .vrf + " " + .interface] | unique | join(",")')" \
    'red red-clients*'
  expect 'refusal' "$(refuse show neighbours --vrf green 2>&1)" '*there are: main, red, blue; *'
}
# Each says which domain's routes it went by, and where to look when there is none.
domains_are_explained() {
  local said
  expect 'routed' "$(explain --in red-clients --src 10.50.0.100 --dst 10.61.0.1)" \
    '*the longest prefix of the VRF `red` with 10.61.0.1 in it is 10.61.0.0/16*by the router 10.60.0.11 on red-servers*' || return 1
  expect 'named' "$(explain --in blue-clients --src 10.50.0.100 --dst 10.61.0.1 --json | jq -r '.ways[0].end | .vrf + " " + .prefix')" 'blue 10.61.0.0/16' || return 1
  expect 'no route' "$(explain --in red-clients --src 10.50.0.100 --dst 10.0.2.11)" \
    '*no prefix of the VRF `red` has 10.0.2.11 in it*`tidegate show routes --longest 10.0.2.11 --vrf red` shows what there is*' || return 1
  said=$(explain --in red-clients --src 10.50.0.100 --dst 10.60.0.1 --proto tcp --dport 22)
  expect 'TCP' "$said" \
    $'*l3_local *no_listener: nothing serves TCP in the VRF `red`, and the sender is not told\n*=> it is dropped: nothing serves TCP in the VRF `red`*' || return 1
  [[ $said != *listener]]* ]] || { echo "a listener would not help: $said"; return 1; }
  # As it is said, so it is: neither a reset nor an error.
  expect 'silence' "$(ns client curl -sS --max-time 1 --interface red http://10.60.0.1:22/ 2>&1 || true)" '*timed out*'
}

TAGS=()
check domains-are-configured domains_are_configured
tagged client red=10 blue=20
tagged b1 red=30
tagged b2 blue=30
check devices-come-up devices_come_up
check each-domain-answers each_domain_answers
check same-address-other-host same_address_other_host
check tcp-in-each-domain tcp_in_each_domain
check errors-come-from-the-domain errors_come_from_the_domain
check loopback-is-ours loopback_is_ours
check domains-are-shown domains_are_shown
check all-domains-are-shown all_domains_are_shown
check domains-are-explained domains_are_explained
check a-route-leads-out a_route_leads_out
for pid in "${TAGS[@]}"; do kill "$pid" 2>/dev/null || true; done
ns b1 ip route del 10.50.0.0/24 2>/dev/null || true
for host in b1 b2; do ns "$host" ip address del 10.61.0.1/32 dev lo 2>/dev/null || true; done
