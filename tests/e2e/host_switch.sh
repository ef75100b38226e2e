# shellcheck shell=bash
# scripts/test: config=switch.toml
# The host path of interfaces that are no port: what runs on this machine is reached on the addresses of a VLAN and of a bridge, and the
# kernel has the addresses that the gateway uses, no others.

stations_come_up() {
  spawn client "$STATE/tags.log" "$PYTHON" "$ROOT/tests/e2e/tags.py" eth0 v10=10 v11=11
  echo "$SPAWNED" >"$STATE/tags.pid"
  await 20 grep -q ready "$STATE/tags.log" || { cat "$STATE/tags.log"; return 1; }
  ns client ip link set v10 up
  ns client ip link set v11 up
  station client v10 10.10.0.100/24 fd10::100/64
  station client v11 10.50.0.100/24 fd50::100/64
  station b1 eth0 10.50.0.11/24 fd50::11/64
  station b2 eth0 10.50.0.12/24 fd50::12/64
}
station() { # station HOST DEVICE IPV4 IPV6
  ns "$1" ip address add "$3" dev "$2"
  ns "$1" ip address add "$4" dev "$2" nodad
}

looks_like_the_interface() {
  local mac
  ns client ping -q -c1 -W2 10.10.0.1 && ns b1 ping -q -c1 -W2 10.50.0.1
  mac=$(ns client ip neighbor show 10.10.0.1 dev v10 | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p')
  expect "the VLAN's end" "$(ns gw ip link show host-ten)" "*UP*mtu 1500*$mac*"
  expect "its addresses" "$(ns gw ip -br address show host-ten)" '*10.10.0.1/24*fd10::1/64*fe80:*'
  mac=$(ns b1 ip neighbor show 10.50.0.1 dev eth0 | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p')
  expect "the bridge's end" "$(ns gw ip link show host-site)" "*UP*mtu 1500*$mac*"
  expect "its addresses" "$(ns gw ip -br address show host-site)" '*10.50.0.1/24*fd50::1/64*fe80:*'
}

# A service of the gateway's kernel, asked from HOST: kernel_answers HOST ADDRESS PORT
kernel_answers() {
  kernel_serves "$2" "$3" || return 1
  local host
  for host in $1; do
    ns "$host" timeout 20 "$PYTHON" "$ROOT/tests/e2e/echo.py" "$2" "$3" --ask 200000 || { echo "asked by $host"; return 1; }
  done
}

pings() {
  local size
  for size in 56 1472 4000; do
    ns client ping -q -c1 -W2 -s "$size" 10.10.0.1 >/dev/null || { echo "VLAN, $size"; return 1; }
    ns client ping -q -c1 -W2 -s "$size" fd10::1 >/dev/null || { echo "VLAN, IPv6, $size"; return 1; }
    ns b2 ping -q -c1 -W2 -s "$size" 10.50.0.1 >/dev/null || { echo "bridge, $size"; return 1; }
    ns client ping -q -c1 -W2 -s "$size" fd50::1 >/dev/null || { echo "bridge, from its VLAN, IPv6, $size"; return 1; }
  done
}

kernel_reaches_out() {
  local address
  for address in 10.10.0.100 fd10::100 10.50.0.11 10.50.0.12 10.50.0.100 fd50::12 fd50::100; do
    ns gw ping -q -c2 -i 0.1 -W2 "$address" >/dev/null || { echo "$address"; return 1; }
  done
}

has() { ns gw ip -br address show dev "$1" | grep -qF " $2"; }
has_not() { ! has "$@"; }

# The first address of a subnet goes, another of it comes.
follows_addresses() {
  reloaded 's|"10\.10\.0\.1/24"|"10.10.0.2/24", "10.10.0.3/24"|'
  await 5 has_not host-ten 10.10.0.1/24 || { echo "the old one stays"; return 1; }
  await 5 has host-ten 10.10.0.2/24 || { echo "no new one"; return 1; }
  has host-ten 10.10.0.3/24 || { echo "only one of two"; return 1; }
  kernel_answers client 10.10.0.3 2230
  reloaded 's|"10\.10\.0\.2/24", "10\.10\.0\.3/24"|"10.10.0.3/24"|'
  await 5 has_not host-ten 10.10.0.2/24
  sleep 0.3
  has host-ten 10.10.0.3/24 || { echo "it went with the first of its subnet"; return 1; }
}

# Two addresses on probation: one is b2's, one nobody's. The kernel gets the second, and only when that is known.
withheld_is_withheld_from_the_kernel() {
  ns b2 ip address add 10.50.0.77/24 dev eth0
  reloaded 's|^addresses = \["10\.50\.0\.1/24"|duplicate_detection = "withhold"\naddresses = ["10.50.0.1/24", "10.50.0.77/24", "10.50.0.78/24"|'
  sleep 1
  has_not host-site 10.50.0.78/24 || { echo "the kernel has it before it is known to be free"; return 1; }
  await 15 has host-site 10.50.0.78/24 || { echo "the kernel never gets it"; return 1; }
  has_not host-site 10.50.0.77/24 || { echo "the kernel has another station's address"; return 1; }
  has host-site 10.50.0.1/24 || { echo "what was in use went"; return 1; }
  ns b2 ip address del 10.50.0.77/24 dev eth0
}

# What the kernel refuses keeps nothing else from being done.
refused_addresses_are_named() {
  ns gw sysctl -qw net.ipv6.conf.host-ten.disable_ipv6=1
  reloaded 's|"10\.10\.0\.3/24", "fd10::1/64"|"fd10::2/64", "fd10::3/64", "10.10.0.4/24"|'
  await 5 has host-ten 10.10.0.4/24 || { echo "the addresses behind a refused one are missing"; return 1; }
  has_not host-ten 10.10.0.3/24 || { echo "the old one stays"; return 1; }
  grep -c 'cannot give host-ten the address fd10::[23]/64' "$STATE/gateway.log"
  expect "reports" "$(grep -c 'cannot give host-ten the address fd10::[23]/64' "$STATE/gateway.log")" 2
  ns gw sysctl -qw net.ipv6.conf.host-ten.disable_ipv6=0
  "$BINARY" reload --socket "$STATE/admin.sock"
  await 5 has host-ten fd10::2/64 || { echo "a reload does not try again"; return 1; }
}

check stations-come-up stations_come_up
check looks-like-the-interface looks_like_the_interface
check tcp-on-a-vlan-v4 kernel_answers client 10.10.0.1 2222
check tcp-on-a-vlan-v6 kernel_answers client fd10::1 2223
check tcp-on-a-bridge-v4 kernel_answers "b1 b2 client" 10.50.0.1 2224
check tcp-on-a-bridge-v6 kernel_answers "b1 b2 client" fd50::1 2225
check pings pings
check kernel-reaches-out kernel_reaches_out
check follows-addresses follows_addresses
check withheld-is-withheld-from-the-kernel withheld_is_withheld_from_the_kernel
check refused-addresses-are-named refused_addresses_are_named
kill "$(cat "$STATE/tags.pid")" 2>/dev/null || true
for host in b1 b2; do
  ns "$host" ip address flush dev eth0 to 10.50.0.0/24
  ns "$host" ip address flush dev eth0 to fd50::/64
done
