# shellcheck shell=bash
# TLS 1.3 handshakes per second, full (X25519, P-256) and resumed, beside what ring alone allows on the same CPU
# shellcheck disable=SC2034 # read by scripts/lib/bench
PEERS=(nginx haproxy envoy ring)
PORTS_KNOWN=(af_xdp tap dpdk)
LOADS=(tidegate)
SETTING=([connections]=32)
SETTING_SAYS=([connections]="count handshakes under way at a time")
BARS=("full rate ring >= 0.85")
ALL=("--seconds 1")

scenario_cases() { printf '%s\n' full resumed; }

scenario_start() { [[ $1 == ring ]] || program_start "$1" "$2"; }
scenario_stop() { [[ $1 == ring ]] || program_stop "$1"; }

scenario_measure() {
  if [[ $1 == ring ]]; then
    program ring ring_measure "$2"
    return
  fi
  case $2 in
    full) load_run "$1" handshake https '' "${SETTING[connections]}" '' ;;
    resumed) load_run "$1" resume https '' "${SETTING[connections]}" '' ;;
  esac
}
