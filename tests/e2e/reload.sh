# shellcheck shell=bash
# Reloads: a change under load costs nobody a request, a hundred changes cost no connection, a bad file changes nothing.

PAGE=http://10.0.1.1/1k

only_backend() { # only_backend N — all of thirty requests
  local seen
  seen=$(for _ in {1..30}; do ns client curl -s --max-time 3 http://10.0.1.1/; done | sort | uniq -c | xargs)
  expect "backends" "$seen" "30 This is backend $1."
}
moves_traffic() {
  reloaded 's/^endpoints = \["10\.0\.2\.11:80", "10\.0\.3\.11:80"\]/endpoints = ["10.0.3.11:80"]/' || return 1
  only_backend 2
}
by_signal() { taken "$STATE" changed_and_signalled; }
changed_and_signalled() {
  edit "$STATE" 's/^endpoints = \["10\.0\.3\.11:80"\]/endpoints = ["10.0.2.11:80", "10.0.3.11:80"]/'
  kill -HUP "$(cat "$STATE/gateway.pid")"
}
a_hundred() {
  local before round
  before=$(generation "$STATE")
  for round in {1..100}; do
    if ((round % 2)); then
      sed -i.bak -E 's/^endpoints = \["10\.0\.2\.11:80", "10\.0\.3\.11:80"\]/endpoints = ["10.0.3.11:80", "10.0.2.11:80"]/' "$STATE/gateway.toml"
    else
      sed -i.bak -E 's/^endpoints = \["10\.0\.3\.11:80", "10\.0\.2\.11:80"\]/endpoints = ["10.0.2.11:80", "10.0.3.11:80"]/' "$STATE/gateway.toml"
    fi
    "$BINARY" reload --socket "$STATE/admin.sock" || return 1
  done
  expect_at_least "generations" "$(($(generation "$STATE") - before))" 100
}
refuses_broken() { # refuses_broken SED-EXPRESSION PATTERN
  local before after output status=0
  before=$(generation "$STATE")
  cp "$STATE/gateway.toml" "$STATE/good.toml"
  sed -E "$1" "$STATE/good.toml" >"$STATE/broken.toml"
  ! cmp -s "$STATE/good.toml" "$STATE/broken.toml" || { echo "the edit changed nothing"; return 1; }
  output=$("$BINARY" check "$STATE/broken.toml" 2>&1) && { echo "check accepted it"; return 1; }
  printf '%s\n' "$output"
  grep -qE "broken\.toml:[0-9]+:[0-9]+" <<<"$output" || { echo "no place"; return 1; }
  grep -qE "$2" <<<"$output" || { echo "no such explanation: $2"; return 1; }
  cp "$STATE/broken.toml" "$STATE/gateway.toml"
  output=$("$BINARY" reload --socket "$STATE/admin.sock" 2>&1) || status=$?
  mv "$STATE/good.toml" "$STATE/gateway.toml"
  printf '%s\n' "$output"
  ((status != 0)) || { echo "reload accepted it"; return 1; }
  grep -qE "gateway\.toml:[0-9]+:[0-9]+" <<<"$output" || { echo "reload names no place"; return 1; }
  after=$(generation "$STATE")
  expect generation "$after" "$before"
  only_backend '?.' >/dev/null || expect "still served" "$(ns client curl -s http://10.0.1.1/)" 'This is backend*'
}
keeps_open_connections() { ns client "$PYTHON" "$ROOT/tests/e2e/reload.py" "$BINARY" "$STATE"; }

check under-load-moves-traffic under_load "$PAGE" moves_traffic
check sighup under_load "$PAGE" by_signal
check a-hundred-under-load under_load "$PAGE" a_hundred
check open-connections-stay keeps_open_connections
check refuses-syntax under_load "$PAGE" refuses_broken 's/^\[runtime\]/[runtime/' '.'
check refuses-unknown-key under_load "$PAGE" refuses_broken 's/^half_open_limit/half_opn_limit/' 'half_open_limit'
check refuses-bad-address under_load "$PAGE" refuses_broken 's/^address = "10\.0\.1\.1:443"/address = "10.0.1.300:443"/' '10\.0\.1\.300'
check refuses-missing-cluster under_load "$PAGE" refuses_broken 's/cluster = "secure"/cluster = "secur"/' 'secur'
check refuses-missing-file under_load "$PAGE" refuses_broken 's/other\.key/nowhere.key/' 'nowhere\.key'
