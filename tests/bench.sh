# shellcheck shell=bash
# scripts/bench itself: a short race from end to end, its record, its clean-up, its refusals. Sourced by scripts/test.

BENCH_PREFIX=$PREFIX-bench

bench() { TIDEGATE_PREFIX=$BENCH_PREFIX "$ROOT/scripts/bench" "$@"; }

# Namespaces, directory, and processes that carry the prefix in a path.
nothing_left() {
  local left
  left=$(ip netns list | grep "^$BENCH_PREFIX-" || true)
  [[ -z $left && ! -e /run/$BENCH_PREFIX ]] || { echo "left: $left $(ls -d "/run/$BENCH_PREFIX" 2>/dev/null)"; return 1; }
  left=$(pgrep -af "/run/$BENCH_PREFIX/" || true)
  [[ -z $left ]] || { echo "still running: $left"; return 1; }
}

a_race() {
  bench http --vs nginx --rounds 2 --seconds 1 --cases 1KiB --json "$STATE/record.json" --html "$STATE/record.html" \
    --text "$STATE/record.md" --samples "$STATE/record.samples" 2>"$STATE/progress"
  cat "$STATE/progress"
  expect progress "$(cat "$STATE/progress")" '*\[4/4, 0:00 left\] round 2, 1KiB, *: rate *'
  expect "first of round 1" "$(sed -n 2p "$STATE/record.samples")" '*"program":"tidegate"*'
  expect "first of round 2" "$(sed -n 4p "$STATE/record.samples")" '*"program":"nginx"*'
  nothing_left
}

the_record_is_whole() {
  "$PYTHON" - "$STATE/record.json" <<'PYTHON'
import json, sys
record = json.load(open(sys.argv[1]))
assert (record["scenario"], record["port"], record["rounds"]) == ("http", "af_xdp", 2), record
assert record["machine"]["kernel"] and record["failures"] == [], record["failures"]
rows = {row["metric"]: row for row in record["rows"]}
assert {row["case"] for row in record["rows"]} == {"1KiB"}, rows
for metric in ("rate", "p50", "p99", "program_cost"):
    row = rows[metric]
    for spread in (row["product"], row["peers"]["nginx"]):
        assert 0 < spread["min"] <= spread["median"] <= spread["max"], row
    assert row["unit"] and row["ratio"]["nginx"] > 0, row
    assert row["met"] in (True, False, None) and (row["bar"] is None) == (metric != "rate"), row
assert rows["rate"]["product"]["median"] > 1000, rows["rate"]
PYTHON
}

the_page_has_curves() {
  expect_at_least "curves" "$(grep -o '<polyline' "$STATE/record.html" | wc -l)" 2
  refuse grep -E '<script|https?://' "$STATE/record.html"
}

memory_ports_have_figures_of_their_own() {
  local said
  said=$(bench l3 --port memory --rounds 1 --cases v4-64-1k 2>&1)
  expect "cycles" "$said" '*| v4-64-1k* | cycles, cycles | [1-9]*'
  expect "allocations" "$said" '*| v4-64-1k* | allocations, count | 0 |*'
  refused "memory ports exist within one program only" l3 --port memory --vs kernel
}

# Beside a program on DPDK, whose version stands in the record; and where the cycles go.
a_capture_is_forwarded() {
  bench l3 --port pcap --vs testpmd_io,l3fwd --rounds 1 --cases v4-64-1k --json "$STATE/pcap.json" 2>&1
  "$PYTHON" - "$STATE/pcap.json" <<'PYTHON'
import json, re, sys
record = json.load(open(sys.argv[1]))
assert record["failures"] == [], record["failures"]
for program in record["programs"][1:]:
    assert re.search(r"DPDK \d+\.\d+", program["version"]), program
rows = {row["metric"]: row for row in record["rows"]}
assert rows["cycles"]["peers"].keys() == {"testpmd_io", "l3fwd"}, rows["cycles"]
figure = {metric: row["product"]["median"] for metric, row in rows.items()}
parts = sum(value for metric, value in figure.items() if metric.startswith("stage_") or metric == "between_stages")
assert {"stage_rx", "stage_l3_route", "stage_tx"} <= figure.keys() and abs(parts - figure["cycles"]) < 1, figure
PYTHON
  nothing_left
}

# Not the signals that were sent, but what came of them.
changes_are_those_taken_over() {
  bench reload --vs nginx,haproxy,envoy --rounds 1 --seconds 2 --cases changing --json "$STATE/reload.json" 2>&1
  "$PYTHON" - "$STATE/reload.json" <<'PYTHON'
import json, sys
record = json.load(open(sys.argv[1]))
assert record["failures"] == [], record["failures"]
rows = {row["metric"]: row for row in record["rows"]}
for name in ("tidegate", "nginx", "haproxy", "envoy"):
    figure = lambda row: row["product"] if name == "tidegate" else row["peers"][name]
    asked, changes = figure(rows["asked"])["median"], figure(rows["changes"])["median"]
    assert 1 <= changes <= asked, (asked, changes)
    assert abs(figure(rows["taken"])["median"] - changes / asked) < 0.001, rows["taken"]
assert any(row["metric"] == "taken" and row["bar"] for row in record["rows"]), record["rows"]
PYTHON
  nothing_left
}

# All that were opened stay, silent and woken, and their memory is weighed meanwhile.
idle_connections_are_woken() {
  bench conns --vs nginx --rounds 1 --seconds 1 --cases 10k-tls --json "$STATE/conns.json" 2>&1
  "$PYTHON" - "$STATE/conns.json" <<'PYTHON'
import json, sys
record = json.load(open(sys.argv[1]))
assert record["failures"] == [], record["failures"]
rows = {row["metric"]: row for row in record["rows"]}
for name in ("tidegate", "nginx"):
    figure = lambda metric: (rows[metric]["product"] if name == "tidegate" else rows[metric]["peers"][name])["median"]
    assert figure("held") == 10_000, rows["held"]
    assert 900 < figure("rate") < 1100, rows["rate"]
    # What TLS keeps for a connection is no less than its keys, and its buffers are given back.
    assert 500 < figure("user") < 60_000, rows["user"]
    assert figure("p50") > 0 and figure("program_cost") > 0, rows
PYTHON
  nothing_left
}

# Few routes and packets: that each reload leads all of them elsewhere, and that what is sent is accounted for.
routes_are_swapped_under_packets() {
  bench swap --rounds 1 --seconds 8 --set routes=10k --set rate=20000 --json "$STATE/swap.json" 2>&1
  "$PYTHON" - "$STATE/swap.json" <<'PYTHON'
import json, sys
record = json.load(open(sys.argv[1]))
assert record["failures"] == [], record["failures"]
figures = {(row["case"], row["metric"]): row["product"]["median"] for row in record["rows"] if row["product"]}
assert figures["still", "moves"] == figures["still", "swaps"] == 0, figures
assert figures["swapped", "moves"] == figures["swapped", "swaps"] >= 1, figures
for case in ("still", "swapped"):
    due = 8 * 20000
    assert due - 1000 <= figures[case, "sent"] + figures[case, "unsent"], figures
    assert 0 <= figures[case, "lost"] < figures[case, "sent"], figures
assert any(row["metric"] == "lost" and row["bar"] for row in record["rows"]), record["rows"]
PYTHON
  nothing_left
}

# bash ignores SIGINT in what it starts in the background, unless told otherwise.
a_long_race() {
  TIDEGATE_PREFIX=$BENCH_PREFIX env --default-signal=INT,HUP "$ROOT/scripts/bench" http --vs none --rounds 1 --seconds 60 --cases 1KiB \
    >"$STATE/long" 2>&1 &
  LONG=$!
  await 60 bench_measures || { cat "$STATE/long"; return 1; }
}
bench_measures() { pgrep -f "tidegate-bench load .*--seconds 60" || ! kill -0 "$LONG"; }

ends_by() { # ends_by SIGNAL STATUS
  local status=0
  a_long_race
  kill -"$1" "$LONG"
  wait "$LONG" || status=$?
  cat "$STATE/long"
  expect "status" "$status" "$2"
  nothing_left
}

one_at_a_time() {
  a_long_race
  local said
  said=$(refuse bench http --rounds 1)
  kill -TERM "$LONG"
  wait "$LONG" || true
  expect "the second" "$said" '*another scripts/bench runs here*'
}

unbound_work() { cat /sys/devices/virtual/workqueue/cpumask; }

# Beside each other under other names, and the second ends last: the machine is as it was before both.
the_machine_is_put_back() {
  local before said
  before=$(unbound_work)
  a_long_race
  said=$(TIDEGATE_PREFIX=$BENCH_PREFIX-2 "$ROOT/scripts/bench" http --vs none --rounds 1 --seconds 1 --cases 1KiB 2>&1)
  expect "the second" "$said" '*another race has arranged this machine*'
  kill -TERM "$LONG"
  wait "$LONG" || true
  expect "work that runs anywhere" "$(unbound_work)" "$before"
  # One that is killed leaves it changed; the next, whatever its name, knows what it was.
  a_long_race
  kill -KILL "$LONG"
  wait "$LONG" || true
  TIDEGATE_PREFIX=$BENCH_PREFIX-2 "$ROOT/scripts/bench" http --vs none --rounds 1 --seconds 1 --cases 1KiB
  expect "work that runs anywhere" "$(unbound_work)" "$before"
  bench http --vs none --rounds 1 --seconds 1 --cases 1KiB
  nothing_left
}

# What stands where a run would keep its files is removed only if a run has made it.
the_directory_of_others_stays() {
  local said command
  mkdir "/run/$BENCH_PREFIX"
  echo kept >"/run/$BENCH_PREFIX/file"
  for command in "bench http --rounds 1" demo "demo --down"; do
    # shellcheck disable=SC2086 # options are words of their own
    said=$(TIDEGATE_PREFIX=$BENCH_PREFIX refuse "$ROOT/scripts/"$command)
    expect "$command" "$said" "*/run/$BENCH_PREFIX was not made by these scripts*"
  done
  expect "the file" "$(cat "/run/$BENCH_PREFIX/file")" kept
  rm -r "/run/$BENCH_PREFIX"
  for command in "bench http" "bench all" demo "demo --down"; do
    # shellcheck disable=SC2086 # likewise
    expect "$command" "$(TIDEGATE_PREFIX=tidegate refuse "$ROOT/scripts/"$command)" '*the directory of the service*'
    # shellcheck disable=SC2086 # likewise
    expect "$command" "$(TIDEGATE_PREFIX=../x refuse "$ROOT/scripts/"$command)" "*TIDEGATE_PREFIX='../x': a letter*"
  done
}

# Also what a process that ends first had started.
processes_below_are_ended() {
  bash -c 'source "$ROOT/scripts/lib/common.sh"; (sleep 3001 & sleep 3002) & await 5 pgrep -f "^sleep 3002$"; end_children'
  refuse pgrep -f '^sleep 300[12]$'
}

refused() { # refused PATTERN OPTIONS…
  local pattern=$1 status=0 said
  shift
  said=$(bench "$@" 2>&1) || status=$?
  expect "status" "$status" 2
  expect "what is said" "$said" "*$pattern*"
}

wrong_options_are_named() {
  refused "no such scenario: 'htp'; there are: *http*" htp
  refused "no such peer: 'ngin'; there are: *nginx*" http --vs ngin
  refused "--port 'tun': http knows af_xdp*" http --port tun
  refused "--rounds '0': a number from 1" http --rounds 0
  refused "--seconds 'x': a number from 1" http --seconds x
  refused "--vs needs a value" http --vs
  refused "unknown option '--round'" http --round 3
  refused "--set 'colour': http has no such setting; it has: " http --set colour=red
  refused "there is no directory /nowhere" http --json /nowhere/x.json
  refused "no such scenario: 'htp'" all --only htp
  refused "--vs 'nginx,nginx': nginx is there twice" http --vs nginx,nginx
  refused "--cases 'nosuch': http has 0B*" http --cases 1KiB,nosuch
  refused "--json '$STATE': that is a directory" http --json "$STATE"
  refused "--out '$ROOT/README.md': that is a file" all --out "$ROOT/README.md"
  TIDEGATE_BENCH=/nowhere refused "TIDEGATE_BENCH='/nowhere': there is no such program" http
  refused "--set connections='abc': a whole number from 1 (connections" http --set connections=abc
  refused "--set patience='x': a whole number from 1 (seconds" conns --set patience=x
  refused "--set per_second='0': a whole number from 1 (changes" reload --set per_second=0
  refused "--set routes='many': a number, such as 10k or 1M" swap --set routes=many
  refused "--set loss='101': a number from 0 to 100" lossy --set loss=101
  refused "--set tolerance='2': a fraction from 0 to 1" l3 --set tolerance=2
}

# A bench that fails says why in its first words and explains below.
the_reason_is_the_error() {
  printf 'error: invalid value %s\n\nFor more information, try --help.\n' abc >"$STATE/why"
  expect reason "$(bash -c 'source "$ROOT/scripts/lib/bench/race.sh"; race_reason "$1"' - "$STATE/why")" 'invalid value abc'
  printf 'one\ntwo\n' >"$STATE/why"
  expect reason "$(bash -c 'source "$ROOT/scripts/lib/bench/race.sh"; race_reason "$1"' - "$STATE/why")" two
}

# From any directory; needs no network.
paths_are_of_the_caller() {
  local said
  rm -rf "$STATE/caller"
  mkdir "$STATE/caller"
  cd "$STATE/caller" || return 1
  bench l3 --port memory --rounds 1 --cases v4-64-1 --json a.json --samples a.samples --text a.md 2>&1
  [[ -s a.json && -s a.samples && -s a.md ]] || { ls; return 1; }
  # Only records of scenarios are in the table of all, and one that is broken is named.
  mkdir out
  cp a.json out/l3-memory.json
  cp a.md out/l3-memory.md
  echo '{"other": 1}' >out/notes-of-mine.json
  said=$(bash -c 'for part in common bench/catalogue bench/all; do source "$ROOT/scripts/lib/$part.sh"; done; BENCH=$1 OUT=$PWD/out SAVE=; all_table' - \
    "${TIDEGATE_BENCH:-$ROOT/target/release/tidegate-bench}")
  expect table "$said" '*: l3-memory*'
  [[ $said != *notes* ]] || { echo "$said"; return 1; }
  echo '{"other": 1}' >out/http-tap.json
  said=$(refuse "${TIDEGATE_BENCH:-$ROOT/target/release/tidegate-bench}" summary out/l3-memory.json out/http-tap.json)
  expect "the file" "$said" '*out/http-tap.json: not a record*'
}

# With a probe that is slow in the first round, a sixth is run.
slow_rounds_are_made_up_for() {
  local said real=${TIDEGATE_BENCH:-$ROOT/target/release/tidegate-bench}
  mkdir -p "$STATE/slow"
  rm -f "$STATE/slow/probes"
  cat >"$STATE/slow/bench" <<SCRIPT
#!/usr/bin/env bash
# shellcheck disable=all
[[ \$1 == probe ]] || exec "$real" "\$@"
echo >>"$STATE/slow/probes"
if ((\$(wc -l <"$STATE/slow/probes") <= 2)); then echo 200; else echo 100; fi
SCRIPT
  chmod +x "$STATE/slow/bench"
  said=$(TIDEGATE_BENCH=$STATE/slow/bench bench l3 --port memory --rounds 5 --cases v4-64-1M 2>&1)
  expect "what is said" "$said" '*of 5 rounds count 4 of v4-64-1M; round 6 is added*round 6, v4-64-1M, tidegate*left out: 5 rounds count*'
  rm -f "$STATE/slow/probes"
  said=$(TIDEGATE_BENCH=$STATE/slow/bench bench l3 --port memory --rounds 4 --cases v4-64-1M 2>&1)
  expect "what is said" "$said" '*too few rounds for a claim*'
  [[ $said != *"is added"* ]] || { echo "$said"; return 1; }
}

everything_is_listed() {
  local kind name said
  said=$(bench --help)
  for kind in scenarios peers topologies loads; do
    for name in "$ROOT/scripts/bench.d/$kind"/*.sh; do
      name=$(basename "$name" .sh)
      [[ $kind/$name == peers/tidegate ]] || grep -qE "^  $name +[^ ]" <<<"$said" || { echo "$kind/$name has no sentence"; return 1; }
      [[ $kind == scenarios ]] || continue
      grep -qE '^  cases +[^ ]|^usage: scripts/bench' <<<"$(bench "$name" --help 2>&1)" || { echo "$name --help says nothing"; return 1; }
      # A setting without a sentence would be refused whatever its value.
      refuse grep -E '^  --set +[^ ]+ +[^ ]* *\(\)' <<<"$(bench "$name" --help 2>&1)"
    done
  done
  [[ $(bench all --help) == "$said" ]] || { echo "all --help says something else"; return 1; }
}

# shellcheck disable=SC2034 # read by check
CASE=bench
check every-file-is-listed everything_is_listed
check wrong-options wrong_options_are_named
check processes-end processes_below_are_ended
check race a_race
check record the_record_is_whole
check page the_page_has_curves
check memory-ports memory_ports_have_figures_of_their_own
check capture a_capture_is_forwarded
check idle idle_connections_are_woken
check changes changes_are_those_taken_over
check swap routes_are_swapped_under_packets
check interrupt ends_by INT 130
check terminal-closed ends_by HUP 129
check one-at-a-time one_at_a_time
check machine-is-put-back the_machine_is_put_back
check directory-of-others the_directory_of_others_stays
check reason the_reason_is_the_error
check paths paths_are_of_the_caller
check slow-rounds slow_rounds_are_made_up_for
