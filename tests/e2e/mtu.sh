# shellcheck shell=bash
# Paths that are narrower than the links at their ends: errors about it that arrive, and a hole that swallows what is too long.
#   client ── gateway ── b2 ──(1280)── far, and back from far to b2 what is longer than 1280 bytes vanishes without a word.

far_up
spawn far "$STATE/far.log" "$PYTHON" "$ROOT/tests/e2e/lab.py" 10.0.4.12 8080
disown "$SPAWNED"
spawn far "$STATE/far6.log" "$PYTHON" "$ROOT/tests/e2e/lab.py" fd00:4::12 8080
disown "$SPAWNED"
cat >>"$STATE/gateway.toml" <<'TOML'

[[route]]
to = "10.0.4.0/24"
via = "10.0.3.11"

[[route]]
to = "fd00:4::/64"
via = "fd00:3::11"

[[cluster]]
name = "far"
endpoints = ["10.0.4.12:8080"]

[[cluster]]
name = "far6"
endpoints = ["[fd00:4::12]:8080"]

[[http_route]]
hostnames = ["far.example.com"]
backend_refs = [{ cluster = "far" }]

[[http_route]]
hostnames = ["far6.example.com"]
backend_refs = [{ cluster = "far6" }]
TOML
gateway_stop "$STATE"
gateway_start "$DRIVER" "$STATE"
head -c 300000 /dev/urandom >"$STATE/body"

# From far through the router, a connection of the client's own.
fetch() { ns client curl -sS -g --max-time "${2:-8}" -o "$STATE/got" -w '%{http_code} %{size_download}\n' "http://$1:8080/lab/bytes/300000"; }
arrives() { expect "response" "$(fetch "$1")" '200 300000'; }
swallowed() { refuse fetch "$1" 2; }
# What the SYN announced when it got to far, and the SYN-ACK when it got back, seen by tcpdump.
announced() { # announced ADDRESS MSS-OF-SYN MSS-OF-SYN-ACK
  local far_end client_end
  rm -f "$STATE/far.syn" "$STATE/client.syn"
  spawn far "$STATE/far.syn" timeout 10 tcpdump -i eth0 -n -l -c 1 'dst port 8080 and (tcp[tcpflags] & tcp-syn != 0 or ip6[53] & 2 != 0)'
  far_end=$SPAWNED
  spawn client "$STATE/client.syn" timeout 10 tcpdump -i eth0 -n -l -c 1 'src port 8080 and (tcp[tcpflags] & tcp-syn != 0 or ip6[53] & 2 != 0)'
  client_end=$SPAWNED
  await 5 grep -q 'listening on' "$STATE/far.syn"
  await 5 grep -q 'listening on' "$STATE/client.syn"
  fetch "$1" 3 || true
  wait "$far_end" "$client_end" || true
  expect "SYN" "$(grep 'Flags' "$STATE/far.syn")" "*mss $2,*"
  expect "SYN-ACK" "$(grep 'Flags' "$STATE/client.syn")" "*mss $3,*"
}
clamp() { reloaded "/^tcp_mss/d; s/^(interface = \"(wire2|web1)\")/\\1\\ntcp_mss = $1/"; }
clamped() { # clamped VALUE MSS4 MSS6 — on the interface towards far
  clamp "$1"
  announced 10.0.4.12 "$2" "$2"
  announced '[fd00:4::12]' "$3" "$3"
}
unclamped() { # no interface says anything: both ends announce what fits their own links
  announced 10.0.4.12 1460 1460
  announced '[fd00:4::12]' 1440 1440
}
clamped_number() { clamped 1200 1200 1200; }
# Both links of the gateway have 1500, so this is what the ends say anyway; a number that is no shorter changes nothing either.
clamped_to_what_it_was() { clamped '"pmtu"' 1460 1440 && clamped 9000 1460 1440; }
through_the_hole() { clamp 1220 && arrives 10.0.4.12 && arrives '[fd00:4::12]'; }
off_again() { clamp '"off"' && swallowed 10.0.4.12; }

# The proxy's own connections: b2 says that 1500 bytes are too many for the last link.
reductions() { admin "$STATE" /metrics | sed -n 's/^tidegate_tcp_path_mtu_reductions_total //p'; }
posted() { # posted HOST — a body of 300,000 bytes gets to far whole; how many seconds it took is in STATE/took
  local out
  out=$(ns client curl -sS --max-time 10 -w '\n%{http_code} %{time_total}\n' -H "Host: $1" -H 'Expect:' --data-binary "@$STATE/body" http://10.0.1.1/lab/sum)
  printf '%s\n' "$out"
  expect "what far says" "$out" "300000 $(sha256sum "$STATE/body" | cut -d' ' -f1)"$'\n''*200 *'
  tail -n 1 <<<"$out" | cut -d' ' -f2 >"$STATE/took"
}
proxy_learns() { # proxy_learns HOST — without a stall: a retransmission timer would not have fired three times
  local before
  before=$(reductions)
  posted "$1"
  expect_at_least "reports that were believed" "$(reductions)" $((before + 1))
  awk '{ exit !($1 < 0.6) }' "$STATE/took"
}
proxy_remembers() { # proxy_remembers HOST — nothing is too long any more, on whatever connection
  local before
  before=$(reductions)
  for _ in 1 2 3; do posted "$1"; done
  expect "reports" "$(reductions)" "$before"
}

check proxy-learns-the-path-v4 proxy_learns far.example.com
check proxy-remembers-the-path-v4 proxy_remembers far.example.com
check proxy-learns-the-path-v6 proxy_learns far6.example.com
check proxy-remembers-the-path-v6 proxy_remembers far6.example.com
check a-hole-swallows-what-is-long-v4 swallowed 10.0.4.12
check a-hole-swallows-what-is-long-v6 swallowed '[fd00:4::12]'
check unclamped unclamped
check clamped-to-a-number clamped_number
check clamped-to-what-it-was clamped_to_what_it_was
check clamped-through-the-hole through_the_hole
check clamped-no-more off_again

far_down
