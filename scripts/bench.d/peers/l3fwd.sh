# shellcheck shell=bash
# DPDK's example router l3fwd, built from Debian's source of the DPDK in use
# What is left behind by testpmd is by l3fwd too.
# shellcheck source=scripts/bench.d/peers/testpmd_io.sh
source "$CATALOGUE/peers/testpmd_io.sh"
# socat: its counters are asked for at a socket that keeps messages apart.
# shellcheck disable=SC2034 # read by scripts/lib/bench
peer_packages=(dpdk libdpdk-dev dpkg-dev socat)

L3FWD_HOME=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-/var/cache}/tidegate}/l3fwd-$(dpkg-query -W -f '${Version}' dpdk 2>/dev/null || true)
# The lists of its binaries have room for no more.
L3FWD_ROUTES=1024

# Checked as every source of the distribution is, with lists of its own, so that those of the machine stay as they are. One word is
# other than in the source: it asks for checksum offloads, which no port in software has, and would not start.
peer_install() {
  [[ ! -x $L3FWD_HOME/l3fwd ]] || return 0
  local aside=$L3FWD_HOME.$$ status=0
  (l3fwd_build "$aside") >"$PROGRAM_DIR/build" 2>&1 || status=$?
  if ((status == 0)) && mkdir -p "$L3FWD_HOME" && mv "$aside/l3fwd" "$L3FWD_HOME/"; then
    rm -rf "$aside"
  else
    tail -n 3 "$PROGRAM_DIR/build" >&2
    rm -rf "$aside"
    return 1
  fi
}

l3fwd_build() {
  set -e
  mkdir -p "$1/lists/partial"
  cd "$1"
  grep -hE '^(deb|Types:|URIs:|Suites:|Components:|Signed-By:|$)' /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed 's/^deb /deb-src /; s/^Types:.*/Types: deb-src/' >given
  if grep -q '^Types:' given; then grep -v '^deb' given >use.sources; else mv given use.list; fi
  local apt=(apt-get -o "Dir::Etc::SourceList=$(ls "$PWD"/use.*)" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$PWD/lists")
  "${apt[@]}" update
  "${apt[@]}" -o APT::Sandbox::User=root source --download-only dpdk
  mkdir source
  tar -xf dpdk_*.orig.tar.* -C source --strip-components=1 --wildcards '*/examples/l3fwd/*' '*/examples/common/*'
  sed -i 's/\.offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM/.offloads = 0/' source/examples/l3fwd/main.c
  make -C source/examples/l3fwd shared
  mv source/examples/l3fwd/build/l3fwd-shared l3fwd
}

peer_version() { echo "l3fwd, DPDK ${L3FWD_HOME##*l3fwd-}"; }

l3fwd_lacks() { # l3fwd_lacks CASE
  if [[ $1 == v6-* ]]; then
    echo "it does not lower the hop limit of IPv6, and so does less than a router"
  elif (($(l3_count "$1") > L3FWD_ROUTES)); then
    echo "it has room for $L3FWD_ROUTES IPv4 routes"
  fi
}

peer_start() {
  scenario_routes "$1" l3fwd >"$PROGRAM_DIR/v4"
  # It wants some of the other family too.
  echo 'R2001:db8::/32 1' >"$PROGRAM_DIR/v6"
  # shellcheck disable=SC2046 # options are words of their own
  program_exec "$L3FWD_HOME/l3fwd" --no-pci $(packets_memory) --file-prefix=l3fwd -l "$PROGRAM_CPU" \
    --vdev "$(packets_device "$1" 0 lan0)" --vdev "$(packets_device "$1" 1 web0)" -- \
    -p 3 -P --config="(0,0,$PROGRAM_CPU),(1,0,$PROGRAM_CPU)" --lookup=lpm --rule_ipv4="$PROGRAM_DIR/v4" \
    --rule_ipv6="$PROGRAM_DIR/v6" --eth-dest=1,02:00:00:01:00:02 --parse-ptype
}

# On a wire of shared memory it begins when the generator is there.
peer_ready() {
  if [[ $PORT == pcap ]]; then
    [[ $(l3fwd_sent) -gt 0 ]]
  else
    grep -q 'Checking link status' "$PROGRAM_DIR/log" || return 1
    [[ $PORT != tap ]] || program_join_taps
  fi
}

# Packets sent by the second port since the start.
l3fwd_sent() {
  echo '/ethdev/stats,1' | timeout 2 socat -t 0.3 - UNIX-CONNECT:/var/run/dpdk/l3fwd/dpdk_telemetry.v2,type=5 2>/dev/null |
    sed -n 's/.*"opackets": *\([0-9]*\).*/\1/p' | tail -n 1
}

# It polls and always finds packets: its cycles are those that pass.
l3fwd_cycles() {
  local packets nanoseconds
  packets=$(l3fwd_sent) nanoseconds=$(date +%s%N)
  sleep "$SECONDS_EACH"
  packets=$(($(l3fwd_sent) - packets)) nanoseconds=$(($(date +%s%N) - nanoseconds))
  "$BENCH" place | sed -n 's/.*"counter_mhz":\([0-9]*\).*/\1/p' |
    awk -v packets="$packets" -v ns="$nanoseconds" 'packets > 0 { printf "%.2f", $1 * ns / 1000 / packets }'
}
