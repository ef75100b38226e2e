# shellcheck shell=bash
# what the program costs where nothing else is measured, on memory ports: cycles, bytes, allocations. Needs no root
# shellcheck disable=SC2034 # read by scripts/lib/bench
TOPOLOGY=none
PORTS_KNOWN=(memory)
ROUNDS=3
SETTING=([rounds]=11) # within a measurement
BARS=("conns 100000-connections:resident-per-connection self <= 4096" "conns-tls 100000-connections:resident-per-connection self <= 12288")
ALL=("--rounds 1 --set rounds=31")

scenario_cases() { printf '%s\n' l3 lpm segments http https conns conns-tls; }
scenario_start() { :; }
scenario_stop() { :; }

scenario_measure() {
  local question=$2
  case $2 in
    https) question='http --tls' ;;
    conns-tls) question='conns --tls' ;;
  esac
  # shellcheck disable=SC2086 # an option is a word of its own
  "$BENCH" $question --json --rounds "${SETTING[rounds]}" --cpu "$PROGRAM_CPU" | "$BENCH" record tables
}
