# shellcheck shell=bash
# a million routes replaced by reloads of the running program under 64-byte packets at a fixed rate: what the swaps lose
# shellcheck source=scripts/bench.d/scenarios/l3.sh
source "$CATALOGUE/scenarios/l3.sh"
# shellcheck disable=SC2034 # read by scripts/lib/bench
PORTS_KNOWN=(memif) PEERS=() HUGE_PAGES=1024 SECONDS_EACH=15 ALL=("--rounds 5")
# rate: packets a second. A ring of the wire holds 2048 of them, so that a core may be away for 10 ms at this rate: what is to be found are
# packets that swaps lose, not those that a shared machine does.
SETTING=([rate]=200000 [routes]=1M)
# shellcheck disable=SC2034 # read by scripts/lib/bench
SETTING_SAYS=([rate]="count packets per second" [routes]="amount routes in each configuration")

scenario_bars() { printf '%s\n' "swapped lost self <= 0" "swapped swaps self >= 3"; }
# `still` is the same load without changes: what is not due to them.
scenario_cases() { printf '%s\n' still swapped; }
scenario_skip() { :; }
scenario_chosen() { :; }
scenario_prepare() { :; }
scenario_start() { program tidegate swap_begin; }
scenario_stop() { program_stop "$1"; }

swap_traffic() { echo "v4-64-${SETTING[routes]}"; }

# The core binds itself to its CPU; whatever else the program does shares the generator's.
# shellcheck disable=SC2317 # program_begin calls it
swap_begin() {
  local PROGRAM_CPU=$LOAD_CPU
  peer_start() { swap_product; }
  program_begin "$(swap_traffic)"
}

# Two files that differ in where every route leads.
# shellcheck disable=SC2317 # program_begin calls it
swap_product() {
  local file=$PROGRAM_DIR/l3.toml
  # The round before has left one of the two under the name of the file: what is written to it would be written to both.
  rm -f "$file" "$PROGRAM_DIR"/[01].toml
  PROGRAM_CPU=1 l3_configure "$(swap_traffic)"
  printf '\n[[neighbor]]\ninterface = "web"\naddress = "10.0.2.12"\nmac = "02:00:00:01:00:03"\n' >>"$file"
  sed 's|^via = "10.0.2.11"|via = "10.0.2.12"|' "$file" >"$PROGRAM_DIR/1.toml"
  ln -f "$file" "$PROGRAM_DIR/0.toml"
  program_exec "$BINARY" run -c "$file"
}

# The generator sleeps between its packets and comes first when they are due, so that what reads files has the rest of its CPU.
scenario_measure() {
  local changer='' swaps=0
  if [[ $2 == swapped ]]; then
    program "$1" swap_routes >"$STATE/swaps" &
    changer=$!
  fi
  # shellcheck disable=SC2046 # options are words of their own
  ns "load-$1" chrt --reset-on-fork --fifo 10 "$BENCH" packets --cpu "$LOAD_CPU" $(packets_far "$1") $(l3_traffic "$(swap_traffic)") \
    --rate "${SETTING[rate]}" --seconds "$SECONDS_EACH" --nap 400 --eal "$(l3_eal)" >"$STATE/swap.line" || return 1
  if [[ -n $changer ]]; then
    wait "$changer" || return 1
    swaps=$(wc -l <"$STATE/swaps")
  fi
  swap_seen "$swaps" || return 1
  # shellcheck disable=SC2046 # likewise
  "$BENCH" record also --metric "swaps=$swaps,count,higher" $(swap_times) --metric "peak=$(program "$1" swap_peak),MiB,lower" \
    <"$STATE/swap.line"
}

# One reload after the other, the time of each in a line. None begins that might not be seen by the packets.
# shellcheck disable=SC2317 # program calls it
swap_routes() {
  local number=0 begun from took longest=0
  taskset -cp "$LOAD_CPU" "$BASHPID" >/dev/null
  await 60 swap_flows || { echo "no packets have come" >&2; return 1; }
  begun=${EPOCHREALTIME/./}
  while sleep 0.5; ((${EPOCHREALTIME/./} - begun + 2 * longest + 1000000 < SECONDS_EACH * 1000000)); do
    number=$((number + 1))
    ln -f "$PROGRAM_DIR/$((number % 2)).toml" "$PROGRAM_DIR/next.toml"
    mv "$PROGRAM_DIR/next.toml" "$PROGRAM_DIR/l3.toml"
    from=${EPOCHREALTIME/./}
    peer_reload || { echo "the reload was refused" >&2; return 1; }
    took=$((${EPOCHREALTIME/./} - from))
    ((took <= longest)) || longest=$took
    echo "$took"
  done
}

# Whether the load's packets arrive: more of them than those that go before the ones that count.
# shellcheck disable=SC2317 # swap_routes awaits it
swap_flows() {
  curl -s --max-time 2 --unix-socket "$PROGRAM_DIR/admin.sock" http://tidegate/metrics |
    awk -v enough="${SETTING[rate]}" '/^tidegate_rx_packets_total/ { received += $2 } END { exit received < enough }'
}

# Each swap moves all packets to the other next hop, from one packet to the next; a reload that does less, or nothing, is found out.
swap_seen() { # swap_seen SWAPS
  local moves
  moves=$("$BENCH" record value moves <"$STATE/swap.line") || return 1
  ((moves == $1)) || { echo "of $1 reloads the packets show $moves changes of the next hop" >&2; return 1; }
}

# The median of the times as a metric.
swap_times() {
  ((swaps > 0)) || return 0
  printf -- '--metric reload=%s,s,lower' "$(sort -n "$STATE/swaps" | awk '{ took[NR] = $1 } END { printf "%.2f", took[int((NR + 1) / 2)] / 1e6 }')"
}

# The most memory the program ever had, in MiB.
# shellcheck disable=SC2317 # program calls it
swap_peak() { awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$(cat "$PROGRAM_DIR/pid")/status"; }
