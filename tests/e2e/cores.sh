# shellcheck shell=bash
# Two cores, two queues per port: flows stay whole wherever their packets arrive, and both cores work.
# scripts/test: queues=2

both_cores_work() {
  ns client wrk -t1 -c64 -d3 --timeout 5 http://10.0.1.1/1k >"$STATE/wrk" 2>&1
  wrk_clean "$STATE/wrk" 500
  local core count
  for core in 0 1; do
    count=$(admin "$STATE" /metrics | awk -v core="core=\"$core\"" \
      'index($1, "tidegate_rx_packets_total{") == 1 && index($1, core) { sum += $2 } END { print sum + 0 }')
    expect_at_least "packets of core $core" "$count" 100 || return 1
  done
}
downloads_are_whole() {
  local index sizes
  for index in {1..24}; do
    ns client curl -s --max-time 30 "http://10.0.1.1/lab/bytes/$((index * 50000))" -o "$STATE/part$index" &
  done
  wait
  for index in {1..24}; do
    sizes=$(wc -c <"$STATE/part$index")
    rm -f "$STATE/part$index"
    expect "bytes of transfer $index" "$sizes" $((index * 50000)) || return 1
  done
}
ping_both() {
  ns client ping -q -c20 -i 0.02 -W1 10.0.2.11 && ns client ping -q -c20 -i 0.02 -W1 fd00:3::11
}
neighbours_are_shared() { # either core must be able to send to every host
  ns b2 ip neighbor flush dev eth0
  local index
  for index in {1..20}; do
    ns client curl -s --max-time 3 -o /dev/null http://10.0.1.1/ || return 1
  done
}

check both-cores-work both_cores_work
check downloads-are-whole downloads_are_whole
check ping ping_both
check neighbours-are-shared neighbours_are_shared
