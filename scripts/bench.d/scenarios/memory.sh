# shellcheck shell=bash
# what the program costs where nothing else is measured, on memory ports: cycles, bytes, allocations. Needs no root
# shellcheck disable=SC2034 # read by scripts/lib/bench
TOPOLOGY=none
PORTS_KNOWN=(memory)
ROUNDS=3
SETTING=([rounds]=11)
SETTING_SAYS=([rounds]="count rounds within a measurement")
BARS=(
  "handshakes missed self <= 0"
  "segments missed self <= 0"
  "conns 100000-connections:resident-per-connection self <= 4096"
  "conns-tls 100000-connections:resident-per-connection self <= 12288"
)
ALL=("--rounds 5")

# Forwarding is in l3 --port memory.
scenario_cases() { printf '%s\n' lpm segments http https handshakes conns conns-tls; }
scenario_start() { :; }
scenario_stop() { :; }

# A question that has a goal says so by its status: that it was missed is a figure like the others.
scenario_measure() {
  local question=$2 missed=0
  case $2 in
    https) question='http --tls' ;;
    conns-tls) question='conns --tls' ;;
  esac
  # shellcheck disable=SC2086 # an option is a word of its own
  "$BENCH" $question --json --rounds "${SETTING[rounds]}" --cpu "$PROGRAM_CPU" >"$STATE/said" || missed=1
  [[ -s $STATE/said ]] || return 1
  "$BENCH" record tables <"$STATE/said" | "$BENCH" record also --metric "missed=$missed,count,lower"
}
