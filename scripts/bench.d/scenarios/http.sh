# shellcheck shell=bash
# a reverse proxy, HTTP/1.1 without TLS: requests and new connections per second, latency
# shellcheck disable=SC2034 # read by scripts/lib/bench
PEERS=(nginx haproxy envoy)
PORTS_KNOWN=(af_xdp tap dpdk)
LOADS=(wrk h2load)
SETTING=([connections]=64)
BARS=(
  "1KiB rate nginx >= 2" "1KiB rate haproxy >= 2" "1KiB rate envoy >= 6"
  "new rate haproxy >= 1.5"
)

scenario_cases() { printf '%s\n' 0B 1KiB 100KiB 100MB new; }

scenario_skip() { load_lacks "$(http_work "$2")" http ''; }

scenario_measure() {
  case $2 in
    0B) http_load "$1" keepalive /0 "${SETTING[connections]}" ;;
    1KiB) http_load "$1" keepalive /1k "${SETTING[connections]}" ;;
    100KiB) http_load "$1" keepalive /100k 16 ;;
    100MB) http_load "$1" keepalive /100m 4 ;;
    new) http_load "$1" new /1k "${SETTING[connections]}" ;;
  esac
}
http_work() { if [[ $1 == new ]]; then echo new; else echo keepalive; fi; }
http_load() { load_run "$1" "$2" http "$3" "$4" ''; }
