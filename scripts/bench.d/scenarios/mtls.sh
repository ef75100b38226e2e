# shellcheck shell=bash
# as http, with TLS 1.3 and certificates on all four sides
# shellcheck disable=SC2034 # read by scripts/lib/bench
source "$ROOT/scripts/lib/bench/proxy.sh"
proxy_defaults
BARS=("1KiB rate best >= 1.5" "half p99 best <= 0.7")
ALL=("--seconds 2 --cases 1KiB,half" "--seconds 1 --cases 0B,100KiB" "--seconds 2 --cases 100MB --vs nginx,haproxy")
