# shellcheck shell=bash
# a reverse proxy, HTTP/1.1 without TLS: requests and new connections per second, latency in a closed loop and at a fixed rate
# shellcheck disable=SC2034 # read by scripts/lib/bench
source "$ROOT/scripts/lib/bench/proxy.sh"
proxy_defaults
ALL=(
  "--seconds 2 --cases 1KiB,1KiB-256,half,new"
  "--seconds 1 --cases 0B,100KiB"
  "--seconds 2 --cases 100MB --vs nginx,haproxy --load wrk"
  "--seconds 2 --cases 100MB --vs haproxy --load wrk --port tap"
)

scenario_bars() {
  local case
  for case in 1KiB 1KiB-256; do printf '%s\n' "$case rate nginx >= 2" "$case rate haproxy >= 2" "$case rate envoy >= 6"; done
  printf '%s\n' "half p99 best <= 0.7" "new rate haproxy >= 1.5"
  # With the kernel's offloads at work, and without them on our own side unless it is a TAP.
  if load_uses_kernel; then
    case $PORT in
      af_xdp) echo "100MB goodput haproxy >= 0.7" ;;
      tap) echo "100MB goodput haproxy >= 1" ;;
    esac
  fi
}
