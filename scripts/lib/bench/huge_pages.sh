# shellcheck shell=bash
# Programs on DPDK keep their packets on huge pages, as their manuals ask. A scenario with such programs says how many pages of 2 MiB
# that takes (HUGE_PAGES); what the machine has not set aside is, for the length of a race. Where it cannot be had, all programs make do
# without: see tidegate_memory in peers/tidegate.sh.

HUGE_POOL=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages

# What there was is kept in a file, so that it is put back whatever happens in between.
huge_pages_reserve() {
  local before
  ((HUGE_PAGES > 0)) && [[ -n $MACHINE_OURS && -w $HUGE_POOL ]] || return 0
  before=$(cat "$HUGE_POOL")
  ((before < HUGE_PAGES)) || return 0
  echo "$before" >"$MACHINE/huge_pages"
  echo "$HUGE_PAGES" >"$HUGE_POOL" || true
  (($(cat "$HUGE_POOL") >= HUGE_PAGES)) || say_progress "of $HUGE_PAGES huge pages the kernel has $(cat "$HUGE_POOL")"
}

huge_pages_restore() {
  [[ -s $MACHINE/huge_pages ]] || return 0
  cat "$MACHINE/huge_pages" 2>/dev/null >"$HUGE_POOL" || true
  rm -f "$MACHINE/huge_pages"
}
