# shellcheck shell=bash
# What races change for the whole machine (cpus.sh, huge_pages.sh) one of them has at a time, and what there was is kept in one place for
# all of them: what a race that was killed has left is put right by the next one, whatever its name.

MACHINE=/run/tidegate-bench-machine
# Whether it is ours to change. The lock is on descriptor 8, which is inherited as little as that of the run.
MACHINE_OURS=''

machine_take() {
  [[ $EUID -eq 0 ]] || return 0
  state_check "$MACHINE"
  exec 8>"$MACHINE.lock"
  if ! flock -n 8; then
    say_progress "another race has arranged this machine's CPUs and huge pages: they stay as they are, and the two measure each other"
    return 0
  fi
  MACHINE_OURS=yes
  cpus_restore
  huge_pages_restore
  state_make "$MACHINE"
}

machine_give_back() {
  [[ -n $MACHINE_OURS ]] || return 0
  cpus_restore
  huge_pages_restore
  state_remove "$MACHINE"
}
