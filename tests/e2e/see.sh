# shellcheck shell=bash disable=SC2016 # the backquotes are those of messages
# `tidegate capture`, `trace` and `explain`: what is captured is read back by tcpdump and scapy, and what is explained is what then happens.

capture() { "$BINARY" capture --socket "$STATE/admin.sock" "$@"; }
trace() { "$BINARY" trace --socket "$STATE/admin.sock" "$@"; }

# begin NAME COMMAND… — of tidegate, in the background, its output in STATE/NAME; begun when the gateway has hung it up
begin() {
  local name=$1
  shift
  "$BINARY" "$@" --socket "$STATE/admin.sock" >"$STATE/$name" 2>"$STATE/$name.err" &
  BEGUN=$!
  sleep 0.7
}
# conclude — as Ctrl-C does
conclude() {
  kill -INT "$BEGUN" 2>/dev/null || true
  wait "$BEGUN"
}
ping_backend() { ns client ping -q -c "$1" -i 0.05 -W1 10.0.2.11; }

captured_is_read_by_tcpdump() {
  ping_backend 1
  begin capture capture -w "$STATE/see.pcapng" --filter 'icmp and host 10.0.2.11'
  ping_backend 5
  conclude || { cat "$STATE/capture.err"; return 1; }
  expect 'summary' "$(cat "$STATE/capture.err")" '20 packets captured'
  tcpdump -n -r "$STATE/see.pcapng" >"$STATE/see.txt" 2>"$STATE/see.err" || { cat "$STATE/see.err"; return 1; }
  # Each request and each reply comes in by one port and goes out by another.
  expect 'requests' "$(grep -c '10.0.1.100 > 10.0.2.11: ICMP echo request' "$STATE/see.txt")" 10
  expect 'replies' "$(grep -c '10.0.2.11 > 10.0.1.100: ICMP echo reply' "$STATE/see.txt")" 10
  "$PYTHON" "$ROOT/tests/e2e/see.py" whole "$STATE/see.pcapng" lan,web0,web1
}

a_pipe_shows_packets_as_they_come() {
  ping_backend 1
  { capture -w - --port lan --at rx --count 3 --filter 'icmp' | tcpdump -n -l -r - >"$STATE/live" 2>/dev/null; } 2>"$STATE/live.err" &
  local reader=$!
  sleep 0.7
  ping_backend 4
  wait "$reader"
  expect 'packets' "$(wc -l <"$STATE/live")" 3
}

losses_have_their_reasons() {
  begin capture capture -w "$STATE/drops.pcapng" --at drop --port lan --filter 'dst net 10.66.0.0/16 or dst host 192.0.2.1'
  ns client ping -q -c2 -i 0.05 -W0.1 10.66.1.1 || true
  ns client ping -q -c2 -i 0.05 -W0.1 192.0.2.1 || true
  conclude
  "$PYTHON" "$ROOT/tests/e2e/see.py" comments "$STATE/drops.pcapng" 2 'dropped: blackhole: The route is a blackhole.'
  "$PYTHON" "$ROOT/tests/e2e/see.py" comments "$STATE/drops.pcapng" 2 'dropped: no_route: No route to the destination; the sender is told by ICMP.'
}

too_many_are_counted() {
  ping_backend 1
  begin capture capture -w "$STATE/rate.pcapng" --port lan --at rx --rate 10 --snap 60 --filter icmp
  ns client ping -q -c 200 -i 0.002 -W1 10.0.2.11
  conclude
  expect 'summary' "$(cat "$STATE/capture.err")" '* packets captured, * more passed the filter*'
  "$PYTHON" "$ROOT/tests/e2e/see.py" cut "$STATE/rate.pcapng" 60 200
}

# Whoever reads goes away: the capture goes too, and eight of them have room again.
a_vanished_reader_ends_it() {
  for _ in {1..9}; do
    timeout -s KILL 0.6 "$BINARY" capture --socket "$STATE/admin.sock" -w /dev/null || true
  done
  sleep 1
  capture -w /dev/null --seconds 0.2
  for _ in {1..8}; do timeout -s KILL 3 "$BINARY" capture --socket "$STATE/admin.sock" -w /dev/null & done
  sleep 1
  expect 'the ninth' "$(refuse capture -w /dev/null --seconds 0.2)" '*8 captures and traces run already*'
  sleep 3
}

mistakes_are_explained() {
  expect 'filter' "$(refuse capture -w /dev/null --filter 'tcp prot 80')" $'*`prot`*is `proto` meant?*\n*tcp prot 80*\n*^^^^*' ||
    expect 'filter' "$(refuse capture -w /dev/null --filter 'tcp prot 80')" $'*between two tests*\n*tcp prot 80*\n*^^^^*'
  expect 'filter of a trace' "$(refuse trace host 10.0.0)" '*an IPv4 or IPv6 address must stand here*'
  expect 'port' "$(refuse capture -w /dev/null --port wan)" '*no port `wan`; there are: lan*'
  expect 'nowhere' "$(refuse capture -w /nonexistent/file --seconds 0.1)" '*cannot write to /nonexistent/file*'
  expect 'port of a packet' "$(refuse explain --in wan --src 10.0.1.100 --dst 10.0.2.11)" '*no port or VLAN `wan`; there are: lan, web0, web1*'
  expect 'families' "$(refuse explain --in lan --src 10.0.1.100 --dst fd00::1)" '*both be IPv4 or both IPv6*'
}

# one_way NAME FILTER COMMAND… — the way of the first packet of a command, in STATE/NAME
one_way() {
  local name=$1 filter=$2
  shift 2
  begin "$name" trace --json --count 1 "$filter"
  "$@" || true
  wait "$BEGUN" || { cat "$STATE/$name.err"; return 1; }
}
of() { jq -r "$2" "$STATE/$1"; } # of NAME JQ-FILTER

a_forwarded_packet_is_followed() {
  ping_backend 1
  one_way forwarded 'icmp and dst 10.0.2.11' ping_backend 1
  expect 'end' "$(of forwarded '.end.verdict + " " + .end.port + " " + .end.prefix')" 'sent web0 10.0.2.0/24'
  expect 'stages' "$(of forwarded '[.steps[].stage] | join(" ")')" 'l2_parse l2_input l3_input l3_route l3_forward l2_output'
  expect 'rewritten' "$(of forwarded '.steps[].changes[] | select(.field == "TTL") | .from + " " + .to')" '64 63'
  expect 'cycles' "$(of forwarded '[.steps[].cycles] | min > 0')" true
  expect 'station' "$(of forwarded '.steps[] | select(.stage == "l2_output") | .notes[0]')" "10.0.2.11 is station $(ns b1 cat /sys/class/net/eth0/address) (*"
  begin text trace --count 1 icmp and dst 10.0.2.11
  ping_backend 1
  wait "$BEGUN"
  expect 'text' "$(cat "$STATE/text")" $'ICMP echo request 10.0.1.100 → 10.0.2.11*received on lan*l3_route*10.0.2.0/24*=> it leaves by web0*'
}

a_dropped_packet_is_followed() {
  one_way dropped 'icmp and dst 192.0.2.1' ns client ping -q -c1 -W0.2 192.0.2.1
  expect 'end' "$(of dropped '.end.verdict + " " + .end.reason')" 'dropped no_route'
  expect 'the sender is told' "$(of dropped '.made[0].text')" 'ICMP net unreachable 10.0.1.1 → 10.0.1.100*'
  expect 'where' "$(of dropped '.steps[-1].stage')" l3_route
}

a_delivered_packet_is_followed() {
  one_way delivered 'tcp dst port 80 and dst 10.0.1.1' ns client curl -s -o /dev/null http://10.0.1.1/
  expect 'end' "$(of delivered '.end.verdict + " " + .end.listener')" 'absorbed http'
  expect 'TCP' "$(of delivered '.steps[] | select(.stage == "tcp") | .notes[0]')" 'opens a connection*'
  expect 'answer' "$(of delivered '.made[0].text')" 'TCP SYN ACK 10.0.1.1:80 → 10.0.1.100:*'
  # The first of two: the other is not here yet.
  one_way fragment 'icmp and dst 10.0.1.1' ns client ping -q -c1 -W1 -s 2000 10.0.1.1
  expect 'fragment' "$(of fragment '.end.verdict + ": " + .end.text')" 'waiting: it waits for the other fragments of its packet'
  # This host's own packets have a way too.
  one_way reply 'tcp src port 80 and src 10.0.1.1' ns client curl -s -o /dev/null http://10.0.1.1/
  expect 'origin' "$(of reply '.origin + " " + .end.verdict + " " + .end.port')" 'host sent lan'
}

explained_is_what_happens() { ns client "$PYTHON" "$ROOT/tests/e2e/see.py" agree "$BINARY" "$STATE/admin.sock"; }

# The hint leads to the table that was asked, by the address that was looked for.
a_missing_route_is_told() {
  expect 'no route' "$(explain --in lan --src 10.0.1.100 --dst 192.0.2.1)" \
    $'*no prefix has 192.0.2.1 in it\n*=> it is dropped: No route*\n*`tidegate show routes --longest 192.0.2.1` shows what there is\n*' || return 1
  expect 'an unserved port' "$(explain --in lan --src 10.0.1.100 --dst 10.0.1.1 --proto udp --dport 53)" \
    $'*no_listener: nothing on this host serves it, and the sender is told by ICMP\n*listener]]` in the configuration says what is served*on its behalf: ICMP port unreachable*'
}

# Nothing is sent, asked for, counted or opened. The hosts speak up by themselves at times (MLD, router solicitations), so that
# one attempt of five counts; explaining that counted would spoil them all.
explaining_touches_nothing() {
  ping_backend 1
  local attempt before changed
  for attempt in {1..5}; do
    before=$(quiet_counters)
    explain_much
    changed=$(diff <(echo "$before") <(quiet_counters)) && break
    echo "attempt $attempt: $changed"
  done
  expect 'counters' "$changed" ''
  expect 'neighbours' "$(show neighbours --json | jq -r '.neighbors[].address' | grep -c 10.0.2.77 || true)" 0
  expect 'a neighbour that is not known' "$(explain --in lan --src 10.0.1.100 --dst 10.0.2.77)" '*10.0.2.77 on web0 is not known: it is asked for, and the packet waits*on its behalf: ARP request: who has 10.0.2.77?*'
}
explain_much() {
  local _
  for _ in {1..5}; do
    explain --in lan --src 10.0.1.100 --dst 10.0.2.77 --proto udp --dport 53
    explain --in lan --src 10.0.1.100 --dst 192.0.2.1
    explain --in lan --src 10.0.1.100 --dst 10.0.1.1 --proto tcp --dport 80
    explain --in lan --src 10.0.1.100 --dst 10.0.1.1
  done >/dev/null
}
quiet_counters() {
  admin "$STATE" /metrics | grep -E '^tidegate_(drops_total|tcp_(half_open|segments)|stage_packets_total.*l3_route)' | sort
}

# Last: the reload stays.
a_choice_among_next_hops_is_told() {
  extended <<'EOF' || return 1

[[route]]
to = "10.99.0.0/16"
via = ["10.0.2.11", "10.0.1.100"]
EOF
  expect 'explained' "$(explain --in lan --src 10.0.1.100 --dst 10.99.1.1)" $'*of its 2 next hops the flow takes the one by the router 10.0.*, with 1 of 2 shares\n*by the router 10.0.*'
}

for case in captured_is_read_by_tcpdump a_pipe_shows_packets_as_they_come losses_have_their_reasons too_many_are_counted \
  a_vanished_reader_ends_it mistakes_are_explained a_forwarded_packet_is_followed a_dropped_packet_is_followed \
  a_delivered_packet_is_followed explained_is_what_happens a_missing_route_is_told explaining_touches_nothing \
  a_choice_among_next_hops_is_told; do
  check "$case" "$case"
done
