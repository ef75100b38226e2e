# shellcheck shell=bash disable=SC2016 # the backquotes are those of messages
# VLANs and QinQ: interfaces told by their tags, on a wire that carries untagged frames as well. The client's VLAN devices are made in
# user space (tags.py), so that a kernel without them will do; behind them is the Linux stack.

counter() { admin "$STATE" /metrics | sed -n "s/^tidegate_interface_$1_packets_total{interface=\"$2\",[^}]*} //p"; }

vlans_are_configured() {
  extended <<'EOF'

[[vlan]]
name = "ten"
port = "lan"
id = 10
addresses = ["10.10.0.1/24", "fd10::1/64"]

[[vlan]]
name = "twenty"
port = "lan"
id = 20
protocol = "802.1ad"
addresses = ["10.20.0.1/24", "fd20::1/64"]

[[vlan]]
name = "stacked"
port = "lan"
outer = 100
id = 10
addresses = ["10.30.0.1/24", "fd30::1/64"]

[[listener]]
name = "on-ten"
address = "10.10.0.1:80"
EOF
}

device_up() { # device_up NAME NUMBER MTU
  ns client ip link set "$1" mtu "$3" up
  ns client ip address add "10.$2.0.100/24" dev "$1"
  ns client ip address add "fd$2::100/64" dev "$1" nodad
}

devices_come_up() {
  spawn client "$STATE/tags.log" "$PYTHON" "$ROOT/tests/e2e/tags.py" eth0 v10=10 v20=s20 v30=s100.10 v40=40
  echo "$SPAWNED" >"$STATE/tags.pid"
  await 20 grep -q ready "$STATE/tags.log" || { cat "$STATE/tags.log"; return 1; }
  # AF_PACKET takes no second tag beyond the MTU.
  ns client ip link set eth0 mtu 1508
  device_up v10 10 1500 && device_up v20 20 1500 && device_up v30 30 1496 && device_up v40 40 1500
}

# Every length, as it is and in pieces, on the wire's untagged side too.
pings_of_every_size() {
  local size network
  for network in 10 20 30; do
    for size in 0 1 17 18 46 64 1000 1400 1468; do
      ns client ping -q -c1 -W2 -s "$size" "10.$network.0.1" >/dev/null || { echo "v$network, IPv4, $size"; return 1; }
    done
    for size in 0 64 1000 1448; do
      ns client ping -q -c1 -W2 -s "$size" "fd$network::1" >/dev/null || { echo "v$network, IPv6, $size"; return 1; }
    done
  done
  ns client ping -q -c1 -W2 -M 'do' -s 1472 10.10.0.1 >/dev/null || { echo "a full packet and one tag"; return 1; }
  ns client ping -q -c1 -W2 -M 'do' -s 1472 10.0.1.1 >/dev/null || { echo "no tag"; return 1; }
}

# From VLAN to VLAN: the router is in between, and the hop limit one less.
routed_between_vlans() {
  local from to
  for from in 10 20 30; do
    for to in 10 20 30; do
      [[ $from != "$to" ]] || continue
      answers_arp "$to" || return 1
      routed "$from" "$to" || { echo "from $from to $to"; return 1; }
    done
  done
  ns client ip route add 10.0.2.11/32 via 10.10.0.1 dev v10
  ns client ping -q -c2 -W2 -s 1400 10.0.2.11 || { echo "from a VLAN to an untagged port"; return 1; }
  ns client ip route del 10.0.2.11/32 via 10.10.0.1 dev v10
  ns b1 ping -q -c2 -W2 -s 1400 10.30.0.100 || { echo "from an untagged port to two tags"; return 1; }
}
answers_arp() { ns client arping -q -c1 -w3 -I "v$1" "10.$1.0.1"; }
# One of the client's own addresses would be reached by its loopback: the packet is made by hand, and heard on the other device.
routed() {
  ns client timeout 20 "$PYTHON" - "$1" "$2" <<'EOF'
import sys
from scapy.all import ICMP, IP, AsyncSniffer, Ether, Raw, get_if_hwaddr, sendp, srp1, ARP
near, far = (f"v{number}" for number in sys.argv[1:3])
router = srp1(Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(psrc=f"10.{sys.argv[1]}.0.100", pdst=f"10.{sys.argv[1]}.0.1"), iface=near,
              timeout=3, verbose=0)
mark = f"from {near} to {far}".encode()
heard = lambda packet: Raw in packet and mark in bytes(packet[Raw]) and packet[IP].ttl == 63
listener = AsyncSniffer(iface=far, lfilter=heard, count=1, timeout=5)
listener.start()
import time
time.sleep(0.5)
packet = Ether(dst=router.hwsrc, src=get_if_hwaddr(near)) / IP(src=f"10.{sys.argv[1]}.0.7", dst=f"10.{sys.argv[2]}.0.100") / ICMP() / mark
sendp(packet, iface=near, verbose=0)
listener.join()
sys.exit(0 if listener.results else 1)
EOF
}

tcp_over_a_vlan() {
  local out
  out=$(ns client curl -sS -o /dev/null -w '%{http_code} %{size_download}' --max-time 10 http://10.10.0.1/lab/bytes/1048576) || return 1
  echo "$out"
  [[ $out == "200 1048576" ]]
}

# Through the router, in by a tag and out without one. The devices are a program (tags.py), so the figure says nothing about the router.
bulk_over_a_vlan() {
  local bytes status=0
  ns client ip route add 10.0.2.11/32 via 10.10.0.1 dev v10
  spawn b1 "$STATE/iperf" iperf3 -s -1 -B 10.0.2.11 -p 5203
  disown "$SPAWNED"
  await 5 iperf_listens || { cat "$STATE/iperf"; status=1; }
  bytes=$(ns client timeout 30 iperf3 -c 10.0.2.11 -B 10.10.0.100 -p 5203 -t 2 -J | jq .end.sum_received.bytes)
  expect_at_least "bytes" "${bytes:-0}" 2000000 || status=1
  ns client ip route del 10.0.2.11/32 via 10.10.0.1 dev v10
  return "$status"
}
iperf_listens() { [[ -n $(ns b1 ss -Hltn 'sport = :5203') ]]; }

unknown_tags_are_counted() {
  local before
  before=$(dropped vlan_unknown)
  refuse ns client ping -q -c2 -W1 10.40.0.1 >/dev/null || { echo "an answer from nowhere"; return 1; }
  (($(dropped vlan_unknown) > before)) || { echo "not counted"; return 1; }
}

interfaces_are_counted() {
  local name
  for name in ten twenty stacked; do
    (($(counter rx "$name") > 10 && $(counter tx "$name") > 10)) || { echo "$name: $(counter rx "$name") $(counter tx "$name")"; return 1; }
  done
}

interfaces_are_shown() {
  local shown
  shown=$(show ports)
  expect "table" "$shown" $'*INTERFACE*PORT*MTU*RX PACKETS*ten *lan *1500*twenty*stacked*1496*'
  show ports --json | jq -e '.interfaces[] | select(.name == "ten") | .rx_packets > 10 and .tx_bytes > 1000'
}

# One VLAN goes, another comes, and a third does not notice.
reload_moves_only_what_it_names() {
  spawn client "$STATE/ping.log" ping -q -i 0.02 -c 250 -W1 10.30.0.1
  local pinger=$SPAWNED status=0
  sleep 1
  reloaded '/^name = "ten"$/,/^addresses/{s/"ten"/"forty"/; s/^id = 10/id = 40/; s/10\.10\./10.40./; s/fd10:/fd40:/}; s/"10\.10\.0\.1:80"/"10.40.0.1:80"/' || status=1
  await 3 ns client ping -q -c1 -W1 10.40.0.1 || { echo "the new one does not answer"; status=1; }
  refuse ns client ping -q -c1 -W1 10.10.0.1 >/dev/null || { echo "the old one answers"; status=1; }
  wait "$pinger" || status=1
  grep -q ' 0% packet loss' "$STATE/ping.log" || { cat "$STATE/ping.log"; status=1; }
  return "$status"
}

capture() { "$BINARY" capture "$@" --socket "$STATE/admin.sock"; }
# What is asked by an interface's name comes in with its tags; what is captured and traced is chosen by them.
seen_by_their_tags() {
  local name network
  for name in ten:10 twenty:20 stacked:30; do
    network=${name#*:} name=${name%:*}
    expect "explained: $name" "$(explain --in "$name" --src "10.$network.0.100" --dst "10.$network.0.1" --json |
      jq -r '.ways[0] | .steps[0].notes[0] + ": " + .made[0].text + .end.verdict')" "IPv4 on interface $name: *"
  done
  expect 'routed' "$(explain --in ten --src 10.10.0.100 --dst 10.30.0.100)" \
    $'*VLAN 10*IPv4 on interface ten*on the link of stacked*VLANs: 10 -> 100 10*it leaves by lan*'
  expect 'unknown' "$(explain --in lan --vlan 77 --src 10.10.0.100 --dst 10.10.0.1)" '*vlan_unknown*'
  expect 'twice' "$(refuse explain --in ten --vlan 10 --src 10.10.0.100 --dst 10.10.0.1)" '*the tags of `ten` are known*'
  expect 'elsewhere' "$(refuse capture --port ten -w /dev/null)" '*`ten` is no port: capture on `lan`*`vlan NUMBER`*'
  "$BINARY" capture -w "$STATE/vlan.pcapng" --port lan --filter 'vlan 100 and icmp' --socket "$STATE/admin.sock" 2>"$STATE/vlan.err" &
  local capture=$!
  "$BINARY" trace --json --count 1 'vlan 20 and icmp' --socket "$STATE/admin.sock" >"$STATE/vlan.trace" 2>&1 &
  local trace=$!
  sleep 0.7
  ns client ping -q -c3 -i 0.05 -W1 10.10.0.1 && ns client ping -q -c3 -i 0.05 -W1 10.20.0.1 && ns client ping -q -c3 -i 0.05 -W1 10.30.0.1
  wait "$trace"
  kill -INT "$capture" && wait "$capture"
  expect 'captured' "$(cat "$STATE/vlan.err")" '6 packets captured'
  expect 'followed' "$(jq -r 'select(.packet) | .packet.vlans[0]' "$STATE/vlan.trace")" 20
}

check vlans-are-configured vlans_are_configured
check devices-come-up devices_come_up
check pings-of-every-size pings_of_every_size
check routed-between-vlans routed_between_vlans
check tcp-over-a-vlan tcp_over_a_vlan
check bulk-over-a-vlan bulk_over_a_vlan
check seen-by-their-tags seen_by_their_tags
check unknown-tags-are-counted unknown_tags_are_counted
check interfaces-are-counted interfaces_are_counted
check interfaces-are-shown interfaces_are_shown
check reload-moves-only-what-it-names reload_moves_only_what_it_names
kill "$(cat "$STATE/tags.pid")" 2>/dev/null || true
ns client ip link set eth0 mtu 1500
