# shellcheck shell=bash
# instructions of each part per operation, counted by callgrind, against another revision: the same on any machine. Needs no root
# Not a race: nothing is timed, one program is counted after the other. So it brings options and a run of its own, and is not
# part of `all`.
# shellcheck disable=SC2034 # read by scripts/lib/bench
TOPOLOGY=none

scenario_usage() {
  cat <<'USAGE'
usage: scripts/bench micro [--against REVISION] [--only PART,…] [--tolerance PERCENT] [--json FILE]

  --against REVISION   build that revision too and compare: exit status 1 if anything takes more than 5 % more instructions
  --only PART,…        only what has one of these in its name: "l3_", "wheel", "tls/seal"
  --tolerance PERCENT  another limit than 5
  --json FILE          the counts, or the comparison

Counts of a revision are kept in target/micro, what was built for them is not. Commit or not: the tree as it stands is counted.
USAGE
}

# shellcheck disable=SC2034 # TITLE and others are not needed here
race_options() {
  AGAINST='' ONLY='' TOLERANCE=5 JSON=''
  while (($#)); do
    case $1 in
      -h | --help) scenario_usage; exit 0 ;;
      --against | --only | --tolerance | --json) (($# >= 2)) || wrong "$1 needs a value" ;;&
      --against) AGAINST=$2 ;;
      --only) ONLY=$2 ;;
      --tolerance) TOLERANCE=$2 ;;
      --json) JSON=$2 ;;
      *) wrong "unknown option '$1' of micro" ;;
    esac
    shift 2
  done
  [[ $TOLERANCE =~ ^[0-9]+([.][0-9]+)?$ ]] || wrong "--tolerance '$TOLERANCE': a number of percent"
  file_option --json JSON
  if [[ -n $AGAINST ]]; then
    REVISION=$(git -C "$ROOT" rev-parse --quiet --verify "$AGAINST^{commit}") || wrong "--against '$AGAINST': no such revision"
  fi
}

race_run() {
  command -v valgrind >/dev/null || "$ROOT/scripts/setup" --build-only --with valgrind >&2
  find_cargo
  KEPT=$ROOT/target/micro
  mkdir -p "$KEPT"
  STATE=$(mktemp -d "$KEPT/run.XXXXXX")
  trap micro_end EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  say_progress "building this tree ..."
  interruptible micro_build "$ROOT" "$ROOT/target"
  cp "$ROOT/target/release/tidegate-bench" "$STATE/here"
  # What is asked for, before a long build finds that it does not exist.
  [[ -n $("$STATE/here" micro --list ${ONLY:+--only "$ONLY"}) ]] || wrong "--only '$ONLY': nothing has such a name"
  if [[ -z $AGAINST ]]; then
    interruptible micro_count "$STATE/here" "${JSON:-$STATE/here.json}"
    return
  fi
  interruptible micro_there
  say_progress "counting this tree ..."
  interruptible micro_count "$STATE/here" "$STATE/here.json" >/dev/null
  "$STATE/here" micro --tolerance "$TOLERANCE" ${JSON:+--json "$JSON"} --compare "$STATE/there.json" "$STATE/here.json"
}

micro_end() {
  local status=$?
  trap '' HUP INT TERM
  end_children
  rm -rf "$STATE"
  hand_back
  exit "$status"
}

micro_build() { # micro_build TREE TARGET_DIRECTORY
  (cd "$1" && CARGO_TARGET_DIR=$2 cargo build --release --quiet -p tidegate-benches --no-default-features) >&2
}

micro_count() { # micro_count PROGRAM FILE
  "$1" micro ${ONLY:+--only "$ONLY"} --save "$2"
}

# The other revision's counts, from an earlier run if its compiler, its valgrind and its processor were the same.
micro_there() {
  local kept
  kept=$KEPT/$REVISION-$({ rustc -vV; valgrind --version; grep -m1 ^flags /proc/cpuinfo; echo "$ONLY"; } | sha256sum | cut -c1-16).json
  if [[ ! -e $kept ]]; then
    say_progress "building $AGAINST (${REVISION:0:12}) ..."
    mkdir "$STATE/tree"
    git -C "$ROOT" archive "$REVISION" | tar -x -C "$STATE/tree"
    micro_build "$STATE/tree" "$STATE/target"
    # Options of today are not all known to a program of then.
    "$STATE/target/release/tidegate-bench" micro --list >/dev/null 2>&1 ||
      die "$AGAINST has no micro-benchmarks yet: name a later revision"
    say_progress "counting $AGAINST ..."
    micro_count "$STATE/target/release/tidegate-bench" "$STATE/there.json" >/dev/null
    rm -rf "$STATE/tree" "$STATE/target"
    mv "$STATE/there.json" "$kept"
  fi
  cp "$kept" "$STATE/there.json"
}
