# shellcheck shell=bash disable=SC2030,SC2031
# The end-to-end scenarios: tests/e2e/NAME.sh, each on every driver, each with a gateway of its own on a shared network.

DRIVERS=(af_xdp tap dpdk dpdk_tap)

# Every case group, as e2e/DRIVER/SCENARIO.
e2e_names() {
  local driver file
  for driver in "${DRIVERS[@]}"; do
    for file in "$ROOT"/tests/e2e/*.sh; do
      if e2e_applies "$driver" "$file"; then
        echo "e2e/$driver/$(basename "$file" .sh)"
      fi
    done
  done
}

# net_af_xdp takes one queue per vdev on veth, and net_tap is there to show that a second kind of PMD works: the
# scenarios of more cores run on our own drivers, and net_tap does not repeat what only the stack above decides; the way to
# the kernel is the same beside every driver, and so is what routes look like to the tools of other hosts. net_af_xdp has no
# packets longer than a page.
e2e_applies() {
  local driver=$1 name
  name=$(basename "$2" .sh)
  case $driver/$name in
    dpdk/*cores | dpdk/hops | dpdk/host* | dpdk/link | dpdk/icmp | dpdk/reverse_path | dpdk/path | dpdk/mtu | dpdk/jumbo) return 1 ;;
    dpdk_tap/network | dpdk_tap/http | dpdk_tap/faults) return 0 ;;
    dpdk_tap/*) return 1 ;;
    *) return 0 ;;
  esac
}

e2e_build() {
  local log=$STATE/build.log
  if [[ -n ${TIDEGATE_BINARY:-} ]]; then
    return 0
  fi
  if ! cargo build --release --quiet >"$log" 2>&1; then
    FAIL_LINES=60 failed e2e/build "$log"
    return 1
  fi
}

# e2e_run NAMES… — the network is made once per driver and number of queues
e2e_run() {
  local name driver scenario queues network=''
  PKI=$STATE/pki
  rm -rf "$PKI"
  pki_make "$PKI"
  # shellcheck disable=SC2034 # read by topology.sh
  read -ra PORTS < <(gateway_interfaces "$ROOT/tests/e2e/gateway.toml")
  for name in "$@"; do
    IFS=/ read -r _ driver scenario <<<"$name"
    queues=$(e2e_setting "$scenario" queues 1)
    if [[ $network != "$driver $queues" ]]; then
      e2e_network "$driver" "$queues"
      network="$driver $queues"
    fi
    e2e_scenario "$driver" "$scenario" "$queues"
  done
}

# What a scenario asks for in a comment: e2e_setting SCENARIO KEY DEFAULT
e2e_setting() {
  local value
  value=$(sed -n "s/^# scripts\/test: $2=//p" "$ROOT/tests/e2e/$1.sh")
  echo "${value:-$3}"
}

e2e_network() {
  topology_up "$1" "$2"
  origin_start b1 "$STATE" "$PKI"
  origin_start b2 "$STATE" "$PKI"
  lab_start
}

# The origin that misbehaves on request, beside nginx on the first backend.
lab_start() {
  ns b1 "$PYTHON" "$ROOT/tests/e2e/lab.py" 10.0.2.11 8080 >"$STATE/lab.log" 2>&1 9>&- &
  disown $!
  await 5 ns b1 curl -s -o /dev/null http://10.0.2.11:8080/lab/slow/1 || { cat "$STATE/lab.log"; return 1; }
}

# In a subshell: what a scenario defines or breaks ends with it.
e2e_scenario() {
  local driver=$1 scenario=$2 queues=$3 status=0 before
  before=$(wc -l <"$RESULTS")
  # Not left of an `||`: bash would ignore errexit in every check of the scenario.
  set +e
  (
    set -e
    export CASE=e2e/$driver/$scenario DRIVER=$driver
    gateway_config "$ROOT/tests/e2e/$(e2e_setting "$scenario" config gateway.toml)" "$driver" "$STATE" "$PKI" "$queues"
    : >"$STATE/access.log"
    if ! gateway_start "$driver" "$STATE" 2>"$STATE/start.log"; then
      failed "$CASE/start" "$STATE/start.log"
      exit 0
    fi
    # shellcheck source=/dev/null
    source "$ROOT/tests/e2e/$scenario.sh"
    check still-running gateway_lives "$STATE"
    check no-panic no_panic
    gateway_stop "$STATE"
  )
  status=$?
  set -e
  if ((status != 0)); then
    failed "e2e/$driver/$scenario/script" "" "the scenario itself failed: $status"
  elif (($(wc -l <"$RESULTS") - before < 2)) && ! tail -n 1 "$RESULTS" | grep -q '^FAIL'; then
    failed "e2e/$driver/$scenario/script" "" "the scenario checked nothing"
  fi
  gateway_stop "$STATE" KILL
}

no_panic() { ! grep -nE 'panicked|PANIC|SIGSEGV|segmentation' "$STATE/gateway.log"; }

# Cases of a Python file, run in the client's namespace; its lines become ours.
python_cases() {
  local line name out=$STATE/python.out
  ns client timeout 300 "$PYTHON" "$ROOT/tests/e2e/$1" >"$out" 2>&1 </dev/null || true
  if ! grep -qE '^(ok|FAIL) ' "$out"; then
    failed "$CASE/$1" "$out" "no case ran"
    return 0
  fi
  while IFS= read -r line; do
    case $line in
      'ok '*) passed "$CASE/${line#ok }" ;;
      'FAIL '*) name=${line#FAIL }; failed "$CASE/$name" ;;
      *) printf '%s\n' "$line" ;;
    esac
  done <"$out"
}
