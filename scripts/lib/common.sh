# shellcheck shell=bash
# What every script needs: where we are, who we are, how a check is shown, how a process is started and ended.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export ROOT PATH LC_ALL=C
# Debian's own interpreter: the scenarios use its scapy, whatever else is first in PATH.
export PYTHON=/usr/bin/python3

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  GREEN=$'\e[32m' RED=$'\e[31m' BOLD=$'\e[1m' PLAIN=$'\e[0m'
else
  GREEN='' RED='' BOLD='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
heading() { printf '%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
die() { printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2; exit 1; }

need_root() {
  [[ $EUID -eq 0 ]] || die "network namespaces and AF_XDP need root: sudo $0"
}

# Finds cargo, also that of the user who called sudo, and lets root use it without a second toolchain.
find_cargo() {
  local home
  if ! command -v cargo >/dev/null; then
    for home in "$HOME" "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)"; do
      if [[ -x $home/.cargo/bin/cargo ]]; then
        export CARGO_HOME=${CARGO_HOME:-$home/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
        PATH=$home/.cargo/bin:$PATH
        break
      fi
    done
  fi
  command -v cargo >/dev/null || die "no Rust toolchain: install one from https://rustup.rs, then run $0 again"
  local want have
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -1)
  have=$(rustc --version | cut -d' ' -f2)
  if [[ $(printf '%s\n%s\n' "$want" "${have%%-*}" | sort -V | head -1) != "$want" ]]; then
    die "rustc $have is older than $want, which Tidegate needs: rustup update stable"
  fi
}

# What root has built in a user's clone belongs to the user again.
hand_back() {
  [[ -n ${SUDO_UID:-} && $SUDO_UID != 0 ]] || return 0
  chown -R --from=root "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$ROOT/target" 2>/dev/null || true
  [[ -z ${CARGO_HOME:-} ]] || chown -R --from=root "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$CARGO_HOME" 2>/dev/null || true
}

# Tries a command until it succeeds: await SECONDS COMMAND…
await() {
  local until=$((${EPOCHREALTIME/./} + $1 * 1000000))
  shift
  while ! "$@" >/dev/null 2>&1; do
    ((${EPOCHREALTIME/./} < until)) || return 1
    sleep 0.05
  done
}

# The name of a run, which its namespaces and its directory have: check_prefix NAME
check_prefix() {
  [[ $1 =~ ^[A-Za-z][A-Za-z0-9_-]{0,31}$ ]] || die "TIDEGATE_PREFIX='$1': a letter, then at most 31 letters, digits, '-' and '_'"
  [[ $1 != tidegate ]] || die "TIDEGATE_PREFIX='tidegate': /run/tidegate is the directory of the service; choose another name"
}

# The directory of a run carries this file. What does not is somebody else's, and is neither used nor removed.
STATE_MARK=.made-by-tidegate-scripts

state_is_ours() { [[ -d $1 && ! -L $1 && -O $1 && -f $1/$STATE_MARK ]]; }
state_check() { # state_check DIRECTORY — there is none, or one of ours
  [[ ! -e $1 && ! -L $1 ]] || state_is_ours "$1" ||
    die "$1 was not made by these scripts (there is no $STATE_MARK of yours in it): remove it, or choose another name, as in TIDEGATE_PREFIX=name $0"
}
state_make() { # state_make DIRECTORY — empty
  state_check "$1"
  state_remove "$1"
  mkdir "$1" || die "cannot make $1"
  : >"$1/$STATE_MARK"
}
# The mark goes last: what is left of an interrupted removal is still ours.
state_remove() {
  state_is_ours "$1" || return 0
  find "$1" -mindepth 1 -maxdepth 1 ! -name "$STATE_MARK" -exec rm -rf -- {} + || return 1
  rm -rf -- "$1"
}

# One run at a time: hold_lock FILE WHY_NOT. The lock is on descriptor 9, which no process that may outlive us inherits.
hold_lock() {
  { exec 9>"$1"; } 2>/dev/null || die "cannot open the lock $1$(lock_owner "$1"); TIDEGATE_PREFIX=name $0 has another one"
  flock -n 9 || die "$2; TIDEGATE_PREFIX=name $0 runs beside it"
}

lock_owner() { [[ ! -e $1 ]] || printf ', which belongs to %s' "$(stat -c %U "$1")"; }

# A command that a signal can end at once: the shell runs no trap while it waits for one in the foreground.
interruptible() {
  local status=0
  "$@" 8>&- 9>&- &
  wait $! || status=$?
  return "$status"
}

# Ends every process below this one: asked first, then made to.
end_children() {
  local round pid
  for round in TERM KILL; do
    for pid in $(descendants $$); do kill -"$round" "$pid" 2>/dev/null || true; done
    # Among them may be a script that has cleaning up to do.
    if await 10 childless; then break; fi
  done
}
childless() { [[ -z $(descendants $$) ]]; }
# All below a process but those that are being asked for here.
descendants() {
  local child children=()
  # The list ends without a newline, which read calls a failure.
  { read -ra children <"/proc/$1/task/$1/children"; } 2>/dev/null || true
  for child in "${children[@]}"; do
    [[ $child == "$BASHPID" ]] || { echo "$child"; descendants "$child"; }
  done
}

PASSED=0
FAILED=0

# One case: check NAME COMMAND… prints one line, and what the command said if it failed. A scenario has a name in CASE.
check() {
  local name=${CASE:+$CASE/}$1 log status=0
  shift
  log=$(mktemp)
  # A subshell of its own: a check may cd, set traps or exit without harm to the next. With errexit on in it, so that every
  # statement of a check counts, not the last alone; bash would ignore it left of an `||`.
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if ((status == 0)); then
    passed "$name"
  else
    failed "$name" "$log" "exit status $status"
  fi
  rm -f "$log"
  return 0
}

passed() {
  PASSED=$((PASSED + 1))
  printf '%sok%s    %s\n' "$GREEN" "$PLAIN" "$1"
  [[ -z ${RESULTS:-} ]] || echo "ok $1" >>"$RESULTS"
}

# failed NAME [LOG [WHY]]
failed() {
  FAILED=$((FAILED + 1))
  printf '%sFAIL%s  %s%s\n' "$RED" "$PLAIN" "$1" "${3:+ ($3)}"
  [[ -z ${2:-} ]] || tail -n "${FAIL_LINES:-25}" "$2" | sed 's/^/      /'
  [[ -z ${RESULTS:-} ]] || echo "FAIL $1" >>"$RESULTS"
}

# What a check has measured, below its line: told FILE
told() { [[ ! -s $1 ]] || sed 's/^/        /' "$1"; }
milliseconds() { echo $((${EPOCHREALTIME/./} / 1000)); }

# Statements for use inside a check: they say what was seen.
expect() { # expect WHAT ACTUAL PATTERN — a bash glob
  # shellcheck disable=SC2053 # the pattern is meant as one
  [[ $2 == $3 ]] || { printf '%s: wanted %q, got:\n%s\n' "$1" "$3" "$2"; return 1; }
}
expect_at_least() { # expect_at_least WHAT ACTUAL MINIMUM
  (($2 >= $3)) || { printf '%s: wanted at least %s, got %s\n' "$1" "$3" "$2"; return 1; }
}
refuse() { # refuse COMMAND… — must fail, and say so
  local said
  if said=$("$@" 2>&1); then
    printf 'succeeded, but must not: %s\n%s\n' "$*" "$said"
    return 1
  fi
  printf '%s\n' "$said"
}
