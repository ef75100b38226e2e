# shellcheck shell=bash
# What there is: a scenario, a peer, a topology and a load are a file each in scripts/bench.d/, found by looking there. The second
# line of a file is its sentence for --help.

CATALOGUE=$ROOT/scripts/bench.d

catalogue_names() { # catalogue_names scenarios|peers|topologies|loads
  local file
  for file in "$CATALOGUE/$1"/*.sh; do
    [[ ! -e $file ]] || basename "$file" .sh
  done
}

catalogue_has() { [[ $2 =~ ^[A-Za-z0-9_]+$ && -e $CATALOGUE/$1/$2.sh ]]; }

catalogue_sentence() { sed -n '2s/^# *//p' "$CATALOGUE/$1/$2.sh"; }

# catalogue_need KIND NAME — or says what there is
catalogue_need() {
  catalogue_has "$1" "$2" || wrong "no such ${1%s}: '$2'; there are: $(catalogue_names "$1" | xargs)"
}

catalogue_list() { # catalogue_list TITLE KIND
  local name
  printf '\n%s\n' "$1"
  for name in $(catalogue_names "$2"); do
    [[ $name == tidegate && $2 == peers ]] || printf '  %-10s %s\n' "$name" "$(catalogue_sentence "$2" "$name")"
  done
}

# A mistake on the command line: what is wrong, and what to write instead.
wrong() {
  printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2
  printf 'scripts/bench --help lists scenarios and options\n' >&2
  exit 2
}

bench_usage() {
  cat <<'USAGE'
usage: sudo scripts/bench SCENARIO [OPTIONS]     one race
       sudo scripts/bench all [OPTIONS]          all of them, and one table of what was to be reached

  --port PORT        what moves the product's packets; each scenario names those it knows, the first is the default
  --vs PEER,…        whom to run beside it ("none": nobody); all the scenario knows, unless given
  --rounds N         each program once per round, in turn, another one first each time; at least 5 make a claim
  --seconds S        length of one measurement
  --cases PATTERN,…  only cases whose names match: "1KiB", "100k*"
  --load LOAD        who makes the load
  --set NAME=VALUE   a setting of the scenario
  --json FILE        the record: medians, spreads, ratios, bars
  --html FILE        a page with tables and latency curves
  --text FILE        what is printed, as Markdown
  --samples FILE     every single measurement, a line of JSON each

of all:
  --out DIRECTORY    where its files go (target/bench); what is complete there is not measured again
  --fresh            measure everything again
  --only SCENARIO,…  only these
  --save             copy the tables to docs/bench/
USAGE
  catalogue_list scenarios: scenarios
  catalogue_list peers: peers
  catalogue_list topologies: topologies
  catalogue_list loads: loads
}
