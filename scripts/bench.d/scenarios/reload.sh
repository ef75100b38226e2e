# shellcheck shell=bash
# the configuration changes ten times a second under a fixed rate: failures and latency; and with a million routes in every change
# shellcheck disable=SC2034 # read by scripts/lib/bench
PEERS=(nginx haproxy envoy)
PORTS_KNOWN=(af_xdp tap)
LOADS=(tidegate wrk)
SECONDS_EACH=5
SETTING=([connections]=64 [rate]=5000 [per_second]=10)
BARS=("changing failures self <= 0" "1M_routes failures self <= 0")
ALL=("--cases still,changing" "--cases 1M_routes --seconds 10")

# `still` is the same load without changes: what is not due to them.
scenario_cases() { printf '%s\n' still changing 1M_routes; }

scenario_skip() {
  [[ $2 != 1M_routes || $1 == tidegate ]] || echo "it is no router"
}

scenario_start() {
  [[ $2 != 1M_routes ]] || export TIDEGATE_ROUTES=1000000
  program_start "$1" "$2"
}

# Failures are what is asked for here: they are a figure, and only a load that does not run is an error. `asked` is how often the file
# was changed and the program told so; `changes` how many of those it says to have taken over until the load has ended: who is busy with
# one may take the next ones together.
scenario_measure() {
  local rate=${SETTING[rate]} changer='' before after also=(--errors-as failures)
  # shellcheck disable=SC2153 # race_options sets it
  [[ $LOAD == tidegate ]] || rate=''
  if [[ $2 != still ]]; then
    before=$(program "$1" peer_taken) || { echo "it does not say what changes it has taken over" >&2; return 1; }
    reload_changes "$1" >"$STATE/changes" &
    changer=$!
  fi
  load_run "$1" keepalive http /1k "${SETTING[connections]}" "$rate" >"$STATE/reload.line" || true
  if [[ -n $changer ]]; then
    kill "$changer" 2>/dev/null || true
    wait "$changer" 2>/dev/null || true
    after=$(program "$1" peer_taken) || { echo "it does not say any more what changes it has taken over" >&2; return 1; }
    also+=(--metric "asked=$(wc -l <"$STATE/changes"),count,higher" --metric "changes=$((after - before)),count,higher")
  fi
  "$BENCH" record also "${also[@]}" <"$STATE/reload.line"
}

# One change after the other until it is ended, a line for each, refused or not. Each has its time, however long the last one took.
reload_changes() {
  local count=0 begun=${EPOCHREALTIME/./} wait
  while count=$((count + 1)); do
    program "$1" program_change "$count" || true
    echo "$count"
    wait=$((begun + count * 1000000 / SETTING[per_second] - ${EPOCHREALTIME/./}))
    ((wait <= 0)) || sleep "$(printf '%d.%06d' $((wait / 1000000)) $((wait % 1000000)))"
  done
}
