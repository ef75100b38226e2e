# shellcheck shell=bash
# the kernel's own forwarding, its work on the program's CPU

peer_version() { echo "Linux $(uname -r)"; }

# A router as the others are: addresses, known neighbours, routes. The process only stands for it.
peer_start() {
  ns "$PROGRAM_NS" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  kernel_end lan0 10.0.1.1/24 fd00:1::1/64
  kernel_end web0 10.0.2.1/24 fd00:2::1/64
  local far
  for far in 10.0.2.11 fd00:2::11; do
    ns "$PROGRAM_NS" ip neighbor replace "$far" lladdr 02:00:00:01:00:02 nud permanent dev web0
  done
  scenario_routes "$1" iproute2 >"$PROGRAM_DIR/routes"
  local family=-4
  [[ $1 != v6-* ]] || family=-6
  ns "$PROGRAM_NS" ip "$family" -force -batch "$PROGRAM_DIR/routes" 2>/dev/null || true
  program_exec sleep infinity
}

kernel_end() { # kernel_end END ADDRESS…
  local address
  for address in "${@:2}"; do ns "$PROGRAM_NS" ip address replace "$address" dev "$1"; done
}

# The next case has its own routes.
peer_settle() {
  ns "$PROGRAM_NS" ip -4 route flush proto boot 2>/dev/null || true
  ns "$PROGRAM_NS" ip -6 route flush proto boot 2>/dev/null || true
}
