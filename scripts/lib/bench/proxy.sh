# shellcheck shell=bash
# What the scenarios of a reverse proxy share: bodies from nothing to 100 MB, new connections, and a fixed rate.

# shellcheck disable=SC2034 # read by the other parts
proxy_defaults() {
  PEERS=(nginx haproxy envoy)
  PORTS_KNOWN=(af_xdp tap dpdk)
  LOADS=(tidegate wrk h2load)
  SETTING=([connections]=64 [rate]='')
  SETTING_SAYS=([connections]="count connections open at a time" [rate]="count requests per second of the case half; half of what nginx does in a closed loop, unless given")
}

scenario_cases() { printf '%s\n' 0B 1KiB 1KiB-256 100KiB 100MB half new; }

# A fixed rate says more than a closed loop only if all programs can keep up with it.
scenario_prepare() {
  [[ -z ${SETTING[rate]} && " ${PROGRAMS[*]} " == *" nginx "* ]] || return 0
  race_cases | grep -qx half || return 0
  [[ -z $(load_lacks keepalive "$SCENARIO" 1) ]] || return 0
  local line=$STATE/most most=0
  say_progress "how much nginx can do ..."
  program_start nginx half
  # The most of three: a slow moment of the machine takes away, and none adds.
  for _ in 1 2 3; do
    interruptible load_run nginx keepalive "$SCENARIO" /1k "${SETTING[connections]}" '' >"$line" 2>"$STATE/why" || die "$(race_reason "$STATE/why")"
    most=$("$BENCH" record value rate <"$line" | awk -v most="$most" '{ printf "%d", ($1 > most ? $1 : most) }')
  done
  program_stop nginx
  SETTING[rate]=$((most / 2))
  say_progress "half of it is ${SETTING[rate]} requests/s"
}

scenario_skip() {
  local work rate=''
  work=$(proxy_work "$2")
  if [[ $2 == half ]]; then
    rate=${SETTING[rate]:-1}
    [[ -n ${SETTING[rate]} || -n $(load_lacks "$work" "$SCENARIO" "$rate") ]] || { echo "it needs nginx in the race, or --set rate=N"; return; }
  fi
  load_lacks "$work" "$SCENARIO" "$rate"
}

proxy_work() { if [[ $1 == new ]]; then echo new; else echo keepalive; fi; }

scenario_measure() {
  local program=$1 most=${SETTING[connections]}
  case $2 in
    0B) load_run "$program" keepalive "$SCENARIO" /0 "$most" '' ;;
    1KiB) load_run "$program" keepalive "$SCENARIO" /1k "$most" '' ;;
    # More under way than a program answers in one round of its loop: how many there are no longer limits any of them.
    1KiB-256) load_run "$program" keepalive "$SCENARIO" /1k 256 '' ;;
    100KiB) load_run "$program" keepalive "$SCENARIO" /100k 16 '' ;;
    100MB) load_run "$program" keepalive "$SCENARIO" /100m 4 '' ;;
    half) load_run "$program" keepalive "$SCENARIO" /1k "$most" "${SETTING[rate]}" ;;
    new) load_run "$program" new "$SCENARIO" /1k "$most" '' ;;
  esac
}
