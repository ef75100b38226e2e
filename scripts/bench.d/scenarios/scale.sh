# shellcheck shell=bash
# one core and several at a time, on memory ports: what each does when the others work too. Needs no root
# shellcheck disable=SC2034 # read by scripts/lib/bench
TOPOLOGY=none
PORTS_KNOWN=(memory)
SECONDS_EACH=2
ALL=("--seconds 1")

# 1, 2, 4, 8 … and all.
scenario_cases() {
  local work cores all
  all=$(nproc)
  for work in l3 http https; do
    for ((cores = 1; cores < all; cores *= 2)); do echo "$work-$cores"; done
    echo "$work-$all"
  done
}
scenario_start() { :; }
scenario_stop() { :; }
scenario_measure() { "$BENCH" scale "${2%-*}" --cores "${2#*-}" --seconds "$SECONDS_EACH"; }
