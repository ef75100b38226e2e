# shellcheck shell=bash
# TLS on both sides: versions, names, certificates of clients required, optional, foreign and revoked, resumption, rotation.

secure() { # secure PORT PATH CURL-OPTIONS…
  local port=$1 path=$2
  shift 2
  ns client curl -sS --max-time 8 --cacert "$PKI/ca.pem" --resolve "gateway.example.com:$port:10.0.1.1" \
    --resolve "secure.example.com:$port:10.0.1.1" --resolve "other.example.org:$port:10.0.1.1" \
    "https://${NAME:-gateway.example.com}:$port$path" "$@"
}
as() { printf '%s\n' --cert "$PKI/$1.pem" --key "$PKI/$1.key"; }
page_with() { # page_with CERTIFICATE PORT
  local arguments=()
  [[ -z $1 ]] || mapfile -t arguments < <(as "$1")
  expect page "$(secure "$2" / "${arguments[@]}" 2>&1)" 'This is backend ?*'
}
alerted() { # alerted PATTERN CERTIFICATE PORT — the handshake must fail with this alert, at once
  local arguments=() output status=0 begin=$SECONDS
  [[ -z $2 ]] || mapfile -t arguments < <(as "$2")
  output=$(secure "$3" / "${arguments[@]}" 2>&1) || status=$?
  printf '%s\n' "$output"
  ((status != 0)) || { echo "was served"; return 1; }
  ((SECONDS - begin < 4)) || { echo "took $((SECONDS - begin)) s"; return 1; }
  grep -qiE "$1" <<<"$output"
}
handshake() { # handshake PORT ARGUMENTS… -> what s_client saw
  local port=$1
  shift
  (sleep 0.4; echo Q) | ns client timeout 8 openssl s_client -connect "10.0.1.1:$port" -servername gateway.example.com \
    -CAfile "$PKI/ca.pem" "$@" 2>&1
}
speaks() { expect protocol "$(handshake "$@")" '*Verify return code: 0 (ok)*'; }
refuses() { expect handshake "$(handshake "$@")" '*alert*'; }
picks() { # picks NAME SUBJECT
  expect subject "$(handshake 443 -servername "$1" -cert "$PKI/client.pem" -key "$PKI/client.key" | grep '^subject')" "*$2*"
}
negotiates_alpn() { expect alpn "$(handshake 443 -alpn http/1.1 -cert "$PKI/client.pem" -key "$PKI/client.key")" '*ALPN protocol: http/1.1*'; }
asks_for_our_authority() { expect authorities "$(handshake 443)" '*Acceptable client certificate CA names*Tidegate Test CA*'; }
resumes() { # resumes VERSION
  local session="$STATE/session" output
  rm -f "$session"
  (printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'; sleep 0.5; echo Q) | ns client timeout 8 openssl s_client -connect 10.0.1.1:443 -servername gateway.example.com \
    -"$1" -cert "$PKI/client.pem" -key "$PKI/client.key" -sess_out "$session" -ign_eof >/dev/null 2>&1 &
  local writer=$!
  await 5 test -s "$session" || { echo "no ticket came"; kill $writer; return 1; }
  kill $writer 2>/dev/null || true
  wait $writer 2>/dev/null || true
  output=$(handshake 443 -"$1" -cert "$PKI/client.pem" -key "$PKI/client.key" -sess_in "$session")
  expect handshake "$output" '*Reused, TLSv1*'
}
upstream_is_mutual() {
  local arguments seen
  mapfile -t arguments < <(as client)
  seen=$(NAME=secure.example.com secure 443 /seen "${arguments[@]}")
  expect "the backend's view" "$seen" '*tls=TLSv1.3*verify=SUCCESS*subject=CN=gateway-client*'
  expect "the client's scheme" "$seen" '*x_forwarded_proto=https*'
}
answers_502() { # answers_502 HOST
  expect status "$(ns client curl -s --max-time 8 -o /dev/null -w '%{http_code}' -H "Host: $1" http://10.0.1.1/)" 502
}
carries_much() {
  local arguments
  mapfile -t arguments < <(as client)
  head -c 20000000 /dev/urandom >"$STATE/upload"
  secure 443 /lab/sum "${arguments[@]}" -H 'Expect:' --data-binary "@$STATE/upload" --max-time 60 >"$STATE/sum" || return 1
  expect checksum "$(cat "$STATE/sum")" "20000000 $(sha256sum <"$STATE/upload" | cut -d' ' -f1)*"
  expect "bytes back" "$(secure 443 /lab/bytes/20000000 "${arguments[@]}" --max-time 60 | wc -c)" 20000000
}
plain_text_on_tls_port() { refuse ns client curl -sS --max-time 4 http://10.0.1.1:443/; }
# A new certificate reaches new connections after a reload, with no restart, and an open connection stays.
rotates() {
  local before after
  before=$(handshake 8443 | openssl x509 -noout -fingerprint)
  cp "$PKI/gateway.pem" "$STATE/kept.pem"
  cp "$PKI/gateway.key" "$STATE/kept.key"
  pki_leaf "$PKI" ca gateway server "DNS:gateway.example.com,DNS:*.example.com"
  "$BINARY" reload --socket "$STATE/admin.sock"
  after=$(handshake 8443 | openssl x509 -noout -fingerprint)
  [[ $before != "$after" ]] || { echo "still $before"; return 1; }
  speaks 8443
}

check client-certificate-accepted page_with client 443
check none-refused alerted 'certificate.required|handshake failure' '' 443
check foreign-refused alerted 'unknown.ca|bad.certificate|alert' stranger 443
check revoked-refused alerted 'revoked' revoked 443
check optional-without page_with '' 8443
check optional-with page_with client 8443
check optional-foreign-refused alerted 'alert' stranger 8443
check speaks-tls-1.2 speaks 8443 -tls1_2
check speaks-tls-1.3 speaks 8443 -tls1_3
check minimum-1.3-refuses-1.2 refuses 9443 -tls1_2
check minimum-1.3-speaks-1.3 speaks 9443 -tls1_3
check refuses-tls-1.1 refuses 8443 -tls1_1 -cipher 'ALL:@SECLEVEL=0'
check server-name-picks-first picks gateway.example.com gateway
check server-name-picks-second picks other.example.org other
check unknown-name-gets-first picks nobody.example.net gateway
check alpn negotiates_alpn
check certificate-request-names-authority asks_for_our_authority
check resumes-1.2 resumes tls1_2
check resumes-1.3 resumes tls1_3
check upstream-is-mutual upstream_is_mutual
check upstream-wrong-name-is-502 answers_502 wrong-name.example.com
check upstream-wrong-authority-is-502 answers_502 wrong-authority.example.com
check carries-much carries_much
check plain-text-on-tls-port plain_text_on_tls_port
check certificates-rotate rotates
