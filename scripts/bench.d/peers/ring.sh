# shellcheck shell=bash
# no server: the public-key work of a handshake by ring alone on the same CPU, what any server on it could reach
# shellcheck disable=SC2034 # read by scripts/lib/bench
peer_stack=own

peer_version() { sed -n '/^name = "ring"$/{n;s/^version = "\(.*\)"/ring \1, nothing else/p}' "$ROOT/Cargo.lock"; }

# There is nothing to start: the measurement is the whole of it.
peer_start() { return 1; }

# Full and resumed handshakes per second: ring_measure full|resumed
# The load's CPU does the same meanwhile, as it is busy during a race: two virtual CPUs may share a core, and then one alone is faster.
ring_measure() {
  local other status=0
  "$BENCH" crypto "$1" --cpu "$LOAD_CPU" --seconds $((SECONDS_EACH + 1)) >/dev/null &
  other=$!
  "$BENCH" crypto "$1" --cpu "$PROGRAM_CPU" --seconds "$SECONDS_EACH" || status=$?
  kill "$other" 2>/dev/null || true
  wait "$other" 2>/dev/null || true
  return "$status"
}
