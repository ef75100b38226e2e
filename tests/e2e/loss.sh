# shellcheck shell=bash
# Two percent of all packets lost on both sides: transfers are slower, and whole.

lossy() { # lossy HOST — drops before the host's stack on the way in, and on the way out
  ns "$1" nft -f - <<'NFT'
table inet loss {
  chain in { type filter hook input priority 0; iifname "eth0" numgen random mod 1000 < 20 drop; }
  chain out { type filter hook output priority 0; oifname "eth0" numgen random mod 1000 < 20 drop; }
}
NFT
}
lossless() { ns "$1" nft delete table inet loss; }
download() {
  local size
  size=$(ns client curl -sS --max-time 90 http://10.0.1.1/lab/bytes/10000000 | sha256sum | cut -d' ' -f1)
  expect checksum "$size" "$("$PYTHON" -c 'import hashlib; b=(bytes(range(256))*39063)[:10000000]; print(hashlib.sha256(b).hexdigest())')"
}
upload() {
  head -c 10000000 /dev/urandom >"$STATE/upload"
  expect checksum "$(ns client curl -sS --max-time 90 -H 'Expect:' --data-binary "@$STATE/upload" http://10.0.1.1/lab/sum)" \
    "10000000 $(sha256sum <"$STATE/upload" | cut -d' ' -f1)*"
}
many_small() {
  local index code bad=0
  for index in {1..100}; do
    code=$(ns client curl -s --max-time 20 -o /dev/null -w '%{http_code}' http://10.0.1.1/1k) || true
    [[ $code == 200 ]] || { bad=$((bad + 1)); echo "$index: $code"; }
  done
  expect "failed of 100" "$bad" 0
}
over_tls() {
  local got
  got=$(ns client curl -sS --max-time 90 --cacert "$PKI/ca.pem" --resolve gateway.example.com:8443:10.0.1.1 \
    https://gateway.example.com:8443/lab/bytes/5000000 | wc -c)
  expect bytes "$got" 5000000
}

lossy client
lossy b1
check download download
check upload upload
check many-small-requests many_small
check over-tls over_tls
lossless client
lossless b1
