# shellcheck shell=bash
# One of two next hops ceases to answer under traffic, and comes back; on two cores, of which one asks.
# scripts/test: queues=2

# shellcheck source=scripts/lib/daemons.sh
source "$ROOT/scripts/lib/daemons.sh"

up() { # up ADDRESS — what the metrics say about a next hop
  admin "$STATE" /metrics | sed -n "s/^tidegate_next_hop_up{.*address=\"$1\"} //p"
}
is_up() { [[ $(up "$1") == "$2" ]]; }

hops_are_configured() {
  extended <<'END' || return 1

[[route]]
to = "10.77.0.0/16"
via = ["10.0.2.11", "10.0.3.11"]

[[route]]
to = "fd77::/32"
via = ["fd00:2::11", "fd00:3::11"]
END
  await 2 is_up 10.0.2.11 1 || return 1
  await 2 is_up fd00:3::11 1 || return 1
  expect 'asked for before anything was sent' \
    "$(show neighbours --state reachable --json | jq -r '[.neighbors[].address] | map(select(endswith("11"))) | sort | join(" ")')" \
    '10.0.2.11 10.0.3.11 fd00:2::11 fd00:3::11'
}

flows_move_within_a_second() {
  PYTHONDONTWRITEBYTECODE=1 "$PYTHON" "$ROOT/tests/e2e/hops.py" "$PREFIX" 60 >"$STATE/hops" || { cat "$STATE/hops"; return 1; }
}

silence_is_said() {
  local status=0 explained
  cut_wire b1
  await 2 is_up 10.0.2.11 0 || status=1
  await 2 is_up fd00:2::11 0 || status=1
  expect 'metrics' "$(up 10.0.3.11)" 1 || status=1
  expect 'routes' "$(show routes --exact 10.77.0.0/16 --json | jq -r '.routes[0].hops | sort_by(.via)[] | .via + " " + (.silent | tostring)' | paste -sd' ')" \
    '10.0.2.11 true 10.0.3.11 false' || status=1
  expect 'neighbours' "$(show neighbours --state silent --json | jq -r '[.neighbors[].address] | sort | join(" ")')" \
    '10.0.2.11 fd00:2::11' || status=1
  explained=$(explain --in lan --src 10.0.1.100 --dst 10.77.0.1 --proto udp --dport 9)
  grep -q 'of its 2 next hops, of which one is silent, the flow takes the one' <<<"$explained" || { echo "$explained"; status=1; }
  grep -q 'by the router 10.0.3.11' <<<"$explained" || { echo "$explained"; status=1; }
  await 2 grep -q 'does not answer; its flows take others.*10\.0\.2\.11' "$STATE/gateway.log" || { tail "$STATE/gateway.log"; status=1; }
  mend_wire b1
  await 3 is_up 10.0.2.11 1 || status=1
  await 3 is_up fd00:2::11 1 || status=1
  return "$status"
}

# With nobody left senders are told, as for any neighbour that is not there.
unreachable() {
  local status=0 output
  cut_wire b1
  cut_wire b2
  for address in 10.0.2.11 10.0.3.11 fd00:2::11 fd00:3::11; do await 2 is_up "$address" 0 || status=1; done
  output=$(ns client ping -c1 -W5 10.77.0.1 2>&1) || true
  grep -q 'Destination Host Unreachable' <<<"$output" || { echo "$output"; status=1; }
  output=$(ns client ping -c1 -W5 fd77::1 2>&1) || true
  grep -q 'Address unreachable' <<<"$output" || { echo "$output"; status=1; }
  mend_wire b1
  mend_wire b2
  for address in 10.0.2.11 10.0.3.11 fd00:2::11 fd00:3::11; do await 3 is_up "$address" 1 || status=1; done
  return "$status"
}

check hops-are-configured hops_are_configured
check flows-move-within-a-second flows_move_within_a_second
say "      $(cat "$STATE/hops")"
check silence-is-said silence_is_said
check unreachable-without-any unreachable
