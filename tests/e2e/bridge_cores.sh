# shellcheck shell=bash
# scripts/test: queues=2
# scripts/test: config=switch.toml
# A bridge on two cores: what one has learnt the other knows, so that a frame to a known station leaves by one member whichever core
# it came to.

stations_come_up() {
  spawn client "$STATE/tags.log" "$PYTHON" "$ROOT/tests/e2e/tags.py" eth0 v11=11
  echo "$SPAWNED" >"$STATE/tags.pid"
  await 20 grep -q ready "$STATE/tags.log" || { cat "$STATE/tags.log"; return 1; }
  ns client ip link set v11 up
  ns client ip address add 10.50.0.100/24 dev v11
  ns b1 ip address add 10.50.0.11/24 dev eth0
  ns b2 ip address add 10.50.0.12/24 dev eth0
  ns b1 ping -q -c2 -i 0.2 -W2 10.50.0.12
}
received() { # received CORE — packets on the bridge's ports
  admin "$STATE" /metrics | sed -n "s/^tidegate_rx_packets_total{.*core=\"$1\".*port=\"web[01]\".*} //p; s/^tidegate_rx_packets_total{.*port=\"web[01]\".*core=\"$1\".*} //p" | paste -sd+ | bc
}

# Datagrams of many flows, so that both queues get some; the third member hears none of them.
known_to_every_core() {
  local before0 before1 heard
  before0=$(received 0) before1=$(received 1)
  spawn client "$STATE/heard" tcpdump -n -l -i v11 'udp and dst host 10.50.0.12'
  local listener=$SPAWNED
  await 5 grep -q 'listening on' "$STATE/heard"
  ns b1 "$PYTHON" -c '
import socket, time
for port in range(400):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.sendto(b"flow", ("10.50.0.12", 20000 + port))
    time.sleep(0.002)'
  sleep 0.5
  kill "$listener"
  wait "$listener" || true
  heard=$(grep -c 'UDP' "$STATE/heard" || true)
  expect_at_least "frames of core 0" $(($(received 0) - before0)) 50 || return 1
  expect_at_least "frames of core 1" $(($(received 1) - before1)) 50 || return 1
  expect "datagrams flooded to the third member" "$heard" 0
}
many_flows_pass() {
  spawn b2 "$STATE/iperf" iperf3 -s -1 -B 10.50.0.12 -p 5202
  disown "$SPAWNED"
  await 5 iperf_listens || { cat "$STATE/iperf"; return 1; }
  local bytes
  bytes=$(ns b1 timeout 30 iperf3 -c 10.50.0.12 -p 5202 -t 2 -P 4 -J | jq .end.sum_received.bytes)
  expect_at_least "bytes over the bridge" "$bytes" 20000000
}
iperf_listens() { [[ -n $(ns b2 ss -Hltn 'sport = :5202') ]]; }

check stations-come-up stations_come_up
check known-to-every-core known_to_every_core
check many-flows-pass many_flows_pass
kill "$(cat "$STATE/tags.pid")" 2>/dev/null || true
for host in b1 b2; do ns "$host" ip address flush dev eth0 to 10.50.0.0/24; done
