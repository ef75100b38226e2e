# shellcheck shell=bash
# idle connections after a request each: memory of user and kernel for each, then latency and cost of requests that each wake one
# shellcheck disable=SC2034 # read by scripts/lib/bench
PEERS=(nginx haproxy envoy)
PORTS_KNOWN=(af_xdp)
LOADS=(tidegate)
SECONDS_EACH=3
SETTING=([patience]=120 [rest]=10 [rate]=1000)
SETTING_SAYS=(
  [patience]="count seconds for every 100,000 to be there, and at least that"
  [rest]="count seconds that all are idle; its memory is read meanwhile"
  [rate]="count requests per second after that, each on the connection that was idle for longest"
)
BARS=("100k memory self <= 4096" "100k-tls memory self <= 12288")
ALL=("--cases 10k,10k-tls" "--cases 100k,100k-tls" "--rounds 1 --cases 1M,1M-tls --set rest=30")

scenario_cases() { printf '%s\n' {10k,100k,1M}{,-tls}; }

# Seconds until the last buffers are given back.
SETTLED=6

conns_count() {
  case $1 in
    10k*) echo 10000 ;;
    100k*) echo 100000 ;;
    1M*) echo 1000000 ;;
  esac
}

# On the kernel's stack a connection is a descriptor; some more go to the origin, as many as the peers' configurations allow for. Without
# that limit it is memory, of the program and of the load: 8 KiB for a plain connection, 18 for one with TLS, 10 of them the load's.
scenario_skip() {
  local needs limit each=8
  if [[ $(program_stack "$1") != kernel ]]; then
    [[ $2 != *-tls ]] || each=18
    needs=$((($(conns_count "$2") * each + 1048575) / 1048576)) limit=$(awk '/^MemAvailable:/ { printf "%d", $2 / 1048576 }' /proc/meminfo)
    ((limit >= needs)) || echo "it needs $needs GiB of memory with its load, and $limit are available"
    return
  fi
  needs=$(($(conns_count "$2") + 2000 + 4096)) limit=$(ulimit -Hn)
  [[ $limit == unlimited ]] || ((limit >= needs)) || echo "it needs $needs file descriptors, and the hard limit here is $limit"
}

scenario_start() {
  # shellcheck disable=SC2031 # for the template of the product
  PEER_CONNECTIONS=$(($(conns_count "$2") + 2000))
  export PEER_CONNECTIONS TIDEGATE_CONNECTIONS=1200000 LOAD_ADDRESSES=10.0.1.100-10.0.1.149/24
  program_start "$1" "$2"
}

# All are opened and rest. Their memory is read while they do, less that of the same program with none. What the program spends counts
# from then until they rest again: it is for the requests that wake them.
scenario_measure() {
  local count scheme=http load status=0 user kernel also patience
  count=$(conns_count "$2")
  [[ $2 != *-tls ]] || scheme=https
  patience=$((SETTING[patience] * (count > 100000 ? count / 100000 : 1)))
  user=$(conns_user "$1") kernel=$(conns_kernel "$1")
  LOAD_REST=${SETTING[rest]} LOAD_PATIENCE=$((patience + 60)) load_run "$1" idle "$scheme" /1k "$count" "${SETTING[rate]}" >"$STATE/idle.line" 2>"$STATE/idle.log" &
  load=$!
  conns_memory "$1" "$count" "$patience" >"$STATE/memory" || { conns_end "$1" "$load" || true; return 1; }
  race_spent "$1" >"$STATE/spent"
  # Nobody looks, and takes the CPU for it, before that can be.
  sleep $((SETTING[rest] - SETTLED + SECONDS_EACH))
  if await 30 grep -q 'silent again' "$STATE/idle.log"; then race_spent "$1" >>"$STATE/spent"; fi
  conns_end "$1" "$load" || status=$?
  [[ -s $STATE/idle.line ]] || { race_reason "$STATE/idle.log" >&2; return "$status"; }
  mapfile -t also <"$STATE/memory"
  "$BENCH" record also "${also[@]}" <"$STATE/idle.line"
}

# Waits until all are there, and says what they take as options of `record also`: conns_memory PROGRAM CONNECTIONS PATIENCE. `user` and
# `kernel` are the caller's, from before.
conns_memory() {
  local there
  await "$3" conns_are "$1" "$2" || { echo "not all of $2 connections were there after $3 s, but $(conns_now "$1")" >&2; return 1; }
  there=$SECONDS
  sleep "$SETTLED"
  user=$(($(conns_user "$1") - user)) kernel=$(($(conns_kernel "$1") - kernel))
  conns_are "$1" "$2" || { echo "some of $2 connections did not stay" >&2; return 1; }
  ((SECONDS - there < SETTING[rest])) || { echo "reading the memory took longer than all were idle: --set rest= for more" >&2; return 1; }
  printf '%s\n' --metric "memory=$(((user + kernel) * 1024 / $2)),B,lower" --metric "user=$((user * 1024 / $2)),B,lower" \
    --metric "kernel=$((kernel * 1024 / $2)),B,lower"
}

# Only the load runs in its namespace, under a `timeout`, which would pass a signal on twice. Asked once it says what it has measured, if anything.
conns_end() {
  local pid
  for pid in $(ip netns pids "$PREFIX-load-$1"); do
    [[ $(cat "/proc/$pid/comm" 2>/dev/null) == timeout ]] || kill -TERM "$pid" 2>/dev/null || true
  done
  wait "$2" 2>/dev/null
}

conns_are() { (($(conns_now "$1") >= $2)); }

# Connections of clients that it has now.
conns_now() {
  if [[ $(program_stack "$1") == kernel ]]; then
    ns "gw-$1" ss -H -t -n state established src 10.0.1.1 | wc -l
  else
    curl -sS -f --max-time 5 --unix-socket "$STATE/$1/admin.sock" http://tidegate/metrics |
      awk '/^tidegate_http_open_connections[ {]/ { sum += $NF } END { print sum + 0 }'
  fi
}

# KiB of its processes: shared pages once, huge pages too.
conns_user() {
  local pid
  for pid in $(ip netns pids "$PREFIX-gw-$1"); do cat "/proc/$pid/smaps_rollup" 2>/dev/null || true; done |
    awk '/^(Pss|Private_Hugetlb|Shared_Hugetlb):/ { sum += $2 } END { print sum + 0 }'
}

# KiB of the kernel: slabs of the whole machine, of which nobody else should take many meanwhile, and socket buffers. Slabs of files that
# nobody uses are given back first: else the kernel may do so between two readings.
conns_kernel() {
  local slab pages
  echo 2 >/proc/sys/vm/drop_caches 2>/dev/null || true
  slab=$(awk '/^Slab:/ { print $2 }' /proc/meminfo)
  pages=$(ns "gw-$1" cat /proc/net/sockstat | awk '/^TCP:/ { print $NF }')
  echo $((slab + pages * $(getconf PAGESIZE) / 1024))
}
