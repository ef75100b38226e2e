# shellcheck shell=bash
# HTTP/1.1 through the gateway (cases in http.py), with real clients beside them.

curl_posts_a_file() {
  head -c 5000000 /dev/urandom >"$STATE/upload"
  ns client curl -sS -f --max-time 20 -T "$STATE/upload" http://10.0.1.1/files/upload-1 || return 1
  local here there
  here=$(sha256sum <"$STATE/upload")
  # Either backend may have got it.
  there=$(cat "$STATE"/b[12]/www/files/upload-1 | sha256sum)
  rm -f "$STATE"/b[12]/www/files/upload-1
  expect "file on the backend" "$there" "$here"
}
curl_fetches_in_parallel() {
  local index
  for index in {1..60}; do
    printf 'url = http://10.0.1.1/lab/bytes/%s\noutput = /dev/null\n' $((index * 5000))
  done >"$STATE/urls"
  ns client curl -sS -f --max-time 30 --parallel --parallel-max 20 -w '%{http_code} %{size_download}\n' -K "$STATE/urls" >"$STATE/parallel" || return 1
  expect "answers" "$(grep -c '^200' "$STATE/parallel")" 60
}
load_is_clean() {
  ns client wrk -t1 -c64 -d3 --timeout 5 http://10.0.1.1/1k >"$STATE/wrk" 2>&1
  wrk_clean "$STATE/wrk" 1000
}
access_log_is_json() {
  ns client curl -sS -o /dev/null "http://10.0.1.1/1k?marked" || return 1
  await 3 grep -q 'marked' "$STATE/access.log" || { tail -3 "$STATE/access.log"; return 1; }
  "$PYTHON" - "$STATE/access.log" <<'PYTHON'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
marked = [line for line in lines if "marked" in json.dumps(line)]
assert len(marked) == 1, marked
text = json.dumps(marked[0])
assert "10.0.1.100" in text and "GET" in text and "200" in text, text
assert any("502" in json.dumps(line) for line in lines), "the error pages of before are logged too"
PYTHON
}

python_cases http.py
check curl-posts-a-file curl_posts_a_file
check curl-fetches-in-parallel curl_fetches_in_parallel
check load-is-clean load_is_clean
check access-log-is-json access_log_is_json
