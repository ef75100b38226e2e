# shellcheck shell=bash
# scripts/test: config=host.toml
# The host path: what Tidegate does not serve is the kernel's, on the gateway's own addresses, in both directions.

echoes() { ns client "$PYTHON" "$ROOT/tests/e2e/echo.py" "$1" "$2" --ask "$3"; } # echoes ADDRESS PORT BYTES
tcp_v4() { kernel_serves 10.0.1.1 2222; echoes 10.0.1.1 2222 300000; }
tcp_v6() { kernel_serves fd00:1::1 2223; echoes fd00:1::1 2223 300000; }
tcp_at_another_ports_address() { kernel_serves 10.0.2.1 2224; echoes 10.0.2.1 2224 1000; }
refused() { # refused udp|tcp
  expect "answer" "$(ns client "$PYTHON" "$ROOT/tests/e2e/echo.py" 10.0.1.1 9 --refused "$1" 2>&1)" refused
}
ping_is_not_the_kernels() {
  local before
  before=$(pinged gw)
  ns client ping -q -c 20 -i 0.02 -W1 10.0.1.1
  expect "pings for the kernel" "$(pinged gw)" "$before"
}
fragments_are_the_kernels() { ns client ping -q -c 2 -i 0.1 -W1 -s 4000 10.0.1.1; }
link_local() { ns client ping -q -c 2 -i 0.1 -W1 "$(ns gw ip -6 -br address show dev host0 scope link | awk '{print $3}' | cut -d/ -f1)%eth0"; }
kernel_reaches_out() {
  ns gw ping -q -c 2 -i 0.1 -W1 10.0.1.100
  ns gw ping -q -c 2 -i 0.1 -W1 fd00:2::11
  expect "page" "$(ns gw curl -s --max-time 5 http://10.0.2.11/)" 'This is backend 1*'
  expect "page over IPv6" "$(ns gw curl -s --max-time 5 'http://[fd00:3::11]/')" 'This is backend 2*'
}
# The kernel has a server on the same address and port, and nobody meets it.
listener_wins() {
  kernel_serves 10.0.1.1 80
  expect "page" "$(ns client curl -s --max-time 5 http://10.0.1.1/)" 'This is backend ?*'
}
looks_like_the_port() {
  local mac
  mac=$(ns client ip neighbor show 10.0.1.1 dev eth0 | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p')
  expect "link" "$(ns gw ip link show host0)" "*UP*mtu 1500*$mac*"
  expect "addresses" "$(ns gw ip -br address show host0)" '*10.0.1.1/24*fd00:1::1/64*fe80:*'
}
follows_addresses() {
  edit "$STATE" 's|^addresses = \["10\.0\.1\.1/24", |&"10.0.9.1/24", |'
  await 5 address_is_there
  ns client ip address add 10.0.9.100/24 dev eth0
  kernel_serves 10.0.9.1 2225
  echoes 10.0.9.1 2225 1000
  ns client ip address delete 10.0.9.100/24 dev eth0
}
address_is_there() { ns gw ip -br address show host0 | grep -q 10.0.9.1/24; }
flood_is_cut() {
  ns client timeout 60 "$PYTHON" "$ROOT/tests/e2e/echo.py" 10.0.1.1 9 --flood 60000
  expect_at_least "limited" "$(dropped host_limited)" 1
  echoes 10.0.1.1 2222 1000
}
said_by_explain() {
  expect 'UDP' "$(explain --in lan --src 10.0.1.100 --dst 10.0.1.1 --proto udp --dport 9)" \
    '*l3_local *nothing here serves it: left to the kernel*host *nothing here serves it: it goes to the kernel by *'
}
goes_with_the_gateway() {
  gateway_stop "$STATE"
  refuse ns gw ip link show host0
  gateway_start "$DRIVER" "$STATE"
  ns gw ip link show host0
}

check looks-like-the-port looks_like_the_port
check tcp-v4 tcp_v4
check tcp-v6 tcp_v6
check tcp-at-another-ports-address tcp_at_another_ports_address
check closed-tcp-port-is-refused refused tcp
check closed-udp-port-is-refused refused udp
check ping-is-not-the-kernels ping_is_not_the_kernels
check fragments-are-the-kernels fragments_are_the_kernels
check link-local link_local
check kernel-reaches-out kernel_reaches_out
check listener-wins listener_wins
check follows-addresses follows_addresses
check said-by-explain said_by_explain
check flood-is-cut flood_is_cut
check goes-with-the-gateway goes_with_the_gateway
