# shellcheck shell=bash
# DPDK's testpmd, which hands packets from port to port and looks at none
# shellcheck disable=SC2034 # read by scripts/lib/bench
peer_stack=own
peer_packages=(dpdk)
testpmd_mode=io

peer_version() { dpdk-testpmd --version 2>&1 | sed -n 's/.*\(DPDK [0-9.]*\).*/testpmd '"$testpmd_mode"', \1/p' | head -n 1 | grep . || echo "testpmd $testpmd_mode"; }

# One core forwards; the other thread of the program sleeps but to print statistics, without which it would wait for a key. Bursts
# (32 packets) and rings are its own choice.
peer_start() {
  local devices=(--vdev "$(packets_device "$1" 0 lan0)")
  # A program that looks at no packet sends what it reads from a capture back to where it came from.
  [[ $PORT == pcap ]] || devices+=(--vdev "$(packets_device "$1" 1 web0)")
  program_exec dpdk-testpmd --no-pci --in-memory --lcores "0@$PROGRAM_CPU,1@$PROGRAM_CPU" "${devices[@]}" -- \
    --forward-mode="$testpmd_mode" --nb-cores=1 --auto-start --stats-period 3600 --record-core-cycles
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
