# shellcheck shell=bash
# The command line of a race, and the defaults that a scenario sets.

# What a scenario may leave out; it is read after this.
scenario_bars() { ((${#BARS[@]} == 0)) || printf '%s\n' "${BARS[@]}"; }
scenario_chosen() { :; }                      # once, when the options are read: PORT, PROGRAMS and others may follow from each other
scenario_prepare() { :; }                     # once, when the networks are up
scenario_routes() { :; }                      # scenario_routes CASE tidegate|iproute2|l3fwd: the routes a forwarding program is to have
scenario_skip() { :; }                        # scenario_skip PROGRAM CASE: prints why it cannot be, if so
scenario_start() { program_start "$1" "$2"; } # scenario_start PROGRAM CASE
scenario_stop() { program_stop "$1"; }        # scenario_stop PROGRAM CASE

# Sets the defaults, then reads the scenario, which may change them.
# shellcheck disable=SC2034 # read by the other parts
scenario_load() {
  catalogue_need scenarios "$1"
  TITLE=$(catalogue_sentence scenarios "$1")
  PORTS_KNOWN=(af_xdp) # drivers of the product, the default first
  PEERS=()             # programs it can be compared with
  LOADS=()             # who can make the load, the default first
  BARS=()              # "CASE METRIC PEER|best|self >=|<= NUMBER"
  TOPOLOGY=wire        # the network; "none" needs no root
  ROUNDS=5
  SECONDS_EACH=3
  HUGE_PAGES=0           # of 2 MiB, for programs on DPDK
  PACKAGES=()            # of Debian, beside those of the peers
  ALL=()                 # its runs in `all`, a line of options each
  declare -gA SETTING=() # settings of its own, with their defaults
  declare -gA SETTING_SAYS=() # of each "TYPE SENTENCE": see setting_fits
  # shellcheck source=/dev/null
  source "$CATALOGUE/scenarios/$1.sh"
}

# race_options OPTIONS…
# shellcheck disable=SC2034 # read by the other parts
race_options() {
  local file peers='' cases='' port=${PORTS_KNOWN[0]} load=${LOADS[0]:-none}
  JSON='' HTML='' TEXT='' SAMPLES=''
  while (($#)); do
    case $1 in
      --port | --vs | --rounds | --seconds | --cases | --load | --set | --json | --html | --text | --samples)
        (($# >= 2)) || wrong "$1 needs a value"
        ;;&
      --port) port=$2 ;;
      --vs)
        [[ -n $2 ]] || wrong "--vs '': PEER,… or none"
        peers=$2
        ;;
      --rounds) ROUNDS=$2 ;;
      --seconds) SECONDS_EACH=$2 ;;
      --cases) cases=$2 ;;
      --load) load=$2 ;;
      --set) race_setting "$2" ;;
      --json) JSON=$2 ;;
      --html) HTML=$2 ;;
      --text) TEXT=$2 ;;
      --samples) SAMPLES=$2 ;;
      -h | --help) PORT=$port; scenario_usage; exit 0 ;;
      *) wrong "unknown option '$1'" ;;
    esac
    shift 2
  done
  PORT=$port LOAD=$load
  one_of --port "$PORT" "${PORTS_KNOWN[@]}"
  if ((${#LOADS[@]} > 0)) || [[ $LOAD != none ]]; then one_of --load "$LOAD" "${LOADS[@]}"; fi
  [[ $ROUNDS =~ ^[1-9][0-9]{0,3}$ ]] || wrong "--rounds '$ROUNDS': a number from 1 to 9999"
  [[ $SECONDS_EACH =~ ^[1-9][0-9]{0,3}$ ]] || wrong "--seconds '$SECONDS_EACH': a number from 1 to 9999"
  race_peers "$peers"
  scenario_chosen
  race_chosen_cases "${cases:-*}"
  for file in JSON HTML TEXT SAMPLES; do file_option "--${file,,}" "$file"; done
  program_options
}

# Every pattern is of some case.
race_chosen_cases() { # race_chosen_cases PATTERN,…
  local pattern case found
  IFS=, read -ra CASES <<<"$1"
  for pattern in "${CASES[@]}"; do
    found=''
    while read -r case; do
      # shellcheck disable=SC2053 # the pattern is meant as one
      [[ $case != $pattern ]] || found=yes
    done < <(scenario_cases)
    [[ -n $found ]] || wrong "--cases '$pattern': $SCENARIO has $(scenario_cases | xargs)"
  done
}

# A file that will be written, made an absolute path: not everything is done in the directory of the caller.
file_option() { # file_option OPTION VARIABLE
  local -n value=$2
  [[ -n $value ]] || return 0
  value=$(realpath -ms -- "$value")
  [[ -d $(dirname "$value") ]] || wrong "$1 '$value': there is no directory $(dirname "$value")"
  [[ ! -d $value ]] || wrong "$1 '$value': that is a directory, and a file is to be written"
  if [[ -e $value ]]; then [[ -w $value ]]; else [[ -w $(dirname "$value") ]]; fi || wrong "$1 '$value': you may not write there"
}

# Programs that were built elsewhere.
program_options() {
  local name
  for name in TIDEGATE_BINARY TIDEGATE_BENCH; do
    [[ -n ${!name:-} ]] || continue
    [[ -f ${!name} && -x ${!name} ]] || wrong "$name='${!name}': there is no such program"
    export "$name=$(realpath -ms -- "${!name}")"
  done
}

one_of() { # one_of OPTION VALUE KNOWN…
  local option=$1 value=$2 known
  shift 2
  for known in "$@"; do [[ $value != "$known" ]] || return 0; done
  (($# > 0)) || wrong "$option: $SCENARIO has no choice there"
  wrong "$option '$value': $SCENARIO knows $*"
}

race_setting() {
  local name=${1%%=*}
  [[ $1 == *=* ]] || wrong "--set '$1': NAME=VALUE"
  [[ -v SETTING[$name] ]] || wrong "--set '$name': $SCENARIO has no such setting; it has: ${!SETTING[*]}"
  setting_fits "${SETTING_SAYS[$name]%% *}" "${1#*=}" || wrong "--set $name='${1#*=}': $(setting_kind "${SETTING_SAYS[$name]%% *}") (${SETTING_SAYS[$name]#* })"
  SETTING[$name]=${1#*=}
}

setting_fits() { # setting_fits TYPE VALUE
  case $1 in
    count) [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] ;;
    amount) [[ $2 =~ ^[1-9][0-9]{0,5}[kM]?$ ]] ;;
    number) [[ $2 =~ ^[0-9]{1,6}([.][0-9]{1,6})?$ ]] ;;
    percent) [[ $2 =~ ^([0-9]{1,2}([.][0-9]{1,6})?|100)$ ]] ;;
    fraction) [[ $2 =~ ^(0|0[.][0-9]{1,9}|1)$ ]] ;;
    step) [[ $2 =~ ^0[.][0-9]{1,9}$ && $2 =~ [1-9] ]] ;;
    *) return 1 ;;
  esac
}

setting_kind() { # setting_kind TYPE
  case $1 in
    count) echo "a whole number from 1" ;;
    amount) echo "a number, such as 10k or 1M" ;;
    number) echo "a number from 0, such as 10 or 0.5" ;;
    percent) echo "a number from 0 to 100, such as 2 or 0.5" ;;
    fraction) echo "a fraction from 0 to 1, such as 0.001" ;;
    step) echo "a fraction above 0 and below 1, such as 0.03" ;;
  esac
}

race_peers() { # race_peers "PEER,…"|none|""
  local peer
  PROGRAMS=(tidegate)
  case $1 in
    '') PROGRAMS+=("${PEERS[@]}") ;;
    none) ;;
    *)
      IFS=, read -ra asked <<<"$1"
      for peer in "${asked[@]}"; do
        catalogue_need peers "$peer"
        one_of --vs "$peer" "${PEERS[@]}"
        [[ " ${PROGRAMS[*]} " != *" $peer "* ]] || wrong "--vs '$1': $peer is there twice"
        PROGRAMS+=("$peer")
      done
      ;;
  esac
}

scenario_usage() {
  local name
  printf '%s: %s\n' "$SCENARIO" "$TITLE"
  printf '  --port     %s\n' "${PORTS_KNOWN[*]}"
  printf '  --vs       %s\n' "${PEERS[*]:-(nobody)}"
  ((${#LOADS[@]} == 0)) || printf '  --load     %s\n' "${LOADS[*]}"
  printf '  --rounds   %s\n  --seconds  %s\n' "$ROUNDS" "$SECONDS_EACH"
  for name in "${!SETTING[@]}"; do
    printf '  --set      %-20s %s (%s)\n' "$name=${SETTING[$name]}" "${SETTING_SAYS[$name]#* }" "$(setting_kind "${SETTING_SAYS[$name]%% *}")"
  done | sort
  printf '  cases      %s\n' "$(scenario_cases | xargs)"
}
