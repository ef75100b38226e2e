# shellcheck shell=bash
# Tidegate in the gateway's namespace: a work copy of a configuration, start until it forwards, stop, questions to it.

BINARY=${TIDEGATE_BINARY:-$ROOT/target/release/tidegate}

# gateway_config SOURCE DRIVER STATE PKI [QUEUES] — writes STATE/gateway.toml
gateway_config() {
  "$PYTHON" "$ROOT/scripts/lib/adapt.py" "$1" "$3/gateway.toml" --driver "$2" --pki "$4" --state "$3" --queues "${5:-1}" >/dev/null
}

# The interfaces a configuration names, for the topology: gateway_interfaces SOURCE
gateway_interfaces() {
  local scratch
  scratch=$(mktemp -d)
  "$PYTHON" "$ROOT/scripts/lib/adapt.py" "$1" "$scratch/x.toml" --driver af_xdp --pki "$scratch" --state "$scratch"
  rm -rf "$scratch"
}

# gateway_start DRIVER STATE — returns when packets pass, or fails with the log on stderr. One that a check which failed has
# left running goes first: it would hold the ports, and everything after it would fail too.
gateway_start() {
  local driver=$1 state=$2
  gateway_stop "$state" KILL
  rm -f "$state/admin.sock"
  # DPDK attaches its XDP program by netlink, so one that was killed leaves it behind; our own goes with the process.
  if [[ $driver == dpdk ]]; then
    local port
    for port in "${PORTS[@]}"; do ns gw ip link set "$port" xdp off 2>/dev/null || true; done
  fi
  spawn gw "$state/gateway.log" "$BINARY" run -c "$state/gateway.toml"
  echo "$SPAWNED" >"$state/gateway.pid"
  disown "$SPAWNED"
  if ! gateway_comes_up "$driver" "$state"; then
    printf 'the gateway did not come up:\n' >&2
    tail -n 25 "$state/gateway.log" >&2
    gateway_stop "$state" KILL
    return 1
  fi
}

gateway_comes_up() {
  local driver=$1 state=$2
  await 30 gateway_dead_or gateway_ready "$state" && gateway_lives "$state" || return 1
  # Only now: DPDK gives its TAP the port's own address when it starts the port, not when it makes it.
  [[ $driver != *tap ]] || join_taps || return 1
  await 10 ns client ping -q -c1 -W1 10.0.1.1
}

gateway_lives() { kill -0 "$(cat "$1/gateway.pid")" 2>/dev/null; }
# Ends the wait early when nobody is left to wait for.
gateway_dead_or() { "$1" "$2" || ! gateway_lives "$2"; }
gateway_ready() { admin "$1" /ready; }

# admin STATE PATH [CURL OPTIONS…]
admin() {
  local state=$1 path=$2
  shift 2
  curl -sS -f --max-time 5 --unix-socket "$state/admin.sock" "http://tidegate$path" "$@"
}

# gateway_stop STATE [SIGNAL] — waits until it is gone
gateway_stop() {
  local state=$1 signal=${2:-TERM}
  [[ -s $state/gateway.pid ]] || return 0
  kill -"$signal" "$(cat "$state/gateway.pid")" 2>/dev/null || true
  await 15 gateway_gone "$state" || kill -KILL "$(cat "$state/gateway.pid")" 2>/dev/null || true
  await 5 gateway_gone "$state" || true
  rm -f "$state/gateway.pid"
}
gateway_gone() { ! gateway_lives "$1"; }

# The number of the running generation, from the metrics.
generation() {
  admin "$1" /metrics | sed -n 's/^tidegate_generation\({[^}]*}\)\? //p' | head -1
}
# Configurations that it has taken. A generation is also published for a route that the kernel tells of.
accepted() { admin "$1" /metrics | sed -n 's/^tidegate_config_reloads_total{result="accepted"} //p'; }
accepted_above() { (($(accepted "$1") > $2)); }

# Prefixes whose way was learnt from the kernel.
learnt() { admin "$1" /metrics | sed -n 's/^tidegate_learnt_routes //p'; }
has_learnt() { [[ $(learnt "$1") == "$2" ]]; }

# The next hops that packets for a prefix may take, in order: hops_of STATE PREFIX -> "VIA INTERFACE WEIGHT VIA …"
hops_of() {
  "$BINARY" show routes --exact "$2" --json --socket "$1/admin.sock" |
    jq -r '.routes[0].hops // [] | sort_by(.via)[] | .via + " " + .interface + " " + (.weight | tostring)' | paste -sd' '
}
has_hops() { [[ $(hops_of "$1" "$2") == "$3" ]]; } # has_hops STATE PREFIX HOPS

# edit STATE SED-EXPRESSION… — changes the running configuration in place as an editor would: aside, then renamed
edit() {
  local state=$1
  shift
  sed -E "$@" "$state/gateway.toml" >"$state/gateway.toml.new"
  if cmp -s "$state/gateway.toml" "$state/gateway.toml.new"; then
    printf 'the edit changed nothing: %s\n' "$*"
    return 1
  fi
  mv "$state/gateway.toml.new" "$state/gateway.toml"
}

# extend STATE — puts what comes by standard input behind the running configuration, in the same way
extend() {
  cat "$1/gateway.toml" - >"$1/gateway.toml.new"
  mv "$1/gateway.toml.new" "$1/gateway.toml"
}
# taken STATE COMMAND… — the command changes the running configuration, and the gateway takes the change
taken() {
  local state=$1 before
  shift
  before=$(accepted "$state" </dev/null)
  "$@" || return 1
  await 5 accepted_above "$state" "$before" || { echo "the edit was not taken"; tail -n 12 "$state/gateway.log"; return 1; }
}
# For scenarios: an edit by sed, or what comes by standard input added, that is taken.
# shellcheck disable=SC2153 # STATE is the directory of the script that sources this
reloaded() { taken "$STATE" edit "$STATE" "$1"; }
extended() { taken "$STATE" extend "$STATE"; }
# What the running gateway says; and flows, with who hears them.
show() { "$BINARY" show "$@" --socket "$STATE/admin.sock"; }
explain() { "$BINARY" explain "$@" --socket "$STATE/admin.sock"; }
dropped() { admin "$STATE" /metrics | sed -n "s/^tidegate_drops_total{reason=\"$1\"} //p"; } # dropped REASON
ways() { "$PYTHON" "$ROOT/tests/e2e/ways.py" "$@"; }
# shellcheck disable=SC2016 # the dollar is awk's
pinged() { ns "$1" awk '/^Icmp: [0-9]/ {print $10}' /proc/net/snmp; } # pinged NAMESPACE — the echo requests its kernel has seen
# An echo server of the gateway's kernel, which closes when the client does and stays until the network goes: kernel_serves ADDRESS PORT
kernel_serves() {
  spawn gw "$STATE/echo.$2" "$PYTHON" "$ROOT/tests/e2e/echo.py" "$1" "$2"
  disown "$SPAWNED"
  await 5 listens gw "$1" "$2" || { cat "$STATE/echo.$2"; return 1; }
}
# That very address: another scenario's server may have the port on another one.
listens() { [[ -n $(ns "$1" ss -Hltn "src [$2] and sport = :$3") ]]; } # listens HOST ADDRESS PORT

# under_load URL COMMAND… — the command runs while wrk does, from a second before to half a second after; nothing may fail
under_load() {
  local url=$1 status=0 load
  shift
  # shellcheck disable=SC2153 # STATE is the directory of the script that sources this
  spawn client "$STATE/wrk" wrk -t1 -c32 -d120 --timeout 5 "$url"
  load=$SPAWNED
  sleep 1
  set +e
  (
    set -e # `check` says why there is no `||` here
    "$@"
  )
  status=$?
  set -e
  sleep 0.5
  kill -0 "$load" 2>/dev/null || { echo "the load ended before the change was checked"; status=1; }
  # wrk prints its summary when interrupted, as it does at the end of its time.
  kill -INT "$load" 2>/dev/null || true
  wait "$load" || true
  wrk_clean "$STATE/wrk" && return "$status"
}

# What wrk says about failures must be nothing: wrk_clean FILE
wrk_clean() {
  cat "$1"
  grep -q 'Requests/sec' "$1" || { echo "wrk did not finish"; return 1; }
  ! grep -E 'Socket errors|Non-2xx' "$1" || return 1
  local requests
  requests=$(sed -n 's/^ *\([0-9]*\) requests in.*/\1/p' "$1")
  expect_at_least "requests" "${requests:-0}" "${2:-100}"
}
