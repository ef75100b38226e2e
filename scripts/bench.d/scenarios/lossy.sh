# shellcheck shell=bash
# a client behind a hop that loses 2 % of the packets and takes 10 ms, in each direction: goodput of large answers
# shellcheck disable=SC2034 # read by scripts/lib/bench
PEERS=(nginx haproxy)
PORTS_KNOWN=(af_xdp tap)
# The kernel receives, because its selective acknowledgements are what a sender of the kernel needs on such a way.
LOADS=(wrk)
TOPOLOGY=impaired
SECONDS_EACH=8
SETTING=([loss]=2 [delay]=10)
SETTING_SAYS=([loss]="percent percent of the packets that the hop loses" [delay]="number milliseconds that it takes")
BARS=("100KiB goodput nginx >= 0.9" "100MB goodput nginx >= 0.9")
ALL=("--vs nginx --seconds 3")

scenario_cases() { printf '%s\n' 100KiB 100MB; }

scenario_start() { impaired_start "$1" && program_start "$1" "$2"; }
scenario_stop() {
  program_stop "$1"
  impaired_stop "$1"
}

scenario_measure() {
  case $2 in
    100KiB) load_run "$1" keepalive http /100k 32 '' ;;
    100MB) load_run "$1" keepalive http /100m 8 '' ;;
  esac
}
