# shellcheck shell=bash
# HAProxy of Debian: one thread, kept and shared connections to the origin, no log
# shellcheck disable=SC2034 # read by scripts/lib/bench
peer_packages=(haproxy)

peer_version() { haproxy -v | sed -n '1s/ - .*//p'; }

# With a master, which is what a reload is told.
peer_start() {
  cat "$PKI/gateway.pem" "$PKI/gateway.key" >"$PROGRAM_DIR/gateway-both.pem"
  cat "$PKI/gateway-client.pem" "$PKI/gateway-client.key" >"$PROGRAM_DIR/client-both.pem"
  program_template haproxy.cfg
  program_exec haproxy -W -db -f "$PROGRAM_DIR/haproxy.cfg"
}

peer_ready() { program_listens; }

peer_file() { echo haproxy.cfg; }
peer_reload() { kill -USR2 "$(cat "$PROGRAM_DIR/pid")"; }
# Several signals may come to one new worker, which its master tells of.
peer_taken() { echo $(($(grep -c 'New worker (.*) forked' "$PROGRAM_DIR/log") - 1)); }
