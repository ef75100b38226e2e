# shellcheck shell=bash
# the kernel's own forwarding, its work on the program's CPU

peer_version() { echo "Linux $(uname -r)"; }

# A router as the others are: addresses, known neighbours, routes. The process only stands for it.
peer_start() {
  local far
  ns "$PROGRAM_NS" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 || return 1
  kernel_end lan0 10.0.1.1/24 fd00:1::1/64 || return 1
  kernel_end web0 10.0.2.1/24 fd00:2::1/64 || return 1
  for far in 10.0.2.11 fd00:2::11; do
    ns "$PROGRAM_NS" ip neighbor replace "$far" lladdr 02:00:00:01:00:02 nud permanent dev web0 || return 1
  done
  kernel_routes "$1" || return 1
  program_exec sleep infinity
}

kernel_end() { # kernel_end END ADDRESS…
  local address
  for address in "${@:2}"; do ns "$PROGRAM_NS" ip address replace "$address" dev "$1" || return 1; done
}

# All of them, or no figure: a router that lacks some is not what is compared.
kernel_routes() { # kernel_routes CASE
  local family=-4 wanted
  [[ $1 != v6-* ]] || family=-6
  scenario_routes "$1" iproute2 >"$PROGRAM_DIR/routes" || return 1
  wanted=$(wc -l <"$PROGRAM_DIR/routes")
  if ! ns "$PROGRAM_NS" ip "$family" -batch "$PROGRAM_DIR/routes" >"$PROGRAM_DIR/log" 2>&1; then
    echo "of $wanted routes the kernel has $(kernel_has "$family"): $(head -n 1 "$PROGRAM_DIR/log")" >&2
    return 1
  fi
  (($(kernel_has "$family") == wanted)) || { echo "of $wanted routes the kernel has $(kernel_has "$family")" >&2; return 1; }
}

# What was not given by the kernel itself.
kernel_has() { ns "$PROGRAM_NS" ip "$1" -oneline route show proto boot | wc -l; }

# The next case has its own routes.
peer_settle() {
  ns "$PROGRAM_NS" ip -4 route flush proto boot 2>/dev/null || true
  ns "$PROGRAM_NS" ip -6 route flush proto boot 2>/dev/null || true
}
