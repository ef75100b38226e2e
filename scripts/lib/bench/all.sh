# shellcheck shell=bash
# Every scenario, each a run of its own: one that fails does not keep the next from running, and what is complete is not run again.

all_options() {
  OUT=$ROOT/target/bench FRESH='' ONLY='' SAVE=''
  while (($#)); do
    case $1 in
      --out | --only) (($# >= 2)) || wrong "$1 needs a value" ;;&
      --out) OUT=$2; shift ;;
      --only) ONLY=$2; shift ;;
      --fresh) FRESH=yes ;;
      --save) SAVE=yes ;;
      -h | --help) bench_usage; exit 0 ;;
      *) wrong "unknown option '$1' of all" ;;
    esac
    shift
  done
  OUT=$(realpath -ms -- "$OUT")
  [[ -d $(dirname "$OUT") || $OUT == "$ROOT/target/bench" ]] || wrong "--out '$OUT': there is no directory $(dirname "$OUT")"
  [[ ! -e $OUT || -d $OUT ]] || wrong "--out '$OUT': that is a file, and a directory is to be filled"
  program_options
  local name
  for name in ${ONLY//,/ }; do catalogue_need scenarios "$name"; done
}

all_run() {
  need_root
  PREFIX=${TIDEGATE_PREFIX:-tidegate-bench}
  check_prefix "$PREFIX"
  hold_lock "/run/$PREFIX.lock" "another scripts/bench runs here, and two would measure each other"
  export BENCH_LOCKED=yes
  trap 'end_children; hand_back' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  "$ROOT/scripts/setup" --build-only >&2
  find_cargo
  race_build
  export TIDEGATE_BINARY=$BINARY TIDEGATE_BENCH=$BENCH
  mkdir -p "$OUT"
  local name failed=()
  [[ -z $FRESH ]] || all_forget
  while read -r name; do
    interruptible all_scenario "$name" || failed+=("$name")
  done < <(all_names)
  all_table
  ((${#failed[@]} == 0)) || die "not everything could be measured in: ${failed[*]}; again with the same --out measures only these"
}

# What earlier runs of these scenarios have left there; the directory may hold other things.
all_forget() {
  local name
  while read -r name; do rm -f "$OUT/$name"-*.{json,html,md,samples,complete}; done < <(all_names)
}

# Files of all scenarios' runs, whichever were asked for now; what else lies there is not ours to read.
all_records() { # all_records SUFFIX
  local name file
  for name in $(catalogue_names scenarios); do
    for file in "$OUT/$name"-*."$1"; do
      [[ ! ${file#"$OUT/$name"-} =~ ^[a-z_]+[0-9]*(-[0-9]+)?[.]$1$ || ! -f $file ]] || echo "$file"
    done
  done
}

all_names() {
  local name
  for name in $(catalogue_names scenarios); do
    if [[ -z $ONLY || ,$ONLY, == *",$name,"* ]]; then echo "$name"; fi
  done
}

# The runs of a scenario in `all` are what its ALL says, a line of options each; none if it has none.
all_scenario() (
  set +e
  SCENARIO=$1
  scenario_load "$SCENARIO"
  status=0
  declare -A runs=()
  for line in "${ALL[@]}"; do
    read -ra options <<<"$line"
    run=$SCENARIO-$(all_port "${options[@]}")
    runs[$run]=$((${runs[$run]:-0} + 1))
    ((${runs[$run]} == 1)) || run+=-${runs[$run]}
    # Figures of another revision are not today's.
    key="$(git -C "$ROOT" describe --always --dirty 2>/dev/null || true) $line"
    [[ $(cat "$OUT/$run.complete" 2>/dev/null) != "$key" ]] || { say_progress "$run is complete"; continue; }
    say_progress "== $run: $line"
    if "$ROOT/scripts/bench" "$SCENARIO" "${options[@]}" --json "$OUT/$run.json" --html "$OUT/$run.html" \
      --text "$OUT/$run.md" --samples "$OUT/$run.samples" >/dev/null; then
      echo "$key" >"$OUT/$run.complete"
    else
      status=1
    fi
  done
  exit "$status"
)

all_port() {
  local port=${PORTS_KNOWN[0]}
  while (($#)); do
    [[ $1 != --port ]] || port=$2
    shift
  done
  echo "$port"
}

all_table() {
  local records=()
  mapfile -t records < <(all_records json)
  ((${#records[@]})) || return 0
  "$BENCH" summary --html "$OUT/index.html" "${records[@]}" | tee "$OUT/table.md"
  [[ -n $SAVE ]] || return 0
  cp "$OUT/table.md" "$ROOT/docs/bench/table.md"
  cp "${records[@]}" "${records[@]/%.json/.md}" "$ROOT/docs/bench/"
  say_progress "copied to docs/bench/"
}
