# shellcheck shell=bash
# scripts/test: config=host.toml
# Links that fail: a wire without carrier, an interface that is set down or deleted, the kernel's end of a host link taken away.

# Hundredths of a second of CPU time that the gateway has used, and turns of its core.
used() { awk '{print $14 + $15}' "/proc/$(cat "$STATE/gateway.pid")/stat"; }
turns() { admin "$STATE" /metrics | awk '/^tidegate_core_turns_total/ {turns += $2} END {printf "%d", turns}'; }
# For three seconds it sleeps most of the time. A core that spins takes 300 hundredths and more on a machine that has nothing else to
# do, an idle gateway about 10; on a busy machine the turns tell, ten thousand in that time with sleep, hundreds of thousands without.
rests() {
  local before began spent
  before=$(used) began=$(turns)
  sleep 3
  spent=$(($(used) - before))
  echo "$spent hundredths of a second of CPU time and $(($(turns) - began)) turns in three seconds"
  ((spent < 120 && $(turns) - began < 75000))
}

# The kernel's end of a host link is deleted: the port itself works on, and the core still sleeps.
host_link_deleted() {
  ns gw ip link delete host1
  rests
  ns client ping -q -c 3 -i 0.05 -W1 10.0.2.11
}
# A TAP that is a port, likewise.
tap_deleted() {
  ns gw ip link delete web1
  rests
  ns client ping -q -c 3 -i 0.05 -W1 10.0.2.11
}

check rests-when-idle rests
check host-link-deleted host_link_deleted
[[ $DRIVER != tap ]] || check tap-deleted tap_deleted
