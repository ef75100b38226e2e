# shellcheck shell=bash
# the configuration changes ten times a second under a fixed rate: failures and latency; and with a million routes in every change
# shellcheck disable=SC2034 # read by scripts/lib/bench
PEERS=(nginx haproxy envoy)
PORTS_KNOWN=(af_xdp tap)
LOADS=(tidegate) # the others know no fixed rate
SECONDS_EACH=5
SETTING=([connections]=64 [rate]=5000 [per_second]=10)
SETTING_SAYS=([connections]="count connections open at a time" [rate]="count requests per second" [per_second]="count changes of the configuration per second")
ALL=("--cases still,changing" "--cases 1M_routes --seconds 10")

# That nothing fails while nothing changes is no merit: most of the changes must have been taken over. With a million routes each takes its
# time, and there must be one.
scenario_bars() {
  printf '%s\n' "changing failures self <= 0" "changing taken self >= 0.75" "1M_routes failures self <= 0" "1M_routes changes self >= 1"
}

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
# was changed, or begun to be, and the program told so; `changes` how many of those it says to have taken over until the load has ended, and
# `taken` which part that is: who is busy with one may take the next ones together.
scenario_measure() {
  local rate=${SETTING[rate]} changer='' before also=(--errors-as failures)
  if [[ $2 != still ]]; then
    before=$(program "$1" peer_taken) || { echo "it does not say what changes it has taken over" >&2; return 1; }
    reload_changes "$1" >"$STATE/changes" 2>"$STATE/changer" &
    changer=$!
  fi
  load_run "$1" keepalive http /1k "${SETTING[connections]}" "$rate" >"$STATE/reload.line" || true
  if [[ -n $changer ]]; then
    kill "$changer" 2>/dev/null || { echo "changing the configuration ended before the load did: $(tail -n 1 "$STATE/changer")" >&2; return 1; }
    wait "$changer" 2>/dev/null || true
    reload_counts "$1" "$before" >"$STATE/counts" || return 1
    mapfile -t -O "${#also[@]}" also <"$STATE/counts"
  fi
  "$BENCH" record also "${also[@]}" <"$STATE/reload.line"
}

# What came of the changes, as options of `record also`. None at all, or more than there were, is no measurement.
reload_counts() { # reload_counts PROGRAM BEFORE
  local after asked
  after=$(program "$1" peer_taken) || { echo "it does not say any more what changes it has taken over" >&2; return 1; }
  asked=$(wc -l <"$STATE/changes")
  ((asked > 0)) || { echo "the configuration was not changed: $(tail -n 1 "$STATE/changer")" >&2; return 1; }
  ((after > $2)) || { echo "it has taken over none of $asked changes: $(tail -n 1 "$STATE/changer")" >&2; return 1; }
  ((after - $2 <= asked)) || { echo "it says to have taken over $((after - $2)) of $asked changes" >&2; return 1; }
  printf '%s\n' --metric "asked=$asked,count,higher" --metric "changes=$((after - $2)),count,higher" \
    --metric "taken=$(awk "BEGIN { printf \"%.3f\", ($after - $2) / $asked }"),of asked,higher"
}

# One change after the other until it is ended, a line for each when it is begun, refused or not. Each has its time, however long the last
# one took.
reload_changes() {
  local count=0 begun=${EPOCHREALTIME/./} wait
  while count=$((count + 1)); do
    echo "$count"
    program "$1" program_change "$count" || true
    wait=$((begun + count * 1000000 / SETTING[per_second] - ${EPOCHREALTIME/./}))
    ((wait <= 0)) || sleep "$(printf '%d.%06d' $((wait / 1000000)) $((wait % 1000000)))"
  done
}
