# shellcheck shell=bash
# forwarding, IPv4 and IPv6: cycles per packet where nothing limits (pcap), the rate without loss and latency on a wire (RFC 2544)
# shellcheck disable=SC2034 # read by scripts/lib/bench
TOPOLOGY=packets
PORTS_KNOWN=(af_xdp memif pcap dpdk)
PEERS=(testpmd_io testpmd_macswap kernel)
SECONDS_EACH=1
# tolerance: share of the packets that a trial "without loss" may lose. RFC 2544 has none; a machine that is interrupted from outside
# would then tell when it was interrupted. resolution: the search ends when the rate is known to this fraction.
SETTING=([tolerance]=0.001 [resolution]=0.03)
ALL=("--port pcap --cases v4-64-*" "--port af_xdp --cases v4-64-1k" "--port memif --vs testpmd_io,testpmd_macswap --cases v4-64-*")

# On a veth what comes through under load, not what comes through without loss: that is decided by its 256 places and the scheduler,
# see docs/bench/l3.md.
scenario_bars() {
  case $PORT in
    pcap) echo "v4-64-1k above_io self <= 60" ;;
    af_xdp) printf '%s\n' "v4-64-1k flooded testpmd_io >= 1" "v4-64-1k flooded kernel >= 1.5" ;;
  esac
}

# FAMILY-SIZE-ROUTES; the shortest IPv6 frame that carries a stamp has 82 bytes, and a configuration of 16 MiB some 300,000 routes (a
# million of them: tidegate-bench l3, on memory ports).
scenario_cases() { printf '%s\n' v4-64-1k v4-64-1 v4-64-300k v4-imix-1k v4-512-1k v4-1518-1k v6-82-1k v6-imix-1k; }

scenario_skip() {
  [[ $1 != kernel || $PORT == af_xdp ]] || echo "the kernel has no such port"
}

# A capture of 512 packets per case, which the driver receives for ever.
scenario_prepare() {
  [[ $PORT == pcap ]] || return 0
  local case
  while read -r case; do
    # shellcheck disable=SC2046 # options are words of their own
    "$BENCH" packets $(l3_traffic "$case") --destinations 512 --packets 512 --write "$STATE/$case.pcap"
  done < <(race_cases)
}

scenario_start() {
  if [[ $1 == tidegate ]]; then program tidegate l3_begin "$2"; else program_start "$1" "$2"; fi
}

# The product as a router: its own configuration instead of the proxy's.
# shellcheck disable=SC2317 # program_begin calls them
l3_begin() {
  peer_start() { l3_product "$1"; }
  peer_ready() { curl -s -f -o /dev/null --max-time 1 --unix-socket "$PROGRAM_DIR/admin.sock" http://tidegate/ready; }
  program_begin "$1"
}

l3_product() {
  local config=$PROGRAM_DIR/l3.toml
  sed -e "s|@DIR@|$PROGRAM_DIR|g; s|@CPU@|$PROGRAM_CPU|g; s|@LAN@|$(l3_port "$1" 0 lan0)|; s|@WEB@|$(l3_port "$1" 1 web0)|" \
    "$CATALOGUE/scenarios/l3.toml" >"$config"
  [[ $PORT == af_xdp ]] || printf '\n[dpdk]\neal_args = ["--no-pci", "--in-memory"]\n' >>"$config"
  l3_routes "$1" tidegate >>"$config"
  program_exec "$BINARY" run -c "$config"
}

l3_port() { # l3_port CASE INDEX END
  if [[ $PORT == af_xdp ]]; then
    printf '%s' "driver = \"af_xdp\"\\ninterface = \"$3\""
  else
    printf '%s' "driver = \"dpdk\"\\ndevice = \"$(packets_device "$@")\""
  fi
}

# l3_routes CASE SYNTAX [OPTION…]: the routes to the packets' destinations, for whoever reads that syntax.
l3_routes() {
  local case=$1 syntax=$2 via=10.0.2.11
  [[ $case != v6-* ]] || via=fd00:2::11
  # shellcheck disable=SC2046 # options are words of their own
  "$BENCH" routes $(l3_table "$case") --via "$via" --syntax "$syntax"
}

l3_table() {
  local routes=${1##*-}
  [[ $1 != v6-* ]] || printf '%s ' --v6
  printf -- '--routes %s' "${routes/k/000}"
}

l3_traffic() {
  local size=${1#*-}
  printf '%s --size %s --to 02:00:00:00:00:01' "$(l3_table "$1")" "${size%-*}"
}

scenario_measure() {
  if [[ $PORT == pcap ]]; then l3_cycles "$@"; else l3_throughput "$@"; fi
}

l3_throughput() {
  local hops=1
  [[ $1 != testpmd_* ]] || hops=0
  # shellcheck disable=SC2046 # options are words of their own
  ns "load-$1" "$BENCH" packets --cpu "$LOAD_CPU" $(packets_far "$1") $(l3_traffic "$2") --hops "$hops" --seconds "$SECONDS_EACH" \
    --tolerance "${SETTING[tolerance]}" --resolution "${SETTING[resolution]}" --eal "--no-pci --in-memory"
}

# Cycles per packet: testpmd tells its own when it ends; ours are those of all turns that had work. What the driver costs is known
# from testpmd's io, which does nothing else; it runs before the product, in the same state of the machine.
l3_cycles() {
  local cycles io
  if [[ $1 == tidegate ]]; then
    cycles=$(program tidegate l3_product_cycles)
    program_stop tidegate
    program_start testpmd_io "$2"
    io=$(l3_testpmd_cycles testpmd_io)
    [[ -n $io ]] || { echo "testpmd io, which tells what the driver costs, did not run" >&2; return 1; }
    l3_line "$cycles" "$(awk -v all="$cycles" -v io="$io" 'BEGIN { print all - io }')"
  else
    l3_line "$(l3_testpmd_cycles "$1")"
  fi
}

l3_testpmd_cycles() {
  sleep "$SECONDS_EACH"
  program_stop "$1"
  sed -n 's/.*CPU cycles\/packet=\([0-9.]*\).*/\1/p' "$STATE/$1/log" | tail -n 1
}

l3_product_cycles() {
  local before after
  before=$(l3_counters)
  sleep "$SECONDS_EACH"
  after=$(l3_counters)
  awk '{ cycles = $3 - $1; packets = $4 - $2; if (packets > 0) printf "%.2f", cycles / packets }' <<<"$before $after"
}

# Ticks in turns with work, and packets received.
l3_counters() {
  curl -s --max-time 2 --unix-socket "$PROGRAM_DIR/admin.sock" http://tidegate/metrics |
    awk '/^tidegate_core_busy_cycles_total/ { cycles += $2 } /^tidegate_rx_packets_total/ { packets += $2 } END { printf "%d %d", cycles, packets }'
}

l3_line() { # l3_line CYCLES [ABOVE_IO]
  [[ -n $1 ]] || { echo "no cycles were counted" >&2; return 1; }
  local above=''
  [[ -z ${2:-} ]] || above=",{\"metric\":\"above_io\",\"unit\":\"cycles\",\"value\":$2,\"better\":\"lower\"}"
  printf '{"metrics":[{"metric":"cycles","unit":"cycles","value":%s,"better":"lower"}%s],"latency":null,"errors":0}\n' "$1" "$above"
}
