# shellcheck shell=bash
# as wire, with a hop on the load's side that loses and delays (tidegate-bench impair; settings loss in %, delay in ms)
#
#   load-NAME  load0 ── hop0 [impair] hop1 ── lan0  gw-NAME
# shellcheck source=scripts/bench.d/topologies/wire.sh
source "$CATALOGUE/topologies/wire.sh"

wire_lan() { # wire_lan PROGRAM
  local load=load-$1
  wire_pair "$load" load0 "$load" hop0 "$LOAD_CPU"
  wire_pair "$load" hop1 "gw-$1" lan0
}

# The hop reads by AF_XDP on both sides, so both far ends of the kernel compute their own checksums, and do not segment late.
wire_done() {
  ns "load-$1" ethtool -K load0 tx off >/dev/null
  [[ $(program_stack "$1") != kernel ]] || ns "gw-$1" ethtool -K lan0 tx off >/dev/null
}

# The hop polls without end, so it is there only while its program is measured.
impaired_start() { # impaired_start PROGRAM
  local load=load-$1
  spawn "$load" "$STATE/hop-$1.log" "$BENCH" impair --cpu "$LOAD_CPU" --port af_xdp:hop0 --port af_xdp:hop1 \
    --loss "${SETTING[loss]}" --delay "${SETTING[delay]}"
  echo "$SPAWNED" >"$STATE/hop-$1.pid"
  disown "$SPAWNED"
  await 10 impaired_attached "$1" || { tail -n 1 "$STATE/hop-$1.log" >&2; return 1; }
}
impaired_attached() { [[ $(ns "load-$1" ip -o link show | grep -c ' xdp') == 2 ]]; }

impaired_stop() { # impaired_stop PROGRAM
  local pid
  pid=$(cat "$STATE/hop-$1.pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || true
  await 3 process_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
}
process_gone() { ! kill -0 "$1" 2>/dev/null; }
