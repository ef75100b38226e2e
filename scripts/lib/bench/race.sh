# shellcheck shell=bash
# A race: everything is made ready, then rounds of measurements, then the record. What was made is removed, however it ends.

say_progress() { printf '%s\n' "$*" >&2; }

race_run() {
  local program
  if [[ $LOAD != none ]]; then
    # shellcheck source=/dev/null
    source "$CATALOGUE/loads/$LOAD.sh"
  fi
  race_begin
  race_build
  for program in "${PROGRAMS[@]}"; do
    program "$program" peer_install || die "$program could not be installed"
  done
  if [[ $TOPOLOGY != none ]]; then
    # shellcheck source=/dev/null
    source "$CATALOGUE/topologies/$TOPOLOGY.sh"
    pki_make "$PKI"
    say_progress "making networks for ${PROGRAMS[*]} ..."
    for program in "${PROGRAMS[@]}"; do network_up "$program"; done
  fi
  if [[ $LOAD != none ]]; then
    for program in "${PROGRAMS[@]}"; do load_prepare "$program"; done
  fi
  race_head
  cpus_clear
  huge_pages_reserve
  scenario_prepare
  race_rounds
  race_report
}

# What every race on a wire takes, whoever runs: namespaces and veths, their offloads, keys, questions to the product, processes by name.
WIRE_PACKAGES=(iproute2 ethtool openssl curl procps)

# A place for what a run needs, removed with everything else at its end; one run at a time.
race_begin() {
  PREFIX=${TIDEGATE_PREFIX:-tidegate-bench}
  check_prefix "$PREFIX"
  if [[ $TOPOLOGY != none ]]; then
    need_root
    (($(nproc --all) >= 2)) || die "a race needs two CPUs: one for the program, one for the load"
  fi
  bench_state
  trap race_end EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  machine_take
  state_make "$STATE"
  PKI=$STATE/pki
  [[ $EUID -ne 0 ]] || topology_down
  # What a peer's worker without privileges may have to read.
  chmod 755 "$STATE"
  # Peers with many connections need as many descriptors, where the machine lets us have them.
  ulimit -n "$(cat /proc/sys/fs/nr_open)" 2>/dev/null || ulimit -n "$(ulimit -Hn)"
  local packages=("${PACKAGES[@]}") program
  [[ $TOPOLOGY == none ]] || packages+=("${WIRE_PACKAGES[@]}")
  [[ $LOAD == none ]] || read -ra packages <<<"${packages[*]} $(load_packages)"
  for program in "${PROGRAMS[@]}"; do
    mapfile -t -O "${#packages[@]}" packages < <(program_packages "$program")
  done
  "$ROOT/scripts/setup" --build-only --with "${packages[@]}" >&2
  find_cargo
}

# The directory and the lock, which `all` has taken already for those it starts.
bench_state() {
  local base=/run
  [[ $EUID -eq 0 ]] || base=${XDG_RUNTIME_DIR:-/tmp}
  STATE=$base/$PREFIX
  state_check "$STATE"
  [[ -n ${BENCH_LOCKED:-} ]] || hold_lock "$base/$PREFIX.lock" "another scripts/bench runs here, and two would measure each other"
}

race_end() {
  local status=$?
  trap '' HUP INT TERM
  end_children
  [[ $EUID -ne 0 ]] || topology_down
  machine_give_back
  state_remove "$STATE"
  hand_back
  exit "$status"
}

race_build() {
  if [[ -z ${TIDEGATE_BINARY:-} || -z ${TIDEGATE_BENCH:-} ]]; then
    say_progress "building (cargo build --release) ..."
    (cd "$ROOT" && cargo build --release --quiet -p tidegate -p tidegate-benches) >&2
  fi
  # shellcheck disable=SC2034 # of peers
  BINARY=${TIDEGATE_BINARY:-$ROOT/target/release/tidegate}
  BENCH=${TIDEGATE_BENCH:-$ROOT/target/release/tidegate-bench}
}

race_head() {
  local program bar arguments=()
  SAMPLES=${SAMPLES:-$STATE/samples}
  for program in "${PROGRAMS[@]}"; do
    arguments+=(--program "$program=$(program "$program" peer_version)")
  done
  while read -r bar; do arguments+=(--bar "$bar"); done < <(scenario_bars)
  for program in "${PEERS[@]}"; do arguments+=(--peer "$program"); done
  (cd "$ROOT" && "$BENCH" record begin --samples "$SAMPLES" --scenario "$SCENARIO" --title "$TITLE" --port "$PORT" \
    --command "$COMMAND" "${arguments[@]}")
}

race_rounds() {
  local round cases=()
  mapfile -t cases < <(race_cases)
  DONE=0 BEGAN=$EPOCHSECONDS WHOLE=$((ROUNDS * ${#cases[@]} * ${#PROGRAMS[@]}))
  for ((round = 1; round <= ROUNDS; round++)); do race_round "$round" "${cases[@]}"; done
  race_more
}

# Rounds in which the machine was slow do not count if enough others do. Where as many were asked for as a claim takes, the cases that
# lack some get more of them, at most as many again.
race_more() {
  local round said cases=()
  for ((round = ROUNDS + 1; round <= 2 * ROUNDS; round++)); do
    said=$("$BENCH" record short --samples "$SAMPLES" --asked "$ROUNDS") || return 1
    [[ -n $said ]] || return 0
    mapfile -t cases < <(cut -d ' ' -f 1 <<<"$said")
    WHOLE=$((WHOLE + ${#cases[@]} * ${#PROGRAMS[@]}))
    say_progress "the machine was slow: of $((round - 1)) rounds count $(awk '{ printf "%s%s of %s", between, $2, $1; between = ", " }' <<<"$said"); round $round is added"
    race_round "$round" "${cases[@]}"
  done
}

race_round() { # race_round ROUND CASE…
  local round=$1 case index order
  for case in "${@:2}"; do
    for index in "${!PROGRAMS[@]}"; do
      # Another one begins each round: none always runs on the warmest machine.
      order=$(((index + round - 1) % ${#PROGRAMS[@]}))
      race_one "$round" "${PROGRAMS[order]}" "$case"
    done
  done
}

race_cases() {
  local case pattern
  scenario_cases | while read -r case; do
    # shellcheck disable=SC2153 # race_options sets them
    for pattern in "${CASES[@]}"; do
      # shellcheck disable=SC2053 # the pattern is meant as one
      [[ $case != $pattern ]] || { echo "$case"; break; }
    done
  done
}

# One measurement, recorded: race_one ROUND PROGRAM CASE
race_one() {
  local round=$1 program=$2 case=$3 before after why said spent=()
  local add=("$BENCH" record add --samples "$SAMPLES" --round "$round" --program "$program" --case "$case")
  why=$(scenario_skip "$program" "$case")
  if [[ -n $why ]]; then
    said=$("${add[@]}" --skipped "$why")
  else
    : >"$STATE/line"
    before=$(race_probe)
    interruptible race_measure "$program" "$case" >"$STATE/line" 2>"$STATE/why" || true
    after=$(race_probe)
    if [[ -s $STATE/line ]]; then
      read -ra spent < <(race_difference <"$STATE/spent") || true
      said=$("${add[@]}" --probe-ms "$before" "$after" "${spent[@]}" <"$STATE/line" 2>&1) || said=$(race_failed "$said")
    else
      said=$(race_failed "$(race_reason "$STATE/why")")
    fi
  fi
  DONE=$((DONE + 1))
  say_progress "[$DONE/$WHOLE, $(race_left) left] round $round, $case, $program: $said"
}

# Two readings of what was spent as an option of `record add`; nothing if they do not go together.
race_difference() {
  awk 'NF == 2 { n++; ns[n] = $1; ticks[n] = $2 }
    END { if (n == 2 && ns[2] >= ns[1] && ticks[2] >= ticks[1]) printf "--spent %.0f %.0f\n", ns[2] - ns[1], ticks[2] - ticks[1] }' 2>/dev/null
}

# Why a command failed, by what it said: its own `error:`, which clap says first and explains, or else its last words.
race_reason() { # race_reason FILE
  local said
  said=$(sed -n 's/^error: *//p' "$1" | head -n 1)
  echo "${said:-$(tail -n 1 "$1")}"
}

race_failed() {
  # shellcheck disable=SC2154 # race_one's
  "${add[@]}" --probe-ms "$before" "$after" --failed "${1:-it ended without a word}"
}

# The program is there for this measurement only, so that each begins as the first.
race_measure() {
  local status=0
  rm -f "$STATE/spent"
  if scenario_start "$1" "$2"; then
    race_spent "$1" >"$STATE/spent"
    scenario_measure "$1" "$2" || status=$?
    # Unless it has said itself when its work began and ended.
    (($(wc -l <"$STATE/spent") > 1)) || race_spent "$1" >>"$STATE/spent"
  else
    status=1
  fi
  scenario_stop "$1" "$2" || true
  return "$status"
}

# What the program has spent so far, where it is one that runs between start and end.
race_spent() { [[ ! -s $STATE/$1/pid ]] || program "$1" peer_spent 2>/dev/null || true; }

race_probe() { "$BENCH" probe --cpu "$PROGRAM_CPU" 2>/dev/null || "$BENCH" probe; }

race_left() {
  local left=$(((EPOCHSECONDS - BEGAN) * (WHOLE - DONE) / DONE))
  printf '%d:%02d' $((left / 60)) $((left % 60))
}

race_report() {
  local status=0 arguments=()
  [[ -z $JSON ]] || arguments+=(--json "$JSON")
  [[ -z $HTML ]] || arguments+=(--html "$HTML")
  "$BENCH" report --samples "$SAMPLES" "${arguments[@]}" >"$STATE/report" || status=$?
  cat "$STATE/report"
  [[ -z $TEXT ]] || cp "$STATE/report" "$TEXT"
  return "$status"
}
