# shellcheck shell=bash
# scripts/test: config=host_addresses.toml
# Which addresses the kernel has: those of interfaces with `host`, and those of loopbacks. What comes for any other of the gateway's is
# served or refused by Tidegate. The kernel here is a router with a default route of its own, and gets nothing that it could send there.
# shellcheck source=scripts/lib/daemons.sh
source "$ROOT/scripts/lib/daemons.sh"

# Of a port without a way to the kernel, and of the loopback.
OTHERS='10.0.2.1 10.0.3.1 fd00:2::1 fd00:3::1'
LOOPBACKS='192.168.255.1 fdff::1'

kernel_is_a_router() {
  ns gw ip link add mgmt0 type veth peer name mgmt1
  ns gw sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.mgmt0.disable_ipv6=0
  ns gw ip link set mgmt1 up
  ns gw ip link set mgmt0 up
  ns gw ip address add 192.0.2.1/24 dev mgmt0
  ns gw ip address add fd99::1/64 dev mgmt0 nodad
  ns gw ip neighbor add 192.0.2.254 lladdr 02:00:5e:00:53:fe dev mgmt0
  ns gw ip neighbor add fd99::fe lladdr 02:00:5e:00:53:fe dev mgmt0
  ns gw ip route add default via 192.0.2.254
  ns gw ip -6 route add default via fd99::fe dev mgmt0
  ns gw nft -f - <<'NFT'
table inet leak {
  counter forwarded { }
  chain forward { type filter hook forward priority 0; oifname "mgmt0" counter name forwarded; }
}
NFT
}
kernel_is_none() {
  ns gw nft delete table inet leak
  ns gw ip link delete mgmt0
  ns gw sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
}
forwarded() { ns gw nft -j list counter inet leak forwarded | jq '.nftables[] | select(.counter) | .counter.packets'; }

pings() {
  local address size
  for address in $OTHERS $LOOPBACKS; do
    for size in 56 2000 4000; do
      ns client ping -q -c 2 -i 0.1 -W 1 -s "$size" "$address" >/dev/null || { echo "$size bytes to $address"; return 1; }
    done
  done
}
refuses() { # refuses udp|tcp
  local address
  for address in $OTHERS $LOOPBACKS; do
    expect "$address" "$(ns client "$PYTHON" "$ROOT/tests/e2e/echo.py" "$address" 9 --refused "$1" 2>&1)" refused || return 1
  done
}
traceroute_ends() {
  local address output
  for address in $OTHERS $LOOPBACKS; do
    output=$(ns client traceroute -n -q 1 -w 1 -m 4 "$address" | tail -n +2)
    expect "the way to $address" "$output" " 1  $address  *" || return 1
    expect "hops to $address" "$(wc -l <<<"$output")" 1 || return 1
  done
}
others_are_not_the_kernels() {
  local address
  for address in $OTHERS; do
    ! ns gw ip route get "$address" | grep ^local || return 1
  done
  expect "sent by the management port" "$(forwarded)" 0
}

echoes() { ns client "$PYTHON" "$ROOT/tests/e2e/echo.py" "$1" "$2" --ask 100000; } # echoes ADDRESS PORT
loopbacks_are_the_kernels() {
  expect 'addresses' "$(ns gw ip -br address show host0)" '*10.0.1.1/24*192.168.255.1/32*fdff::1/128*'
  kernel_serves 192.168.255.1 2226
  kernel_serves fdff::1 2227
  echoes 192.168.255.1 2226
  echoes fdff::1 2227
}
# Even where it would have more bits in common with the destination.
kernel_prefers_the_ports_address() {
  ns gw ip -6 route add fdfe::/16 via fd00:1::100 dev host0
  expect 'IPv6' "$(ns gw ip -6 route get fdfe::1)" '*src fd00:1::1 *'
  ns gw ip -6 route delete fdfe::/16
  expect 'IPv4' "$(ns gw ip route get 10.0.1.100)" '*src 10.0.1.1 *'
}
has() { [[ " $(ns gw ip -br address show dev host0) " == *" $1 "* ]]; }
has_not() { ! has "$1"; }
loopbacks_follow_a_reload() {
  reloaded 's|^addresses = \["192\.168\.255\.1/32"|&, "192.168.255.2/32"|'
  await 3 has 192.168.255.2/32
  kernel_serves 192.168.255.2 2228
  echoes 192.168.255.2 2228
  reloaded 's|, "192\.168\.255\.2/32"||'
  await 3 has_not 192.168.255.2/32
  has 192.168.255.1/32
}
# What somebody took from the kernel's end, a reload gives back; and nothing else is touched.
reload_gives_back() {
  local link_local address
  link_local=$(ns gw ip -6 -br address show dev host0 scope link | awk '{print $3}')
  for address in 10.0.1.1/24 fd00:1::1/64 192.168.255.1/32 fdff::1/128 "$link_local"; do
    ns gw ip address delete "$address" dev host0
  done
  ns gw ip address add 10.0.5.1/24 dev host0
  kill -HUP "$(cat "$STATE/gateway.pid")"
  for address in 10.0.1.1/24 fd00:1::1/64 192.168.255.1/32 fdff::1/128 "$link_local" 10.0.5.1/24; do
    await 3 has "$address" || { echo "$address is missing"; ns gw ip address show dev host0; return 1; }
  done
  ns gw ip address delete 10.0.5.1/24 dev host0
  kernel_serves 10.0.1.1 2229
  echoes 10.0.1.1 2229
}

# The usual way inside of one network: sessions from loopback to loopback.
bird_peers_from_the_loopback() {
  bird_start client <<CONF
router id 10.0.1.100;
log stderr all;
protocol device { }
protocol static own { ipv4; route 10.77.0.0/16 blackhole; }
protocol bgp up { local 10.0.1.100 as 65000; neighbor 192.168.255.1 as 65000; multihop; hold time 30; $AGAIN
  ipv4 { import none; export all; }; }
CONF
  bird_start gw <<CONF
router id 192.168.255.1;
log stderr all;
protocol device { }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol direct { ipv4; }
protocol bgp peer { local 192.168.255.1 as 65000; neighbor 10.0.1.100 as 65000; multihop; hold time 30; $AGAIN
  ipv4 { import all; export none; }; }
CONF
  await 20 bird_has gw peer Established || { bird_says gw show protocols all peer; return 1; }
  await 5 has_learnt "$STATE" 1 || { learnt "$STATE"; show routes --source kernel; return 1; }
  expect 'the route' "$(show routes --exact 10.77.0.0/16)" '*kernel*10.0.1.100*lan*'
  expect 'what the daemon has of its own to announce' "$(bird_says gw show route protocol direct1)" '*192.168.255.1/32*'
}

check kernel-is-a-router kernel_is_a_router
check pings pings
check closed-tcp-ports-are-refused refuses tcp
check closed-udp-ports-are-refused refuses udp
check traceroute-ends traceroute_ends
check others-are-not-the-kernels others_are_not_the_kernels
check loopbacks-are-the-kernels loopbacks_are_the_kernels
check kernel-prefers-the-ports-address kernel_prefers_the_ports_address
check loopbacks-follow-a-reload loopbacks_follow_a_reload
check reload-gives-back reload_gives_back
check bird-peers-from-the-loopback bird_peers_from_the_loopback
for host in gw client; do bird_stop "$host"; done
check kernel-is-no-router-any-more kernel_is_none
