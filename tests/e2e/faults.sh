# shellcheck shell=bash
# What breaks: a backend dies and comes back, the gateway drains, is killed and starts again.

request_loop() { # request_loop COUNT -> the distinct answers
  local index
  for ((index = 0; index < $1; index++)); do
    ns client curl -s --max-time 5 -w ' %{http_code}' http://10.0.1.1/ || echo "curl failed: $?"
    echo
  done | sort | uniq -c
}
backend_dies() {
  local seen
  request_loop 10 >/dev/null
  origin_kill b1
  seen=$(request_loop 40)
  printf '%s\n' "$seen"
  expect "answers" "$(xargs <<<"$seen")" '40 200 40 This is backend 2.'
}
backend_returns() {
  origin_start b1 "$STATE" "$PKI"
  lab_start
  await 10 seen_both
}
seen_both() { [[ $(for _ in {1..8}; do ns client curl -s --max-time 3 http://10.0.1.1/; done | sort -u | wc -l) == 2 ]]; }
all_backends_dead() {
  origin_kill b1
  origin_kill b2
  local code
  code=$(ns client curl -s --max-time 8 -o "$STATE/page" -w '%{http_code}' http://10.0.1.1/)
  cat "$STATE/page"
  [[ $code == 502 || $code == 503 ]] || { echo "status $code"; return 1; }
  origin_start b1 "$STATE" "$PKI"
  origin_start b2 "$STATE" "$PKI"
  lab_start
  await 10 seen_both
}
# SIGTERM: what is in flight is finished, what is new is refused, the process ends by itself with status 0.
drains() {
  local pid status=0 slow
  pid=$(cat "$STATE/gateway.pid")
  ns client curl -sS --max-time 9 http://10.0.1.1/lab/slow/1500 >"$STATE/slow" 2>&1 &
  slow=$!
  await 8 request_in_flight
  kill -TERM "$pid"
  wait $slow || status=$?
  expect "the answer in flight" "$(cat "$STATE/slow")" 'at last' || return 1
  ((status == 0)) || return 1
  await 12 gateway_gone "$STATE" || { echo "did not end"; return 1; }
  ! grep -i panic "$STATE/gateway.log"
}
starts_again() { gateway_start "$DRIVER" "$STATE" && only_ok; }
only_ok() { expect "status" "$(ns client curl -s --max-time 5 -o /dev/null -w '%{http_code}' http://10.0.1.1/)" 200; }
# A crash must leave nothing behind that keeps the next start from working: no XDP program, no TAP, no lock.
restarts_after_kill() {
  gateway_stop "$STATE" KILL
  starts_again
}
second_term_ends_now() {
  local pid
  pid=$(cat "$STATE/gateway.pid")
  ns client curl -s --max-time 20 http://10.0.1.1/lab/never >/dev/null 2>&1 &
  await 8 request_in_flight
  kill -TERM "$pid"
  sleep 0.5
  gateway_lives "$STATE" || { echo "did not wait for the request in flight"; return 1; }
  kill -TERM "$pid"
  await 5 gateway_gone "$STATE"
}
request_in_flight() {
  admin "$STATE" /metrics | awk 'index($1, "tidegate_http_active_requests") == 1 { sum += $2 } END { exit !(sum > 0) }'
}

check backend-dies backend_dies
check backend-returns backend_returns
check all-backends-dead all_backends_dead
check sigterm-drains drains
check starts-again starts_again
check restarts-after-sigkill restarts_after_kill
check second-sigterm-ends-now second_term_ends_now
check starts-once-more starts_again
