# shellcheck shell=bash
# The program's CPU is the program's. Kernel threads that may run elsewhere (memory's reclaimers, the callbacks of RCU, unbound work)
# do so for the length of a race; and those that only tidy memory run when nobody else wants to. One that takes 1 % of a CPU, in bursts
# of a tick, is all that a p99 then tells of, on the program's CPU as on the load's.

UNBOUND_WORK=/sys/devices/virtual/workqueue/cpumask

# What was changed is kept in a file, so that it is put back whatever happens in between.
cpus_clear() {
  local pid allowed
  [[ -n $MACHINE_OURS ]] || return 0
  : >"$MACHINE/moved"
  : >"$MACHINE/idle"
  if [[ -w $UNBOUND_WORK ]]; then
    cat "$UNBOUND_WORK" >"$MACHINE/unbound"
    printf '%x\n' $((1 << LOAD_CPU)) 2>/dev/null >"$UNBOUND_WORK" || true
  fi
  # Children of kthreadd. Those bound to one CPU have work that belongs there.
  for pid in $(pgrep --parent 2); do
    allowed=$(taskset -cp "$pid" 2>/dev/null) || continue
    allowed=${allowed##*: }
    if [[ $allowed == *[,-]* ]] && taskset -cp "$LOAD_CPU" "$pid" >/dev/null 2>&1; then
      echo "$pid $allowed" >>"$MACHINE/moved"
    fi
    case $(cat "/proc/$pid/comm" 2>/dev/null) in
      kdamond* | kcompactd* | khugepaged | ksmd)
        if chrt --idle --pid 0 "$pid" 2>/dev/null; then echo "$pid" >>"$MACHINE/idle"; fi
        ;;
    esac
  done
}

cpus_restore() {
  local pid allowed
  [[ ! -s $MACHINE/unbound ]] || cat "$MACHINE/unbound" 2>/dev/null >"$UNBOUND_WORK" || true
  [[ -f $MACHINE/moved ]] || return 0
  while read -r pid allowed; do taskset -cp "$allowed" "$pid" >/dev/null 2>&1 || true; done <"$MACHINE/moved"
  while read -r pid; do chrt --other --pid 0 "$pid" 2>/dev/null || true; done <"$MACHINE/idle"
  rm -f "$MACHINE"/{moved,idle,unbound}
}
