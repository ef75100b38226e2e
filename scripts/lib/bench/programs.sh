# shellcheck shell=bash disable=SC2030,SC2031
# Programs under test: the product and its peers, each a file in scripts/bench.d/peers/ that says how it is had, named, started
# and told to read its configuration again. Each runs in a namespace of its own, $PREFIX-gw-NAME, on CPU 1.

PROGRAM_CPU=1
# shellcheck disable=SC2034 # of loads and topologies
LOAD_CPU=0

# What a peer may leave out. Its file sets peer_stack: "kernel" if the kernel's stack serves it, "own" if it does without.
peer_install() { :; }
peer_ready() { :; }    # whether it serves, asked until it does
peer_reload() { return 1; }
peer_taken() { return 1; } # how many changes of its configuration it has taken over since its start, by its own account
peer_file() { return 1; }  # the configuration that peer_reload reads again
peer_settle() { :; }   # when it has ended: what it leaves behind
peer_spent() { program_spent; } # what it has cost so far: nanoseconds of processor time, and ticks of the time-stamp counter beside them

# In a subshell of its own, so that one peer's functions are not another's. PROGRAM_DIR is its directory.
program() ( # program NAME FUNCTION ARGUMENTS…
  local name=$1 call=$2
  shift 2
  PROGRAM=$name PROGRAM_DIR=$STATE/$name PROGRAM_NS=gw-$name
  peer_stack=kernel peer_packages=()
  # shellcheck source=/dev/null
  source "$CATALOGUE/peers/$name.sh"
  mkdir -p "$PROGRAM_DIR"
  "$call" "$@"
)

peer_facts() { printf '%s\n' "$peer_stack" "${peer_packages[@]}"; }
program_stack() { program "$1" peer_facts | head -1; }
program_packages() { program "$1" peer_facts | tail -n +2; }

# Starts it in its namespace on its CPU and returns when it serves: program_start NAME CASE
program_start() {
  program "$1" program_begin "$2"
}

program_begin() {
  # A program that was killed leaves its end of a wire of shared memory behind, and DPDK makes none where one is.
  rm -f "$PROGRAM_DIR"/{log,taken} "$PROGRAM_DIR"/*.memif
  peer_start "$1" || return 1
  if ! await 20 program_serves_or_died || ! program_serves; then
    printf '%s did not start: %s\n' "$PROGRAM" "$(grep -v '^ *$' "$PROGRAM_DIR/log" | tail -n 3 | tr -s ' \n' ' ' | cut -c -400)" >&2
    return 1
  fi
}
program_serves() { program_lives && peer_ready; }
program_serves_or_died() { ! program_lives || peer_ready; }
program_lives() { kill -0 "$(cat "$PROGRAM_DIR/pid")" 2>/dev/null; }

# For peer_ready of a proxy, whatever is or is not behind it.
program_listens() { ns "$PROGRAM_NS" bash -c 'exec 3<>/dev/tcp/10.0.1.1/80' 2>/dev/null; }

# For peer_start: runs a command in the background, its output in the program's log.
program_exec() {
  spawn "$PROGRAM_NS" "$PROGRAM_DIR/log" taskset -c "$PROGRAM_CPU" "$@"
  disown "$SPAWNED"
  echo "$SPAWNED" >"$PROGRAM_DIR/pid"
}

# Processor time of all its threads and of children that have ended (old workers of a reload), and of the kernel's NAPI threads for its
# ends of the wires, which have the same names for all programs: only one of those runs at a time.
program_spent() {
  local pid tasks=() own
  own=$(ip netns pids "$PREFIX-$PROGRAM_NS" 2>/dev/null)
  for pid in $own $(pgrep '^napi/(lan0|web0)-'); do tasks+=("/proc/$pid/task/"*/schedstat); done
  ((${#tasks[@]})) || return 0
  {
    cat "${tasks[@]}" 2>/dev/null
    for pid in $own; do sed 's/^.*) //' "/proc/$pid/stat" 2>/dev/null; done
  } | awk -v tick="$(getconf CLK_TCK)" 'NF == 3 { spent += $1 } NF > 3 { spent += ($14 + $15) * 1e9 / tick } END { printf "%.0f 0\n", spent }'
}

# Ends everything in its namespace: asked first, then made to.
program_stop() {
  local round pid
  # Whoever has gigabytes takes its time to give them back, even when it is killed.
  for round in TERM:2 KILL:60; do
    for pid in $(ip netns pids "$PREFIX-gw-$1" 2>/dev/null); do kill -"${round%:*}" "$pid" 2>/dev/null || true; done
    if await "${round#*:}" no_process_in "$PREFIX-gw-$1"; then break; fi
  done
  program "$1" peer_settle
}

# A configuration from a template beside the peer's file: program_template FILE, with @NAME@ for what a run decides. How many
# connections there may be costs some of them memory at once, so that a scenario with many says so.
program_template() {
  local asked=${SETTING[connections]:-0} connections
  # Both sides of each, and what is opened while others are closed.
  connections=${PEER_CONNECTIONS:-$((asked > 5000 ? 2 * asked + 2000 : 12000))}
  sed -e "s|@CONNECTIONS@|$connections|g; s|@NOFILE@|$((connections + 4096))|g; s|@DIR@|$PROGRAM_DIR|g; s|@PKI@|$PKI|g; s|@CPU@|$PROGRAM_CPU|g" "$CATALOGUE/peers/$1" >"$PROGRAM_DIR/$1"
}

# A real change that no request notices, the route /extra-N for another: program_change N. Renamed into place, as an editor does.
program_change() {
  local file
  file=$PROGRAM_DIR/$(peer_file)
  sed "s|/extra[-0-9]*|/extra-$1|" "$file" >"$file.new" && mv "$file.new" "$file" && peer_reload
}

# For programs whose ports are TAPs: joins tap-END with END by a bridge. A bridge takes frames for the address of one of its ends as
# its own, so the kernel's side of the TAP gets another than the program answers for.
program_join_taps() {
  local end index=0
  for end in lan0 web0; do
    index=$((index + 1))
    ns "$PROGRAM_NS" ip link add "br-$end" type bridge forward_delay 0 mcast_snooping 0 2>/dev/null || continue
    ns "$PROGRAM_NS" ip link set "br-$end" up
    ns "$PROGRAM_NS" ip link set "$end" master "br-$end"
    ns "$PROGRAM_NS" ip link set "tap-$end" address "02:00:5e:00:53:a$index"
    ns "$PROGRAM_NS" ip link set "tap-$end" master "br-$end" up
  done
  # A TAP has a new address at each start.
  ns "load-$PROGRAM" ip neighbor flush all
}

program_part_taps() {
  local end
  for end in lan0 web0; do ns "$PROGRAM_NS" ip link delete "br-$end" 2>/dev/null || true; done
}
