# shellcheck shell=bash
# scripts/test: config=host.toml
# BIRD on the gateway, on ports that Tidegate owns: BGP, OSPFv2 and v3, BFD; then a large feed.
# shellcheck source=scripts/lib/daemons.sh
source "$ROOT/scripts/lib/daemons.sh"

FEED=100000
FLAPS=10000
# A peer that was lost is tried again soon.
AGAIN='connect delay time 1; connect retry time 2; error wait time 1, 2;'

for host in b1 b2; do
  ns "$host" ip address replace 10.77.0.1/32 dev lo
  ns "$host" ip address replace fd77::1/128 dev lo
done
ns b1 ip address replace 10.78.0.1/32 dev lo
ns b1 ip address replace fd78::1/128 dev lo
# A large feed is for tables, not for sockets: 20.0.0.0 and up, a /24 each.
feed() { # feed FIRST COUNT
  awk -v first="$1" -v count="$2" 'BEGIN {
    for (i = first; i < first + count; i++) printf "  route %d.%d.%d.0/24 blackhole;\n", 20 + int(i / 65536), int(i / 256) % 256, i % 256 }'
}

# peer NS ADDRESS AS ROUTER-ADDRESS
peer() {
  cat <<CONF
router id $2;
log stderr all;
protocol device { }
protocol bfd { interface "eth0" { interval 50 ms; multiplier 3; }; }
protocol static own { ipv4; route 10.77.0.0/16 blackhole; }
protocol static own6 { ipv6; route fd77::/32 blackhole; }
template bgp upward { local $2 as 65$3; hold time 30; bfd on; $AGAIN }
protocol bgp up4 from upward {
  neighbor $4 as 65000;
  ipv4 { import none; export filter { if source = RTS_STATIC then { ${5:-} accept; } reject; }; next hop self; };
}
protocol bgp up6 from upward {
  local ${6} as 65$3;
  neighbor ${7} as 65000;
  ipv6 { import none; export filter { if source = RTS_STATIC then { ${5:-} accept; } reject; }; next hop self; };
}
CONF
}
b1_starts() {
  {
    # BIRD wants tables before those who use them.
    printf 'ipv4 table ospf4;\nipv6 table ospf6;\n'
    peer b1 10.0.2.11 001 10.0.2.1 '' fd00:2::11 fd00:2::1
    cat <<'CONF'
protocol static inside { ipv4 { table ospf4; }; route 10.78.0.0/16 blackhole; }
protocol static inside6 { ipv6 { table ospf6; }; route fd78::/32 blackhole; }
protocol ospf v2 o4 { ipv4 { table ospf4; import none; export all; }; area 0 { interface "eth0" { hello 1; dead count 4; wait 2; }; }; }
protocol ospf v3 o6 { ipv6 { table ospf6; import none; export all; }; area 0 { interface "eth0" { hello 1; dead count 4; wait 2; }; }; }
protocol static feed { disabled; ipv4;
CONF
    feed 0 $((FEED - FLAPS))
    echo '}'
    echo 'protocol static flaps { disabled; ipv4;'
    feed $((FEED - FLAPS)) "$FLAPS"
    echo '}'
  } | bird_start b1
}
# The second way: a longer path.
b2_starts() { peer b2 10.0.3.11 002 10.0.3.1 'bgp_path.prepend(65002);' fd00:3::11 fd00:3::1 | bird_start b2; }
gateway_starts() {
  bird_start gw <<'CONF'
router id 10.0.1.1;
log stderr all;
protocol device { }
protocol kernel { ipv4 { import none; export all; }; }
protocol kernel { ipv6 { import none; export all; }; }
protocol bfd { interface "host*" { interval 50 ms; multiplier 3; }; }
template bgp backend { hold time 30; bfd on; connect delay time 1; connect retry time 2; error wait time 1, 2; }
protocol bgp b1 from backend { local 10.0.2.1 as 65000; neighbor 10.0.2.11 as 65001; ipv4 { import all; export none; }; }
protocol bgp b2 from backend { local 10.0.3.1 as 65000; neighbor 10.0.3.11 as 65002; ipv4 { import all; export none; }; }
protocol bgp b1v6 from backend { local fd00:2::1 as 65000; neighbor fd00:2::11 as 65001; ipv6 { import all; export none; }; }
protocol bgp b2v6 from backend { local fd00:3::1 as 65000; neighbor fd00:3::11 as 65002; ipv6 { import all; export none; }; }
protocol ospf v2 o4 { ipv4 { import all; export none; }; area 0 { interface "host1" { hello 1; dead count 4; wait 2; }; }; }
protocol ospf v3 o6 { ipv6 { import all; export none; }; area 0 { interface "host1" { hello 1; dead count 4; wait 2; }; }; }
CONF
}
daemons_start() { b1_starts; b2_starts; gateway_starts; }
gets() { ns client ping -q -c 2 -i 0.05 -W 1 "$1"; }
fails() { ! ns client ping -q -c 1 -W 1 "$1"; }

bgp_is_up() {
  local session
  for session in b1 b2 b1v6 b2v6; do
    await 20 bird_has gw "$session" Established || { bird_says gw show protocols all "$session"; return 1; }
  done
}
bfd_is_up() {
  await 10 bfd_sessions_up 4 || { bird_says gw show bfd sessions; return 1; }
}
bfd_sessions_up() { (($(bird_says gw show bfd sessions | grep -c ' Up ') >= $1)); }
ospf_is_up() {
  await 20 bird_has gw o4 Running || { bird_says gw show ospf neighbors o4; return 1; }
  await 20 bird_has gw o6 Running || { bird_says gw show ospf neighbors o6; return 1; }
}
bgp_routes_forward() {
  await 5 gets 10.77.0.1
  await 5 gets fd77::1
}
ospf_routes_forward() {
  await 10 gets 10.78.0.1
  await 10 gets fd78::1
}
withdrawn_routes_vanish() {
  bird_says b1 disable inside
  bird_says b1 disable inside6
  await 10 fails 10.78.0.1
  await 10 fails fd78::1
  bird_says b1 enable inside
  bird_says b1 enable inside6
  await 10 gets 10.78.0.1
}
cut_next_hop() {
  local lost
  lost=$(lost_during 10.77.0.1 6 cut_wire b1)
  mend_wire b1
  echo "lost $lost pings of 20 ms"
  echo "$((lost * 20)) ms without a way after a cut, by BFD (3 times 50 ms)" >"$STATE/cut"
  expect_at_least "the cut was one" "$lost" 1
  ((lost < 50)) || { echo "more than a second"; return 1; }
  await 20 bird_has gw b1 Established
}
feed_is_installed() {
  local before began
  # The few routes of sessions that have just come back are not this feed's.
  await 30 gets 10.78.0.1
  await 30 gets fd78::1
  sleep 2
  before=$(learnt "$STATE")
  began=$(milliseconds)
  bird_says b1 enable feed >/dev/null
  bird_says b1 enable flaps >/dev/null
  await 60 has_learnt "$STATE" $((before + FEED)) || { echo "learnt $(learnt "$STATE"), before $before"; tail -n 5 "$STATE/gateway.log"; return 1; }
  echo "$FEED routes from the peer's start to the data plane: $(($(milliseconds) - began)) ms" >"$STATE/feed"
  expect_at_least "routes in the kernel" "$(ns gw ip route show proto bird | wc -l)" "$FEED"
}
flap_under_traffic() {
  local all lost
  all=$(learnt "$STATE")
  lost=$(lost_during 10.78.0.1 8 flap "$all")
  expect "lost pings" "$lost" 0
}
flap() {
  local all=$1 began
  began=$(milliseconds)
  bird_says b1 disable flaps
  await 20 has_learnt "$STATE" $((all - FLAPS))
  echo "$FLAPS withdrawn: $(($(milliseconds) - began)) ms" >"$STATE/flap"
  began=$(milliseconds)
  bird_says b1 enable flaps
  await 20 has_learnt "$STATE" "$all"
  echo "$FLAPS announced again: $(($(milliseconds) - began)) ms" >>"$STATE/flap"
}
show() { [[ ! -s $1 ]] || sed 's/^/        /' "$1"; }

check daemons-start daemons_start
check bgp-is-up bgp_is_up
check ospf-is-up ospf_is_up
check bfd-is-up bfd_is_up
check bgp-routes-forward bgp_routes_forward
check ospf-routes-forward ospf_routes_forward
check withdrawn-routes-vanish withdrawn_routes_vanish
check cut-next-hop-moves-traffic cut_next_hop
show "$STATE/cut"
check feed-is-installed feed_is_installed
show "$STATE/feed"
check flap-under-traffic-loses-nothing flap_under_traffic
show "$STATE/flap"
for host in gw b1 b2; do bird_stop "$host"; done
