# shellcheck shell=bash
# What the loads that are programs of the kernel's share: nginx as the origin in the load's namespace, and names for targets.

# kernel_origin PROGRAM — the same directory for all, a process for each
kernel_origin() {
  local dir=$STATE/origin-$1 pid
  mkdir -p "$dir/tmp" "$dir/www"
  chmod 755 "$dir"
  kernel_content "$dir/www"
  sed -e "s|@DIR@|$dir|g; s|@PKI@|$PKI|g" "$CATALOGUE/loads/origin.conf" >"$dir/nginx.conf"
  spawn "load-$1" "$dir/log" taskset -c "$LOAD_CPU" nginx -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;'
  pid=$SPAWNED
  disown "$pid"
  await 5 ns "load-$1" curl -sf -o /dev/null http://10.0.2.11/0 || die "the origin did not start: $(cat "$dir/log")"
}

kernel_content() {
  head -c 1024 /dev/zero >"$1/1k"
  head -c 102400 /dev/zero >"$1/100k"
  # Sparse, and its pages shared by all origins once it is read.
  truncate -s 100000000 "$1/100m"
}

kernel_url() {
  case $1 in
    http) echo http://10.0.1.1 ;;
    https) echo https://10.0.1.1 ;;
    mtls) echo https://10.0.1.1:8443 ;;
  esac
}
