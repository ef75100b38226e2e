# shellcheck shell=bash
# The operator's side: check, stats, reload, schema, completions, man page, the admin API, metrics.

metrics_are_clean() {
  ns client curl -s -o /dev/null http://10.0.1.1/
  admin "$STATE" /metrics >"$STATE/metrics" || return 1
  promtool check metrics <"$STATE/metrics" || return 1
  local name
  for name in tidegate_rx_packets_total tidegate_tx_packets_total tidegate_drops_total tidegate_generation \
    tidegate_http_requests_total; do
    grep -q "^$name" "$STATE/metrics" || { echo "no $name"; return 1; }
  done
}
metrics_count() { # metrics_count NAME -> the sum over its labels
  admin "$STATE" /metrics | awk -v name="$1" '$1 == name || index($1, name "{") == 1 { sum += $2 } END { print sum + 0 }'
}
requests_are_counted() {
  local before after
  before=$(metrics_count tidegate_http_requests_total)
  for _ in {1..10}; do ns client curl -s -o /dev/null http://10.0.1.1/; done
  sleep 0.3
  after=$(metrics_count tidegate_http_requests_total)
  expect "ten more than $before" "$((after - before))" 10
}
drops_are_counted() {
  local before after
  before=$(metrics_count tidegate_drops_total)
  ns client ping -q -c3 -i 0.05 -W0.3 10.66.1.1 || true
  sleep 0.3
  after=$(metrics_count tidegate_drops_total)
  expect_at_least "more than $before" "$((after - before))" 3
}
http_admin() { expect ready "$(ns gw curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9901/ready)" 200; }
http_admin_is_read_only() {
  local code
  code=$(ns gw curl -s -o /dev/null -w '%{http_code}' -X POST http://127.0.0.1:9901/reload)
  [[ $code == 403 || $code == 404 || $code == 405 ]] || { echo "status $code"; return 1; }
}
socket_is_private() { expect mode "$(stat -c %a "$STATE/admin.sock")" '600'; }
stats_table() { expect stats "$("$BINARY" stats --socket "$STATE/admin.sock")" '*lan*'; }
stats_json() { "$BINARY" stats --socket "$STATE/admin.sock" -o json | "$PYTHON" -c 'import json,sys; json.load(sys.stdin)'; }
# Traffic lasts longer than the interval that is looked at.
top_once() {
  local status=0 load
  ns client wrk -t1 -c8 -d4 http://10.0.1.1/ >/dev/null &
  load=$!
  sleep 1
  "$BINARY" top --once --interval 2 -o json --socket "$STATE/admin.sock" >"$STATE/top.json" || status=$?
  wait "$load" || status=$?
  ((status == 0)) && "$PYTHON" "$ROOT/tests/e2e/top.py" plausible "$STATE/top.json"
}
top_once_is_plain() {
  local output
  output=$("$BINARY" top --once --interval 0.2 --socket "$STATE/admin.sock") || return 1
  expect 'all pages' "$output" '*RX PPS*lan*CYCLES/PKT*DROPPED*TCP CONNECTIONS*latency p99*ENDPOINT*'
  [[ $output != *$'\e'* ]] || { echo 'escape sequences'; return 1; }
}
top_on_a_terminal() { "$PYTHON" "$ROOT/tests/e2e/top.py" terminal "$BINARY" "$STATE/admin.sock"; }
top_without_a_terminal() { expect refusal "$(refuse "$BINARY" top --socket "$STATE/admin.sock")" '*--once*'; }
config_dump_keeps_secrets() {
  admin "$STATE" /config_dump >"$STATE/dump" || return 1
  grep -q 10.0.2.11 "$STATE/dump" && ! grep -q 'PRIVATE KEY' "$STATE/dump"
}
check_accepts() { "$BINARY" check "$STATE/gateway.toml"; }
check_reports_all() {
  local output
  sed -E 's/^drain_timeout_s = 10/drain_timeout_s = "soon"/; s/^half_open_limit/half_opn_limit/; s/cluster = "secure"/cluster = "secur"/' \
    "$STATE/gateway.toml" >"$STATE/three.toml"
  output=$("$BINARY" check "$STATE/three.toml" 2>&1) && { echo accepted; return 1; }
  printf '%s\n' "$output"
  expect_at_least "places" "$(grep -oE 'three\.toml:[0-9]+:[0-9]+' <<<"$output" | sort -u | wc -l)" 3
}
check_json() {
  local output
  output=$("$BINARY" check --format json "$STATE/three.toml" 2>/dev/null) && { echo accepted; return 1; }
  "$PYTHON" -c 'import json,sys; json.loads(sys.argv[1])' "$output"
}
check_missing_file() { refuse "$BINARY" check "$STATE/no-such-file.toml"; }
every_shipped_config() {
  local file
  for file in "$ROOT"/configs/*.toml; do
    "$BINARY" check --no-files "$file" || { echo "$file"; return 1; }
  done
}
schema_is_json() { "$BINARY" schema | "$PYTHON" -c 'import json,sys; s=json.load(sys.stdin); assert "properties" in s'; }
completions_load() { "$BINARY" completions bash | bash -n; }
man_page() { "$BINARY" man | grep -q '^\.TH'; }
second_instance_is_refused() { refuse timeout 10 ip netns exec "$PREFIX-gw" "$BINARY" run -c "$STATE/gateway.toml"; }

check metrics-are-clean metrics_are_clean
check requests-are-counted requests_are_counted
check drops-are-counted drops_are_counted
check http-admin http_admin
check http-admin-is-read-only http_admin_is_read_only
check socket-is-private socket_is_private
check stats-table stats_table
check stats-json stats_json
check top-once top_once
check top-once-is-plain top_once_is_plain
check top-on-a-terminal top_on_a_terminal
check top-without-a-terminal top_without_a_terminal
check config-dump-keeps-secrets config_dump_keeps_secrets
check check-accepts check_accepts
check check-reports-all-mistakes check_reports_all
check check-json check_json
check check-missing-file check_missing_file
check shipped-configurations every_shipped_config
check schema-is-json schema_is_json
check completions-load completions_load
check man-page man_page
check second-instance-is-refused second_instance_is_refused
