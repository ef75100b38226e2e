# shellcheck shell=bash
# wrk before, nginx behind, on the kernel's stack: knows no fixed rates and no client certificates

load_uses_kernel() { return 0; }
load_packages() { echo wrk nginx; }
load_prepare() { kernel_origin "$1"; }

load_lacks() { # load_lacks WORK SCHEME RATE
  case $1 in keepalive | new) ;; *) echo "wrk cannot do '$1'" ;; esac
  [[ $2 != mtls ]] || echo "wrk has no client certificates"
  [[ -z $3 ]] || echo "wrk knows no fixed rates"
}

load_run() {
  local program=$1 work=$2 scheme=$3 path=$4 connections=$5 close=()
  [[ $work != new ]] || close=(-H 'Connection: close')
  local wrk=(taskset -c "$LOAD_CPU" wrk -t1 -c"$connections" --timeout 5 "${close[@]}")
  ns "load-$program" timeout 15 "${wrk[@]}" -d1 "$(kernel_url "$scheme")$path" >/dev/null
  ns "load-$program" timeout $((SECONDS_EACH + 15)) "${wrk[@]}" -d"$SECONDS_EACH" --latency "$(kernel_url "$scheme")$path" |
    "$BENCH" record wrk
}
