# shellcheck shell=bash
# The backends: a real nginx in each backend's namespace, plain on 80, mTLS on 443, every answer naming who gave it.

# origin_start HOST DIRECTORY PKI [KEEPALIVE_REQUESTS]
origin_start() {
  local host=$1 dir=$2/$1 pki=$3
  mkdir -p "$dir/www/files" "$dir/tmp"
  chmod -R a+rX "$dir"
  printf 'This is backend %s.\n' "${host#b}" >"$dir/www/index.html"
  head -c 1024 /dev/zero | tr '\0' 'x' >"$dir/www/1k"
  origin_config "$host" "$dir" "$pki" "${4:-1000}" >"$dir/nginx.conf"
  ns "$host" nginx -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;' >"$dir/nginx.log" 2>&1 9>&- &
  disown $!
  await 5 ns "$host" curl -sf -o /dev/null "http://127.0.0.1/" || die "nginx on $host did not start: $(cat "$dir/nginx.log")"
}

# Ends a backend as a crash would: master and workers at once, connections reset.
origin_kill() {
  local pid
  for pid in $(ip netns pids "$PREFIX-$1"); do
    kill -KILL "$pid" 2>/dev/null || true
  done
  await 3 no_process_in "$PREFIX-$1"
}

origin_config() {
  local host=$1 dir=$2 pki=$3 requests=$4
  cat <<EOF
# One worker as root: the files below belong to the test run, and the namespace is the fence.
user root;
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log warn;
events { worker_connections 8192; }
http {
    access_log off;
    default_type text/plain;
    sendfile on;
    tcp_nopush on;
    keepalive_requests $requests;
    client_max_body_size 0;
    client_body_temp_path $dir/tmp/body;
    proxy_temp_path $dir/tmp/proxy;
    fastcgi_temp_path $dir/tmp/fastcgi;
    uwsgi_temp_path $dir/tmp/uwsgi;
    scgi_temp_path $dir/tmp/scgi;
    server {
        listen 80 backlog=4096;
        listen [::]:80 backlog=4096;
        listen 443 ssl backlog=4096;
        listen [::]:443 ssl backlog=4096;
        server_name _;
        root $dir/www;
        ssl_certificate $pki/backend.pem;
        ssl_certificate_key $pki/backend.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        # The gateway must show its certificate on 443; nginx answers 400 to one who does not.
        ssl_client_certificate $pki/ca.pem;
        ssl_verify_client on;
        add_header X-Backend ${host#b} always;
        location = / { return 200 "This is backend ${host#b}.\n"; }
        # What arrived: for the checks of forwarded headers and of the upstream's TLS.
        location = /seen {
            return 200 "backend=${host#b}\nmethod=\$request_method\nhost=\$http_host\nuri=\$request_uri\nvia=\$http_via\nconnection=\$http_connection\nkeep_alive=\$http_keep_alive\nte=\$http_te\nx_forwarded_for=\$http_x_forwarded_for\nx_forwarded_proto=\$http_x_forwarded_proto\nx_forwarded_host=\$http_x_forwarded_host\nforwarded=\$http_forwarded\nsecret=\$http_x_secret\ntls=\$ssl_protocol\nverify=\$ssl_client_verify\nsubject=\$ssl_client_s_dn\n";
        }
        location /files/ { dav_methods PUT DELETE; create_full_put_path on; }
    }
}
EOF
}
