# shellcheck shell=bash
# tidegate-bench: load and origin on our own data plane over AF_XDP, on one CPU; closed loop or fixed rates, all schemes
# A scenario whose connections take long to open gives them LOAD_PATIENCE seconds, and may have them rest for LOAD_REST before they work.

load_uses_kernel() { return 1; }
load_packages() { :; }
load_prepare() { :; }
load_lacks() { :; }

load_run() {
  local program=$1 work=$2 scheme=$3 path=$4 connections=$5 rate=$6 rest=${LOAD_REST:-0} words=()
  [[ -z $path ]] || words+=(--path "$path")
  [[ -z $rate ]] || words+=(--rate "$rate" --rest "$rest")
  mapfile -t -O "${#words[@]}" words < <(load_scheme "$scheme")
  # What it says to people last is the reason of a failure; the line for us comes even if there were errors.
  ns "load-$program" timeout $((SECONDS_EACH + rest + ${LOAD_PATIENCE:-60})) "$BENCH" load --cpu "$LOAD_CPU" --mode "$work" \
    --port af_xdp:load0 --address "${LOAD_ADDRESSES:-10.0.1.100/24}" --origin af_xdp:origin0,10.0.2.11/24 \
    --connections "$connections" --seconds "$SECONDS_EACH" "${words[@]}"
}

load_scheme() {
  case $1 in
    http) printf '%s\n' --to 10.0.1.1:80 ;;
    https) printf '%s\n' --to 10.0.1.1:443 --tls --ca "$PKI/ca.pem" --server-name gateway.example.com ;;
    mtls)
      printf '%s\n' --to 10.0.1.1:8443 --tls --ca "$PKI/ca.pem" --server-name gateway.example.com \
        --certificate "$PKI/client.pem" --key "$PKI/client.key" --listen-tls 443 --origin-certificate "$PKI/backend.pem" \
        --origin-key "$PKI/backend.key" --origin-client-ca "$PKI/ca.pem"
      ;;
  esac
}
