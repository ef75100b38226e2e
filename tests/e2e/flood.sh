# shellcheck shell=bash
# A SYN flood from many sources: cookies answer it, and the client that means it is served all the same.

cookies() { # cookies sent|accepted
  admin "$STATE" /metrics | awk -v name="tidegate_tcp_cookies_$1_total" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'
}
flooded() {
  ns client "$PYTHON" "$ROOT/tests/e2e/flood.py" 4 >"$STATE/flood" 2>&1 &
  local flood=$! code bad=0
  sleep 0.7
  # The flood fills queues before the gateway, too: a SYN may be lost there twice, and is sent again after 1 and 2 s.
  for _ in {1..40}; do
    code=$(ns client curl -s --max-time 8 -o /dev/null -w '%{http_code}' http://10.0.1.1/) || true
    [[ $code == 200 ]] || bad=$((bad + 1))
  done
  wait $flood || { cat "$STATE/flood"; return 1; }
  cat "$STATE/flood"
  expect "failed requests of 40" "$bad" 0
  expect_at_least "SYNs answered by cookies" "$(cookies sent)" 1000
  # The sources do not exist, so what the gateway asks about them must not fill anything for good.
  expect "after the flood" "$(ns client curl -s --max-time 3 -o /dev/null -w '%{http_code}' http://10.0.1.1/)" 200
}
cookie_carries_bytes() { # during a flood a connection is made by cookie; it must carry a body like any other
  ns client "$PYTHON" "$ROOT/tests/e2e/flood.py" 5 >/dev/null 2>&1 &
  local flood=$!
  sleep 0.7
  local size
  size=$(ns client curl -s --max-time 15 http://10.0.1.1/lab/bytes/2000000 | wc -c)
  wait $flood
  expect bytes "$size" 2000000
  expect_at_least "connections made by cookies" "$(cookies accepted)" 1
}

check legitimate-clients-are-served flooded
check cookie-connection-carries-bytes cookie_carries_bytes
