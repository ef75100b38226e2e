# shellcheck shell=bash
# the product: one core, no access log, everything else as it comes
# shellcheck disable=SC2034 # read by scripts/lib/bench
peer_stack=own

peer_version() { echo "$("$BINARY" --version), $PORT"; }

peer_start() {
  program_template tidegate.toml
  tidegate_ports "$PROGRAM_DIR/tidegate.toml"
  # What a scenario asks for beyond the defaults.
  [[ -z ${TIDEGATE_CONNECTIONS:-} ]] || printf '\n[tcp]\nmax_connections = %s\n' "$TIDEGATE_CONNECTIONS" >>"$PROGRAM_DIR/tidegate.toml"
  tidegate_routes "${TIDEGATE_ROUTES:-0}" >>"$PROGRAM_DIR/tidegate.toml"
  program_exec "$BINARY" run -c "$PROGRAM_DIR/tidegate.toml"
}

# A TAP is joined with the wire by a bridge once the product has made it.
peer_ready() {
  curl -s -f -o /dev/null --max-time 1 --unix-socket "$PROGRAM_DIR/admin.sock" http://tidegate/ready || return 1
  [[ $PORT != tap ]] || program_join_taps
}

# A core polls also when there is nothing to do: what counts are its turns with work, and whatever the kernel does for its wires meanwhile.
peer_spent() {
  curl -s -f --max-time 1 --unix-socket "$PROGRAM_DIR/admin.sock" http://tidegate/metrics |
    awk '/^tidegate_core_busy_cycles_total/ { ticks += $2 } END { printf "0 %.0f\n", ticks }'
}

peer_file() { echo tidegate.toml; }
# It also looks at its file by itself, and may have taken over a change before it is asked to, so that its counter of accepted reloads counts
# that one twice. What it was asked for, and answers to run now, is one change.
peer_reload() {
  "$BINARY" reload --socket "$PROGRAM_DIR/admin.sock" >/dev/null && echo taken >>"$PROGRAM_DIR/taken"
}
peer_taken() {
  curl -s -f --max-time 5 -o /dev/null --unix-socket "$PROGRAM_DIR/admin.sock" http://tidegate/ready || return 1
  if [[ -e $PROGRAM_DIR/taken ]]; then wc -l <"$PROGRAM_DIR/taken"; else echo 0; fi
}

# DPDK attaches its XDP program by netlink, so one that was killed leaves it behind; our own goes with the process.
peer_settle() {
  local end
  for end in lan0 web0; do
    [[ $PORT != dpdk ]] || ns "$PROGRAM_NS" ip link set "$end" xdp off 2>/dev/null || true
  done
  [[ $PORT != tap ]] || program_part_taps
}

# As many static routes, none of which this load takes.
tidegate_routes() {
  awk -v n="$1" 'BEGIN {
    for (i = 0; i < n; i++)
      printf "[[route]]\nto = \"%d.%d.%d.%d/32\"\nvia = \"10.0.2.11\"\n", 20 + int(i / 16777216), int(i / 65536) % 256, int(i / 256) % 256, i % 256
  }'
}

# Puts the driver into each [[port]] of a configuration.
tidegate_ports() {
  local index=0 end
  for end in lan0 web0; do
    sed -i "s|^@PORT_$end@|$(tidegate_port "$end" "$index")|" "$1"
    index=$((index + 1))
  done
  # A TAP takes TCP segments longer than the MTU if a packet buffer holds them.
  if [[ $PORT == tap ]]; then
    sed -i 's|^@FRAMES@|frame_size = 65536\nframes_per_core = 4096|' "$1"
  else
    sed -i '/^@FRAMES@/d' "$1"
  fi
  [[ $PORT != dpdk ]] || printf '\n[dpdk]\neal_args = ["--no-pci", %s]\n' "$(tidegate_memory)" >>"$1"
}

tidegate_port() { # tidegate_port END INDEX
  case $PORT in
    af_xdp) printf '%s\n' "driver = \"af_xdp\"\\ninterface = \"$1\"" ;;
    tap) printf '%s\n' "driver = \"tap\"\\ninterface = \"tap-$1\"" ;;
    dpdk) printf '%s\n' "driver = \"dpdk\"\\ndevice = \"net_af_xdp$2,iface=$1\"" ;;
  esac
}

# Huge pages where the machine has set some aside, ordinary memory otherwise.
tidegate_memory() {
  if (($(sed -n 's/^HugePages_Free: *//p' /proc/meminfo) >= 256)); then echo '"--in-memory"'; else echo '"--no-huge", "-m", "512"'; fi
}
