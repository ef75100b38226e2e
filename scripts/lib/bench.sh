# shellcheck shell=bash
# The races: who runs where, one measurement, one round, the report.

# The proxy has one CPU for itself, everything else shares the others.
bench_cpus() {
  PROXY_CPU=1
  local all
  all=$(nproc --all)
  ((all >= 2)) || die "a race needs two CPUs: one for the proxy, one for the load"
  LOAD_CPUS=0
  ((all == 2)) || LOAD_CPUS=0,2-$((all - 1))
}

# A fixed piece of work on the proxy's CPU, in ms: arithmetic and cache. The machine has fast and slow spells.
bench_probe() {
  taskset -c "$PROXY_CPU" "$PYTHON" - <<'PYTHON'
import hashlib, time
data = bytes(range(256)) * 131072
begin = time.perf_counter()
for _ in range(2):
    hashlib.sha256(data).digest()
    bytearray(data).translate(bytes(range(256)))
print(f"{(time.perf_counter() - begin) * 1000:.1f}")
PYTHON
}

bench_network() { # bench_network SUBJECT
  local host
  if [[ $1 == tidegate ]]; then
    topology_up "$DRIVER"
  else
    topology_up kernel
    # The peers get the kernel's offloads, which suit them.
    for host in "${HOSTS[@]}"; do ns "$host" ethtool -K eth0 tx on tso on gso on gro on >/dev/null 2>&1 || true; done
    ns gw ip address add 10.0.1.1/24 dev "${PORTS[0]}"
    ns gw ip address add 10.0.2.1/24 dev "${PORTS[1]}"
    ns gw ip address add 10.0.3.1/24 dev "${PORTS[2]}"
  fi
  bench_origin b1
  bench_origin b2
}

bench_origin() {
  origin_start "$1" "$STATE" "$PKI" 100000000
  local pid
  for pid in $(ip netns pids "$PREFIX-$1"); do taskset -cp "$LOAD_CPUS" "$pid" >/dev/null; done
}

bench_subject_start() {
  local mask
  case $1 in
    tidegate)
      gateway_config "$ROOT/scripts/bench.d/tidegate.toml" "$DRIVER" "$STATE" "$PKI"
      gateway_start "$DRIVER" "$STATE" || die "Tidegate did not start"
      await 5 ns client curl -sf -o /dev/null http://10.0.1.1/ || die "Tidegate does not answer"
      return
      ;;
    nginx)
      mask=$("$PYTHON" -c "print(format(1 << $PROXY_CPU, 'b'))")
      bench_template nginx.conf "$mask"
      ns gw nginx -p "$STATE" -c "$STATE/nginx.conf" -g 'daemon off;' >"$STATE/peer.log" 2>&1 &
      ;;
    haproxy)
      cat "$PKI/gateway.pem" "$PKI/gateway.key" >"$STATE/peer-both.pem"
      bench_template haproxy.cfg
      ns gw haproxy -db -f "$STATE/haproxy.cfg" >"$STATE/peer.log" 2>&1 &
      ;;
    *) die "no such peer: $1" ;;
  esac
  disown $!
  await 5 ns client curl -sf -o /dev/null http://10.0.1.1/ || die "$1 did not start: $(cat "$STATE/peer.log")"
}

bench_template() { # bench_template FILE [CPU_MASK]
  sed -e "s|@STATE@|$STATE|g; s|@PKI@|$PKI|g; s|@CPU@|$PROXY_CPU|g; s|@CPU_MASK@|${2:-}|g" \
    "$ROOT/scripts/bench.d/$1" >"$STATE/$1"
}

# One measurement: a line of CSV on stdout. bench_measure ROUND SUBJECT
bench_measure() {
  local round=$1 subject=$2 before after
  bench_network "$subject"
  bench_subject_start "$subject"
  ns client taskset -c "$LOAD_CPUS" wrk -t1 -c"$CONNECTIONS" -d1 "$SCHEME://10.0.1.1$TARGET" >/dev/null
  before=$(bench_probe)
  ns client taskset -c "$LOAD_CPUS" wrk -t1 -c"$CONNECTIONS" -d"$SECONDS_EACH" --latency --timeout 5 \
    "$SCHEME://10.0.1.1$TARGET" >"$STATE/wrk"
  after=$(bench_probe)
  "$PYTHON" "$ROOT/scripts/lib/bench_report.py" line "$round" "$subject" "$before" "$after" <"$STATE/wrk"
  if [[ $subject == tidegate ]]; then gateway_stop "$STATE"; fi
}

bench_http() {
  local subjects=(tidegate) round index order extra
  IFS=, read -ra extra <<<"$VERSUS"
  subjects+=("${extra[@]}")
  : >"$STATE/results.csv"
  for ((round = 1; round <= ROUNDS; round++)); do
    for index in "${!subjects[@]}"; do
      # Another one begins each round: none always runs on the warmest machine.
      order=$(((index + round - 1) % ${#subjects[@]}))
      bench_measure "$round" "${subjects[order]}" | tee -a "$STATE/results.csv"
    done
  done
  "$PYTHON" "$ROOT/scripts/lib/bench_report.py" report "$COMMAND" "$ROOT" <"$STATE/results.csv" | tee "$STATE/report.md"
  bench_save "$SCHEME-$DRIVER"
}

bench_reload() {
  bench_network tidegate
  bench_subject_start tidegate
  local began round=0 took quiet loaded status=0
  spawn client "$STATE/wrk" taskset -c "$LOAD_CPUS" wrk -t1 -c"$CONNECTIONS" -d3600 --latency --timeout 5 "http://10.0.1.1$TARGET"
  local load=$SPAWNED
  sleep 1
  bench_drops >"$STATE/drops.0"
  began=${EPOCHREALTIME/./}
  while ((round < COUNT)); do
    bench_reverse "$round"
    "$BINARY" reload --socket "$STATE/admin.sock" >/dev/null || { status=1; break; }
    round=$((round + 1))
  done
  took=$(((${EPOCHREALTIME/./} - began) / 1000))
  bench_drops >"$STATE/drops.1"
  # The same time without reloads: what is dropped then as well is not due to them.
  sleep $((took / 1000)).$((took % 1000))
  bench_drops >"$STATE/drops.2"
  # wrk prints its summary when interrupted, as it does at the end of its time.
  kill -INT "$load"
  wait "$load" || true
  loaded=$(bench_dropped "$STATE/drops.0" "$STATE/drops.1")
  quiet=$(bench_dropped "$STATE/drops.1" "$STATE/drops.2")
  {
    "$PYTHON" "$ROOT/scripts/lib/bench_report.py" place "$COMMAND" "$ROOT"
    printf '\n%s reloads in %s ms (%s ms each), generation %s\n' "$round" "$took" $((took / (round > 0 ? round : 1))) "$(generation "$STATE")"
    printf 'packets dropped meanwhile: %s\npackets dropped in the same time without reloads: %s\n\n' "${loaded:-none}" "${quiet:-none}"
    sed 's/^/    /' "$STATE/wrk"
  } | tee "$STATE/report.md"
  ((round == COUNT)) || say "a reload was refused"
  wrk_clean "$STATE/wrk" 1000 >/dev/null || { say "requests failed or connections broke"; status=1; }
  bench_save "reload-$DRIVER"
  return "$status"
}

bench_drops() { admin "$STATE" /metrics | sed -n 's/^tidegate_drops_total{.*reason="\([a-z0-9_]*\)".*} \([0-9]*\)$/\1 \2/p'; }
# What was dropped between two states, by reason: "reason N, reason N"
bench_dropped() {
  awk 'NR == FNR { before[$1] += $2; next } { after[$1] += $2 }
    END { for (reason in after) if (after[reason] > before[reason]) printf "%s%s %d", n++ ? ", " : "", reason, after[reason] - before[reason] }' "$1" "$2"
}

# The order of the endpoints, turned round: a real change of a cluster's table, and of nothing a client could see.
bench_reverse() {
  local pair='"10.0.2.11:80", "10.0.3.11:80"' turned='"10.0.3.11:80", "10.0.2.11:80"'
  if (($1 % 2)); then
    sed "s/$turned/$pair/" "$STATE/gateway.toml" >"$STATE/gateway.toml.new"
  else
    sed "s/$pair/$turned/" "$STATE/gateway.toml" >"$STATE/gateway.toml.new"
  fi
  mv "$STATE/gateway.toml.new" "$STATE/gateway.toml"
}

bench_save() {
  [[ -n $SAVE ]] || return 0
  local file
  file=$ROOT/docs/bench/$(date -u +%Y-%m-%d)-$1.md
  cp "$STATE/report.md" "$file"
  say "written to ${file#"$ROOT"/}"
}
