# shellcheck shell=bash
# A test PKI by openssl: P-256 keys, one directory. Made anew for each run, so nothing secret is kept.
#
#   ca.pem                  signs everything below but the stranger
#   gateway.pem/.key        the gateway's server certificate: gateway.example.com, *.example.com
#   other.pem/.key          a second one, for SNI: other.example.org
#   backend.pem/.key        the backends' server certificate: backend.internal
#   gateway-client.pem/.key what the gateway shows to backends
#   client.pem/.key         a good client; revoked.pem/.key: one that crl.pem names; stranger.pem/.key: by stranger-ca.pem

# pki_make DIRECTORY
pki_make() {
  local dir=$1
  mkdir -p "$dir/issued"
  : >"$dir/index.txt"
  echo 1000 >"$dir/serial"
  echo 01 >"$dir/crlnumber"
  pki_settings "$dir" >"$dir/openssl.cnf"
  pki_authority "$dir" ca "Tidegate Test CA"
  pki_authority "$dir" stranger-ca "Some Other CA"
  pki_leaf "$dir" ca gateway server "DNS:gateway.example.com,DNS:*.example.com"
  pki_leaf "$dir" ca other server "DNS:other.example.org"
  pki_leaf "$dir" ca backend server "DNS:backend.internal"
  pki_leaf "$dir" ca gateway-client client "DNS:gateway.internal,URI:spiffe://example.com/gateway"
  pki_leaf "$dir" ca client client "DNS:client.example.com,URI:spiffe://example.com/client"
  pki_leaf "$dir" ca revoked client "DNS:revoked.example.com,URI:spiffe://example.com/revoked"
  pki_leaf "$dir" stranger-ca stranger client "DNS:stranger.example.net"
  pki_ca "$dir" -revoke "$dir/revoked.pem"
  pki_ca "$dir" -gencrl -out "$dir/crl.pem"
}

pki_settings() {
  cat <<EOF
[ca]
default_ca = authority
[authority]
dir = $1
database = $1/index.txt
serial = $1/serial
crlnumber = $1/crlnumber
new_certs_dir = $1/issued
certificate = $1/ca.pem
private_key = $1/ca.key
default_md = sha256
default_days = 90
default_crl_days = 90
policy = anything
unique_subject = no
crl_extensions = crl
[anything]
commonName = supplied
[crl]
authorityKeyIdentifier = keyid
[authority_certificate]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
EOF
}

pki_authority() { # pki_authority DIRECTORY NAME COMMON_NAME
  pki_quiet openssl req -x509 -config /dev/null -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 \
    -subj "/CN=$3" -keyout "$1/$2.key" -out "$1/$2.pem" \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign \
    -addext subjectKeyIdentifier=hash
}

pki_leaf() { # pki_leaf DIRECTORY AUTHORITY NAME server|client SUBJECT_ALTERNATIVE_NAMES
  pki_quiet openssl req -new -config /dev/null -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$3" \
    -keyout "$1/$3.key" -out "$1/$3.csr"
  cat >"$1/$3.ext" <<EOF
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = $4Auth
subjectAltName = $5
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
EOF
  pki_ca "$1" -cert "$1/$2.pem" -keyfile "$1/$2.key" -in "$1/$3.csr" -extfile "$1/$3.ext" -notext -out "$1/$3.pem"
  rm "$1/$3.csr" "$1/$3.ext"
}

pki_ca() { # pki_ca DIRECTORY ARGUMENTS…
  local dir=$1
  shift
  pki_quiet openssl ca -config "$dir/openssl.cnf" -batch "$@"
}

# openssl talks while it succeeds; only its complaints are worth a screen.
pki_quiet() {
  local said
  said=$("$@" 2>&1) || die "$1 $2: $said"
}
