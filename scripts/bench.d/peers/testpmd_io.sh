# shellcheck shell=bash
# DPDK's testpmd, which hands packets from port to port and looks at none
# shellcheck disable=SC2034 # read by scripts/lib/bench
peer_stack=own
peer_packages=(dpdk-dev)
testpmd_mode=io

# It says which DPDK it is of when it begins, and has no option to say only that.
peer_version() {
  local version
  version=$(timeout 10 dpdk-testpmd -v --no-pci --in-memory --no-huge -m 64 --no-telemetry -- --help 2>&1 |
    sed -n "s/.*RTE Version: '\(.*\)'.*/\1/p") || true
  echo "testpmd $testpmd_mode, ${version:-DPDK of an unknown version}"
}

# One core forwards; the other thread of the program sleeps but to print statistics, without which it would wait for a key. Bursts
# (32 packets) and rings are its own choice. A wire of shared memory is up when the generator comes, so it does not wait for that. What it
# says is written line by line: it would keep its words until the first statistics, which are due an hour after the machine's start.
peer_start() {
  local devices=(--vdev "$(packets_device "$1" 0 lan0)")
  # A program that looks at no packet sends what it reads from a capture back to where it came from.
  [[ $PORT == pcap ]] || devices+=(--vdev "$(packets_device "$1" 1 web0)")
  # shellcheck disable=SC2046 # options are words of their own
  program_exec stdbuf -oL dpdk-testpmd --no-pci --file-prefix=testpmd $(packets_memory 1024) \
    --lcores "0@$PROGRAM_CPU,1@$PROGRAM_CPU" "${devices[@]}" -- --forward-mode="$testpmd_mode" --nb-cores=1 --auto-start --disable-link-check --stats-period 3600 --record-core-cycles
}

peer_ready() {
  grep -q 'packet forwarding - ports=' "$PROGRAM_DIR/log" || return 1
  [[ $PORT != tap ]] || program_join_taps
}

# DPDK attaches its XDP program by netlink; one that was killed leaves it behind.
peer_settle() {
  local end
  [[ $PORT != tap ]] || program_part_taps
  [[ $PORT == af_xdp || $PORT == dpdk ]] || return 0
  for end in lan0 web0; do ns "$PROGRAM_NS" ip link set "$end" xdp off 2>/dev/null || true; done
}
