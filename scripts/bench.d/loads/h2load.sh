# shellcheck shell=bash
# h2load before, nginx behind, on the kernel's stack: as wrk, and counts otherwise

load_uses_kernel() { return 0; }
load_packages() { echo nghttp2-client nginx; }
load_prepare() { kernel_origin "$1"; }

load_lacks() { # load_lacks WORK SCHEME RATE
  [[ $1 == keepalive ]] || echo "h2load cannot do '$1'"
  [[ $2 != mtls ]] || echo "h2load has no client certificates"
  [[ -z $3 ]] || echo "h2load knows no fixed rates"
}

load_run() {
  local program=$1 scheme=$3 path=$4 connections=$5
  ns "load-$program" timeout $((SECONDS_EACH + 15)) taskset -c "$LOAD_CPU" h2load --h1 -t1 -c"$connections" \
    --warm-up-time=1 -D"$SECONDS_EACH" "$(kernel_url "$scheme")$path" | "$BENCH" record h2load
}
