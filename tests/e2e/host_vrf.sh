# shellcheck shell=bash
# scripts/test: config=host.toml
# Routes of the kernel's table of a routing domain, and the kernel's end of an interface in it. The domain is on VLANs of the same wires
# (the other hosts have theirs in user space, tags.py), with the subnets of no other domain.

# With VRF devices in this kernel the TAP is put into one; without them only routes by number of the table can be tested.
if ns gw ip link add vrf-probe type vrf table 999 2>/dev/null; then
  ns gw ip link delete vrf-probe
  HAS_VRF=yes
else
  HAS_VRF=
  say "note  this kernel has no VRF devices: what belongs to one is not tested, only the table's routes and what happens without"
fi

DOMAIN='
[[vrf]]
name = "red"
kernel_table = 1001

[[vlan]]
name = "red-clients"
port = "lan"
id = 10
vrf = "red"
addresses = ["10.50.0.1/24", "fd50::1/64"]

[[vlan]]
name = "red-servers"
port = "web0"
id = 30
vrf = "red"
addresses = ["10.60.0.1/24", "fd60::1/64"]
host = "host-red"
'

# Host links are made at the start.
starts_with_a_domain() {
  gateway_stop "$STATE"
  echo "$DOMAIN" >>"$STATE/gateway.toml"
  gateway_start "$DRIVER" "$STATE"
}
devices_come_up() {
  device_up client 10.50.0.100/24
  device_up b1 10.60.0.11/24
  for subnet in 10.60.0.0/24 10.62.0.0/15; do ns client ip route add "$subnet" via 10.50.0.1 dev red; done
  ns b1 ip route add 10.50.0.0/24 via 10.60.0.1 dev red
  for address in 10.62.0.1 10.63.0.1; do ns b1 ip address replace "$address/32" dev lo; done
  await 5 gets 10.60.0.11
}
TAGS=()
tagged() { # tagged HOST NAME=TAGS
  spawn "$1" "$STATE/tags.$1" "$PYTHON" "$ROOT/tests/e2e/tags.py" eth0 "$2"
  TAGS+=("$SPAWNED")
  await 20 grep -q ready "$STATE/tags.$1" || { cat "$STATE/tags.$1"; return 1; }
}
device_up() { # device_up HOST ADDRESS
  ns "$1" sysctl -qw net.ipv4.conf.red.rp_filter=0 net.ipv4.conf.all.rp_filter=0
  ns "$1" ip link set red up
  ns "$1" ip address add "$2" dev red
}
gets() { ns client ping -q -c 2 -i 0.05 -W 1 "$1"; }
fails() { ! ns client ping -q -c 1 -W 1 "$1"; }
of_red() { show routes --vrf red --source kernel --json | jq -r '[.routes[].to] | sort | join(" ")'; }
is_of_red() { [[ $(of_red) == "$1" ]]; }

table_is_learnt() {
  fails 10.63.0.1 || return 1
  ns gw ip route add 10.63.0.0/16 via 10.60.0.11 dev host-red onlink table 1001
  await 2 gets 10.63.0.1 || return 1
  expect 'the domain has it' "$(of_red)" 10.63.0.0/16
  expect 'the main domain has not' \
    "$(show routes --exact 10.63.0.0/16 --json | jq .shown)" 0
  # A route of the main table is none of the domain's, though it leads over the same device.
  ns gw ip route add 10.62.0.0/16 via 10.60.0.11 dev host-red onlink
  await 2 has_learnt "$STATE" 2
  fails 10.62.0.1 || return 1
  ns gw ip route delete 10.62.0.0/16
  ns gw ip route delete 10.63.0.0/16 table 1001
  await 2 fails 10.63.0.1
}

# The domain gets another number, another table, and its own again.
domains_change_places() {
  local status=0
  ns gw ip route add 10.63.0.0/16 via 10.60.0.11 dev host-red onlink table 1001
  await 2 is_of_red 10.63.0.0/16 || return 1
  reloaded 's/^name = "red"$/name = "blue"\nkernel_table = 1002\n\n[[vrf]]\n&/' || return 1
  await 3 is_of_red 10.63.0.0/16 || status=1
  await 2 gets 10.63.0.1 || status=1
  expect 'nothing of it in the new domain' \
    "$(show routes --vrf blue --source kernel --json | jq .shown)" 0 || status=1
  reloaded 's/^kernel_table = 1001/kernel_table = 1003/' || return 1
  await 3 is_of_red '' || status=1
  await 2 fails 10.63.0.1 || status=1
  reloaded 's/^kernel_table = 1003/kernel_table = 1001/' || return 1
  await 3 gets 10.63.0.1 || status=1
  ns gw ip route delete 10.63.0.0/16 table 1001
  await 2 is_of_red '' || status=1
  return "$status"
}

# Not in the domain means without addresses: nothing of one domain is in another.
stays_out_without_devices() {
  grep -q 'cannot put host-red into the VRF device of table 1001' "$STATE/gateway.log" || { tail "$STATE/gateway.log"; return 1; }
  expect 'addresses' "$(ns gw ip -br address show dev host-red | awk '{print $3}')" ''
  expect 'of the main domain' "$(ns gw ip -4 -br address show dev host0 | awk '{print $3}')" 10.0.1.1/24
  expect 'routes of the kernel' "$(ns gw ip route show dev host-red)" ''
}

belongs_to_the_device() {
  local output
  expect 'master' "$(ns gw cat /sys/class/net/host-red/master/ifindex)" "$(ns gw cat /sys/class/net/red/ifindex)" || return 1
  expect 'address' "$(ns gw ip -4 -br address show dev host-red | awk '{print $3}')" 10.60.0.1/24 || return 1
  expect 'none of it in the main table' "$(ns gw ip route show 10.60.0.0/24)" '' || return 1
  spawn gw "$STATE/red-server" ip vrf exec red "$PYTHON" -c '
import socket
server = socket.create_server(("10.60.0.1", 2222))
server.accept()[0].sendall(b"from red")'
  await 3 listens gw '10.60.0.1%red' 2222
  output=$(ns b1 timeout 3 bash -c 'cat </dev/tcp/10.60.0.1/2222')
  expect 'a program in the domain' "$output" 'from red'
}

check starts-with-a-domain starts_with_a_domain
tagged client red=10
tagged b1 red=30
check devices-come-up devices_come_up
check table-is-learnt table_is_learnt
check domains-change-places domains_change_places
if [[ $HAS_VRF ]]; then
  check belongs-to-the-device belongs_to_the_device
else
  check stays-out-without-devices stays_out_without_devices
fi
for pid in "${TAGS[@]}"; do kill "$pid" 2>/dev/null || true; done
for address in 10.62.0.1 10.63.0.1; do ns b1 ip address delete "$address/32" dev lo; done
