# shellcheck shell=bash
# forwarding, IPv4 and IPv6: cycles per packet where nothing limits (memory, pcap), the rate without loss and latency on a wire (RFC 2544)
# shellcheck disable=SC2034 # read by scripts/lib/bench
TOPOLOGY=packets
PORTS_KNOWN=(af_xdp memory pcap tap memif dpdk)
PEERS=(testpmd_io testpmd_macswap l3fwd kernel)
SECONDS_EACH=1
# RFC 2544 has no tolerance; a machine that is interrupted from outside would then tell when it was interrupted.
SETTING=([tolerance]=0.001 [resolution]=0.03)
SETTING_SAYS=(
  [tolerance]="fraction share of the packets that a trial 'without loss' may lose"
  [resolution]="step the search ends when the rate is known to this fraction"
)
ALL=(
  "--port memory"
  "--port pcap --cases v4-64-*"
  "--port af_xdp --vs testpmd_io,l3fwd,kernel --cases v4-64-1k,v4-imix-1k,v6-imix-1k"
  "--port memif --vs testpmd_io,testpmd_macswap,l3fwd --cases v4-64-1k,v4-64-1M,v4-imix-1k,v6-imix-1k"
)

# On a veth both what comes through without loss and what comes through under load: the former is decided by its 256 places and the
# scheduler as well, see docs/bench/l3.md.
scenario_bars() {
  local metric
  case $PORT in
    memory) printf '%s\n' "v4-64-1M cycles self <= 100" "v4-64-1M allocations self <= 0" ;;
    pcap)
      echo "v4-64-1k above_io self <= 60"
      [[ " ${PROGRAMS[*]} " != *" l3fwd "* ]] || echo "v4-64-1k cycles l3fwd <= 1"
      ;;
    af_xdp)
      for metric in flooded throughput; do printf '%s\n' "v4-64-1k $metric testpmd_io >= 1" "v4-64-1k $metric kernel >= 1.5"; done
      ;;
  esac
}

# FAMILY-SIZE-ROUTES. On a wire the shortest IPv6 frame has 82 bytes, since it carries a stamp.
scenario_cases() {
  if [[ $PORT == memory ]]; then
    printf '%s\n' v4-64-1 v4-64-1k v4-64-1M v4-imix-1k v6-66-1 v6-66-1k v6-66-250k
  else
    printf '%s\n' v4-64-1k v4-64-1 v4-64-1M v4-imix-1k v4-512-1k v4-1518-1k v6-82-1k v6-82-250k v6-imix-1k
  fi
}

# On memory ports there are no wires and nobody else; needs no root. With a capture testpmd tells what the driver costs, whoever races.
scenario_chosen() {
  [[ $PORT != pcap ]] || PACKAGES+=(dpdk-dev)
  [[ $PORT == memory ]] || HUGE_PAGES=1024
  if [[ $PORT == memory ]]; then
    [[ ${#PROGRAMS[@]} -eq 1 || ${#PROGRAMS[@]} -gt ${#PEERS[@]} ]] || wrong "--vs: memory ports exist within one program only"
    TOPOLOGY=none PROGRAMS=(tidegate)
  fi
}

scenario_skip() {
  case $1 in
    kernel) [[ $PORT == af_xdp ]] || echo "the kernel has no such port" ;;
    l3fwd) program l3fwd l3fwd_lacks "$2" ;;
  esac
}

# A capture of 512 packets per case, which the driver receives for ever.
scenario_prepare() {
  [[ $PORT == pcap ]] || return 0
  local case
  # It tells what the driver costs, also where it is not raced.
  [[ " ${PROGRAMS[*]} " == *" testpmd_io "* ]] || network_up testpmd_io
  while read -r case; do
    # shellcheck disable=SC2046 # options are words of their own
    "$BENCH" packets $(l3_traffic "$case") --destinations 512 --packets 512 --write "$STATE/$case.pcap"
  done < <(race_cases)
}

scenario_start() {
  [[ $PORT != memory ]] || return 0
  if [[ $1 == tidegate ]]; then program tidegate l3_begin "$2"; else program_start "$1" "$2"; fi
}
scenario_stop() { [[ $PORT == memory ]] || program_stop "$1"; }

# The product as a router: its own configuration instead of the proxy's.
# shellcheck disable=SC2317 # program_begin calls them
l3_begin() {
  peer_start() { l3_product "$1"; }
  program_begin "$1"
}

l3_product() {
  l3_configure "$1"
  program_exec "$BINARY" run -c "$PROGRAM_DIR/l3.toml"
}

l3_configure() { # l3_configure CASE
  local config=$PROGRAM_DIR/l3.toml
  sed -e "s|@DIR@|$PROGRAM_DIR|g; s|@CPU@|$PROGRAM_CPU|g; s|@LAN@|$(l3_port "$1" 0 lan0)|; s|@WEB@|$(l3_port "$1" 1 web0)|" \
    "$CATALOGUE/scenarios/l3.toml" >"$config"
  case $PORT in pcap | memif | dpdk) printf '\n[dpdk]\neal_args = ["--no-pci", %s]\n' "$(tidegate_memory)" >>"$config" ;; esac
  scenario_routes "$1" tidegate >>"$config"
}

l3_port() { # l3_port CASE INDEX END
  case $PORT in
    af_xdp) printf '%s' "driver = \"af_xdp\"\\ninterface = \"$3\"" ;;
    tap) printf '%s' "driver = \"tap\"\\ninterface = \"tap-$3\"" ;;
    *) printf '%s' "driver = \"dpdk\"\\ndevice = \"$(packets_device "$@")\"" ;;
  esac
}

scenario_routes() {
  local via=10.0.2.11
  [[ $1 != v6-* ]] || via=fd00:2::11
  # shellcheck disable=SC2046 # options are words of their own
  "$BENCH" routes $(l3_table "$1") --via "$via" --syntax "$2"
}

l3_table() {
  [[ $1 != v6-* ]] || printf '%s ' --v6
  printf -- '--routes %s' "$(l3_count "$1")"
}

l3_count() {
  local routes=${1##*-}
  routes=${routes/k/000}
  echo "${routes/M/000000}"
}

l3_traffic() {
  local size=${1#*-}
  printf '%s --size %s --to 02:00:00:00:00:01' "$(l3_table "$1")" "${size%-*}"
}

scenario_measure() {
  case $PORT in
    memory) l3_memory "$2" ;;
    pcap) l3_cycles "$@" ;;
    *) l3_throughput "$@" ;;
  esac
}

l3_throughput() {
  local hops=1
  [[ $1 != testpmd_* ]] || hops=0
  # shellcheck disable=SC2046 # options are words of their own
  ns "load-$1" "$BENCH" packets --cpu "$LOAD_CPU" $(packets_far "$1") $(l3_traffic "$2") --hops "$hops" --seconds "$SECONDS_EACH" \
    --tolerance "${SETTING[tolerance]}" --resolution "${SETTING[resolution]}" --eal "$(l3_eal)"
}

# The generator's options of DPDK: the same memory as the product's.
l3_eal() {
  echo "--no-pci $(packets_memory)"
}

# The whole way from memory port to memory port, in a process that does nothing else.
l3_memory() {
  local count family=4 routes=(--routes6 0 --routes) size=${1#*-} line cycles allocations
  count=$(l3_count "$1")
  [[ $1 != v6-* ]] || { family=6; routes=(--routes 0 --routes6); }
  size=${size%-*}
  [[ $size == imix ]] || size+=-b
  line=$("$BENCH" l3 --json --rounds 31 --cpu "$PROGRAM_CPU" "${routes[@]}" "$count" | "$BENCH" record tables) || return 1
  cycles=$("$BENCH" record value "ipv$family-$count-routes-$size:per-packet" <<<"$line") || return 1
  allocations=$("$BENCH" record value "ipv$family-$count-routes-$size:allocations-per-packet" <<<"$line") || return 1
  "$BENCH" record line --metric "cycles=$cycles,cycles,lower" --metric "allocations=$allocations,count,lower"
}

# Cycles per packet: testpmd tells its own when it ends; ours are those of all turns that had work. What the driver costs is known
# from testpmd's io, which does nothing else; it runs before the product, in the same state of the machine.
l3_cycles() {
  local cycles stages io
  case $1 in
    tidegate)
      read -r cycles stages < <(program tidegate l3_product_cycles) || return 1
      program_stop tidegate
      program_start testpmd_io "$2"
      io=$(l3_testpmd_cycles testpmd_io)
      [[ -n $io ]] || { echo "testpmd io, which tells what the driver costs, did not run" >&2; return 1; }
      # shellcheck disable=SC2086 # options are words of their own
      l3_line "$cycles" --metric "above_io=$(awk -v all="$cycles" -v io="$io" 'BEGIN { print all - io }'),cycles,lower" $stages
      ;;
    l3fwd) l3_line "$(program l3fwd l3fwd_cycles)" ;;
    *) l3_line "$(l3_testpmd_cycles "$1")" ;;
  esac
}

l3_testpmd_cycles() {
  sleep "$SECONDS_EACH"
  program_stop "$1"
  sed -n 's/.*CPU cycles\/packet=\([0-9.]*\).*/\1/p' "$STATE/$1/log" | tail -n 1
}

# The cycles of a packet, and as options of `record line` what each stage takes of them: its ticks divided by all packets, so that the
# stages and what is between them are the whole.
l3_product_cycles() {
  l3_counters >"$PROGRAM_DIR/before"
  sleep "$SECONDS_EACH"
  l3_counters >"$PROGRAM_DIR/after"
  paste -d ' ' "$PROGRAM_DIR/before" "$PROGRAM_DIR/after" | awk '
    { grew[$1] = $4 - $2 }
    /^stage_/ && grew[$1] > 0 { stages[++n] = $1 }
    END {
      received = grew["received"]
      # A packet that is lost on the way costs less.
      if (received == 0 || grew["sent"] < 0.99 * received) {
        printf "of %d packets received %d were forwarded\n", received, grew["sent"] >"/dev/stderr"
        exit
      }
      between = grew["busy"]
      printf "%.2f", grew["busy"] / received
      for (i = 1; i <= n; i++) {
        between -= grew[stages[i]]
        printf " --metric %s=%.2f,cycles,lower", stages[i], grew[stages[i]] / received
      }
      printf " --metric between_stages=%.2f,cycles,lower\n", between / received
    }'
}

# A line each: ticks in turns with work, packets received and sent, ticks in each stage.
l3_counters() {
  curl -s --max-time 2 --unix-socket "$PROGRAM_DIR/admin.sock" http://tidegate/metrics |
    awk '/^tidegate_core_busy_cycles_total/ { cycles += $2 } /^tidegate_rx_packets_total/ { received += $2 }
      /^tidegate_tx_packets_total/ { sent += $2 }
      /^tidegate_stage_cycles_total/ && match($1, /stage="[^"]*"/) {
        name = substr($1, RSTART + 7, RLENGTH - 8)
        if (!(name in ticks)) names[++n] = name
        ticks[name] += $2
      }
      END {
        printf "busy %.0f\nreceived %.0f\nsent %.0f\n", cycles, received, sent
        for (i = 1; i <= n; i++) printf "stage_%s %.0f\n", names[i], ticks[names[i]]
      }'
}

l3_line() { # l3_line CYCLES [OPTIONS OF RECORD LINE…]
  [[ -n $1 ]] || { echo "no cycles were counted" >&2; return 1; }
  "$BENCH" record line --metric "cycles=$1,cycles,lower" "${@:2}"
}
