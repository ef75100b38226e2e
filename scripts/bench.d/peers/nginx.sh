# shellcheck shell=bash
# nginx of Debian: one worker, kept connections to the origin, no log
# shellcheck disable=SC2034 # read by scripts/lib/bench
peer_packages=(nginx)

peer_version() { nginx -v 2>&1 | sed 's/^nginx version: //'; }

peer_start() {
  program_template nginx.conf
  mkdir -p "$PROGRAM_DIR/tmp"
  program_exec nginx -p "$PROGRAM_DIR" -c "$PROGRAM_DIR/nginx.conf" -g 'daemon off;'
}

peer_ready() { program_listens; }

peer_file() { echo nginx.conf; }
peer_reload() { kill -HUP "$(cat "$PROGRAM_DIR/pid")"; }
# Several signals may come to one new generation of its worker.
peer_taken() { echo $(($(grep -c 'start worker process ' "$PROGRAM_DIR/error.log") - 1)); }
