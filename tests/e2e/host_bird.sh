# shellcheck shell=bash
# scripts/test: config=host.toml
# BIRD on the gateway, on ports that Tidegate owns: BGP, OSPFv2 and v3, BFD; then a large feed.
# shellcheck source=scripts/lib/daemons.sh
source "$ROOT/scripts/lib/daemons.sh"

for host in b1 b2; do
  ns "$host" ip address replace 10.77.0.1/32 dev lo
  ns "$host" ip address replace fd77::1/128 dev lo
  feed_answers "$host"
done
ns b1 ip address replace 10.78.0.1/32 dev lo
ns b1 ip address replace fd78::1/128 dev lo

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
CONF
    feed_config
  } | bird_start b1
}
b2_config() { # b2_config [FILTER] — what it does with what it announces
  peer b2 10.0.3.11 002 10.0.3.1 "${1:-}" fd00:3::11 fd00:3::1
  feed_config
}
# The second way: a longer path, until it is made as long as the first.
b2_starts() { b2_config 'bgp_path.prepend(65002);' | bird_start b2; }
paths_become_equal() {
  b2_config | sed 's/ disabled;//' >"$STATE/bird-b2/bird.conf"
  bird_says b2 configure
  await 30 has_hops "$STATE" "${FEED_RETURNS%.*}.0/24" '10.0.2.11 web0 1 10.0.3.11 web1 1'
  feed_is_whole
}
gateway_starts() {
  bird_start gw <<'CONF'
router id 10.0.1.1;
log stderr all;
protocol device { }
protocol kernel { ipv4 { import none; export all; }; merge paths on; }
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
feed_is_whole() {
  local session
  for session in b1 b2; do
    await 30 imports "$session" $((FEED + 1)) || { bird_says gw show protocols all "$session"; return 1; }
  done
  # OSPF's routes went with the wire too, and are not the feed's.
  await 30 gets 10.78.0.1
  await 30 gets fd78::1
  await 10 routes_rest
}
imports() { bird_says gw show protocols all "$1" | grep -q "Routes: *$2 imported"; } # imports SESSION COUNT

check daemons-start daemons_start
check bgp-is-up bgp_is_up
check ospf-is-up ospf_is_up
check bfd-is-up bfd_is_up
check bgp-routes-forward bgp_routes_forward
check ospf-routes-forward ospf_routes_forward
check withdrawn-routes-vanish withdrawn_routes_vanish
# What the feed asks of the data plane is the same on a TAP.
if [[ $DRIVER == af_xdp ]]; then
  check feed-is-installed feed_is_installed
  told "$STATE/feed"
  check data-plane-follows-kernel-after-a-cut cut_follows_kernel b1
  told "$STATE/follow"
  check flap-under-traffic-loses-nothing feed_flaps
  told "$STATE/flap"
  check paths-become-equal paths_become_equal
  # Of two ways, which one an address takes the data plane has chosen: one of the cuts hits it.
  check cut-next-hop-moves-traffic cut_moves_traffic b1 b2
  told "$STATE/cut"
fi
for host in gw b1 b2; do bird_stop "$host"; done
