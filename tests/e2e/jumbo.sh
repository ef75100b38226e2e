# shellcheck shell=bash
# Jumbo frames: the client's wire and the first backend's carry 9000 bytes, the second backend's 1500. On AF_XDP such a packet takes
# several of the kernel's buffers, in and out.

counted() { # counted METRIC — the sum over ports and cores
  admin "$STATE" /metrics | sed -n "s/^tidegate_$1{.*} //p" | paste -sd+ | bc
}

# The wires first: a port refuses an interface whose MTU is below its own.
comes_up() {
  gateway_stop "$STATE"
  wires 9000
  edit "$STATE" 's|^\[runtime\]|&\nframe_size = 16384\nframes_per_core = 4096|; /"(10\.0\.1\.1|10\.0\.2\.1)\/24"/s|^|mtu = 9000\n|'
  gateway_start "$DRIVER" "$STATE"
}
wires() { # wires MTU
  local index end host
  for index in 0 1; do
    host=${HOSTS[index]} end=${PORTS[index]}
    [[ $DRIVER != *tap ]] || end=wire$index
    ns "$host" ip link set eth0 mtu "$1"
    ns gw ip link set "$end" mtu "$1"
    [[ $DRIVER != *tap ]] || ns gw ip link set "br$index" mtu "$1"
  done
}

# Around the ends of buffers, whole and in order: ping compares what comes back.
sizes() { # sizes ADDRESS HEADERS
  local size
  for size in 56 1472 1473 3000 3797 3798 3799 3840 4054 4096 7893 7894 7895 8000 8191 "$((9000 - $2))"; do
    ns client ping -q -c2 -i 0.02 -W2 -M "do" -s "$size" "$1" >/dev/null || { echo "$size bytes"; return 1; }
  done
}
one_more_does_not_fit() { refuse ns client ping -q -c1 -W1 -M "do" -s 8973 10.0.2.11; }
flood() { expect "packets" "$(ns client ping -q -f -c 2000 -W1 -s 8972 -M "do" 10.0.2.11)" '*2000 received*'; }

# Long packets lose nothing beside short ones: one direction is segments of 8948 bytes, the other acknowledgements.
tcp_through() {
  local result direction
  for direction in "" --reverse; do
    spawn b1 "$STATE/iperf" iperf3 -s -1 -B 10.0.2.11 -p 5201
    disown "$SPAWNED"
    await 5 iperf_listens || { cat "$STATE/iperf"; return 1; }
    # shellcheck disable=SC2086 # one word or none
    result=$(ns client timeout 30 iperf3 -c 10.0.2.11 -p 5201 -t 2 -J $direction)
    "$PYTHON" - "$result" <<'PY' || return 1
import json, sys
run = json.loads(sys.argv[1])
mss, received = run["start"]["tcp_mss_default"], run["end"]["sum_received"]["bytes"]
again = run["end"]["sum_sent"].get("retransmits", 0)
print(f"segments of {mss} bytes, {received} bytes received, {again} sent again")
sys.exit(not (mss > 8900 and received > 50_000_000))
PY
  done
}
iperf_listens() { [[ -n $(ns b1 ss -Hltn 'sport = :5201') ]]; }

# The gateway's own TCP: what it says in its SYN, and that a body is whole.
listener() {
  spawn client "$STATE/syn" tcpdump -c 1 -n -l -v -i eth0 'src 10.0.1.1 and tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)'
  local sniffer=$SPAWNED status=0
  await 5 grep -q 'listening on' "$STATE/syn"
  head -c 3000000 /dev/urandom >"$STATE/body"
  expect "sum" "$(ns client curl -s --max-time 20 -T "$STATE/body" -X POST http://10.0.1.1/lab/sum)" "3000000 $(sha256sum <"$STATE/body" | cut -d' ' -f1)" || status=1
  expect "bytes" "$(ns client curl -s --max-time 20 http://10.0.1.1/lab/bytes/3000000 | sha256sum)" \
    "$("$PYTHON" -c 'import sys; sys.stdout.buffer.write((bytes(range(256)) * 12000)[:3000000])' | sha256sum)" || status=1
  wait "$sniffer" || true
  grep -q 'mss 8960' "$STATE/syn" || { cat "$STATE/syn"; status=1; }
  return "$status"
}

# A VLAN of a jumbo port carries as much as the port: the tag comes on top. The client's device is made in user space (tags.py).
a_vlan_of_a_jumbo_port() {
  local tags status=0
  printf '%s\n' '[[vlan]]' 'name = "ten"' 'port = "lan"' 'id = 10' 'addresses = ["10.10.0.1/24", "fd10::1/64"]' | extended || return 1
  spawn client "$STATE/tags.log" "$PYTHON" "$ROOT/tests/e2e/tags.py" eth0 v10=10
  tags=$SPAWNED
  await 20 grep -q ready "$STATE/tags.log" || { echo "no VLAN device"; cat "$STATE/tags.log"; kill "$tags"; return 1; }
  ns client ip link set v10 mtu 9000 up
  ns client ip address add 10.10.0.100/24 dev v10
  ns client ip address add fd10::100/64 dev v10 nodad
  expect "MTU" "$(show ports --json | jq '.interfaces[] | select(.name == "ten") | .mtu')" 9000 || status=1
  sizes 10.10.0.1 28 && sizes fd10::1 48 || status=1
  # In with a tag, out without one, and back.
  ns client ip route add 10.0.2.11/32 via 10.10.0.1 dev v10
  sizes 10.0.2.11 28 || status=1
  ns client ip route del 10.0.2.11/32 via 10.10.0.1 dev v10
  kill "$tags"
  wait "$tags" 2>/dev/null || true
  return "$status"
}

# To a wire of 1500: in pieces where the sender allows it, else it is told.
fragments() { ns client ping -q -c2 -i 0.05 -W2 -M dont -s 8000 10.0.3.11; }
told() { # told PATTERN COMMAND…
  local output
  output=$("${@:2}" 2>&1) || true
  printf '%s\n' "$output"
  grep -qE "$1" <<<"$output"
}
tcp_to_the_narrow_wire() {
  ns client ip route flush cache
  local out
  out=$(ns client curl -s -o /dev/null -w '%{http_code}' --max-time 10 http://10.0.3.11/)
  expect "status" "$out" 200
  # From there, a listener's segments keep to what the client's SYN allowed and the wire takes.
  out=$(ns b2 curl -s -o /dev/null -w '%{http_code} %{size_download}' --max-time 20 http://10.0.1.1/lab/bytes/2000000)
  expect "download" "$out" "200 2000000"
}
# Before TCP takes what it can get, losses of a full ring included.
no_port_lost_any() {
  expect "receive errors" "$(counted rx_errors_total)" 0
  expect "transmit errors" "$(counted tx_errors_total)" 0
}

check comes-up comes_up
check ping-gateway-v4 sizes 10.0.1.1 28
check ping-gateway-v6 sizes fd00:1::1 48
check ping-through-v4 sizes 10.0.2.11 28
check ping-through-v6 sizes fd00:2::11 48
check one-more-does-not-fit one_more_does_not_fit
check flood-ping-loses-nothing flood
check no-port-lost-any no_port_lost_any
check tcp-through tcp_through
check listener listener
check a-vlan-of-a-jumbo-port a_vlan_of_a_jumbo_port
check to-1500-in-fragments fragments
check to-1500-too-big-v4 told 'Frag needed and DF set \(mtu = 1500\)' ns client ping -c2 -i 0.2 -W1 -M "do" -s 8000 10.0.3.11
check to-1500-too-big-v6 told 'Packet too big: mtu=1500' ns client ping -c2 -i 0.2 -W1 -M "do" -s 8000 fd00:3::11
check tcp-to-1500 tcp_to_the_narrow_wire
wires 1500
ns client ip route flush cache
ns client ip -6 route flush cache
