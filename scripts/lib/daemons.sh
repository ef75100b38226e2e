# shellcheck shell=bash
# Routing daemons for the scenarios that need them: BIRD in any namespace, FRR in the gateway's, each with sockets of its own.

# A peer that was lost is tried again soon.
# shellcheck disable=SC2034 # read by the scenarios
AGAIN='connect delay time 1; connect retry time 2; error wait time 1, 2;'

# bird_start NS — configuration on stdin
bird_start() {
  local dir=$STATE/bird-$1
  mkdir -p "$dir"
  cat >"$dir/bird.conf"
  spawn "$1" "$dir/log" bird -f -c "$dir/bird.conf" -s "$dir/ctl" -P "$dir/pid"
  disown "$SPAWNED"
  await 5 bird_says "$1" show status
}
bird_says() { # bird_says NS COMMAND…
  local dir=$STATE/bird-$1
  shift
  birdc -s "$dir/ctl" "$@"
}
bird_stop() { bird_says "$1" down >/dev/null 2>&1 || true; }
# Lines of `show protocols` for one whose state is the wanted.
bird_has() { bird_says "$1" show protocols "$2" | grep -q "$3"; } # bird_has NS PROTOCOL STATE

# What a client's pings every 20 ms lose while a command runs: lost_during "ADDRESS…" SECONDS COMMAND… -> a number for each address
lost_during() {
  local addresses=$1 seconds=$2 address pingers=() status=0
  shift 2
  for address in $addresses; do
    spawn client "$STATE/ping-$address" ping -q -i 0.02 -c $((seconds * 50)) -W 1 "$address"
    pingers+=("$SPAWNED")
  done
  sleep 1
  "$@" >&2 || status=$?
  wait "${pingers[@]}" || true
  for address in $addresses; do
    awk '/ packets transmitted, / {printf "%d ", $1 - $4}' "$STATE/ping-$address"
  done
  return "$status"
}

# A backend that loses its wire in silence, and has it again.
cut_wire() {
  ns "$1" nft -f - <<'NFT'
table netdev cut {
  chain in { type filter hook ingress device eth0 priority 0; policy drop; }
  chain out { type filter hook egress device eth0 priority 0; policy drop; }
}
NFT
}
mend_wire() { ns "$1" nft delete table netdev cut; }

# A large feed from BIRD: 20.0.0.0 and up, a /24 each, of which the last are told and taken back apart from the others.
FEED=100000
FLAPS=10000
# It is for tables, not for sockets, but three of its addresses answer: in the first, the middle and the last prefix.
FEED_STAYS=20.0.0.1
FEED_RETURNS=21.134.159.1
FEED_ANSWERS="$FEED_STAYS 20.195.80.1 $FEED_RETURNS"

feed_config() {
  feed_protocol feed 0 $((FEED - FLAPS))
  feed_protocol flaps $((FEED - FLAPS)) "$FLAPS"
}
feed_protocol() { # feed_protocol NAME FIRST COUNT
  echo "protocol static $1 { disabled; ipv4;"
  awk -v first="$2" -v count="$3" 'BEGIN {
    for (i = first; i < first + count; i++) printf "  route %d.%d.%d.0/24 blackhole;\n", 20 + int(i / 65536), int(i / 256) % 256, i % 256 }'
  echo '}'
}
# feed_answers NS — whoever announces the feed has its addresses
feed_answers() {
  local address
  for address in $FEED_ANSWERS; do ns "$1" ip address replace "$address/32" dev lo; done
}
feed_switch() { # feed_switch enable|disable PROTOCOL NS…
  local how=$1 protocol=$2 host
  shift 2
  for host in "$@"; do bird_says "$host" "$how" "$protocol" >/dev/null; done
}

# The feed comes from the first peer and is timed; then the second announces it too. The scenario's feed_is_whole waits until the
# gateway has all ways of all prefixes.
feed_is_installed() {
  local before began
  await 30 routes_rest
  before=$(learnt "$STATE")
  began=$(milliseconds)
  feed_switch enable feed b1
  feed_switch enable flaps b1
  await 60 learnt_about $((before + FEED)) || { echo "learnt $(learnt "$STATE"), before $before"; tail -n 5 "$STATE/gateway.log"; return 1; }
  echo "$FEED routes from the peer's start to the data plane: $(($(milliseconds) - began)) ms" >"$STATE/feed"
  expect "routes in the kernel" "$(ns gw ip route show root 20.0.0.0/7 | grep -c '^2[01]\.')" "$FEED"
  feed_switch enable feed b2
  feed_switch enable flaps b2
  feed_is_whole
}
# The handful of other routes comes and goes by itself: after a cut OSPF may need longer than a feed.
learnt_about() { # learnt_about COUNT
  local off=$(($(learnt "$STATE") - $1))
  ((off >= -5 && off <= 5))
}
# For a second nothing is published: a large change has come to its end.
routes_rest() {
  local before
  before=$(generation "$STATE")
  sleep 1
  [[ $(generation "$STATE") == "$before" ]]
}

# cut_moves_traffic NS… — each is cut in turn, and mended; every address of the feed was led over one of them
cut_moves_traffic() {
  local host lost
  : >"$STATE/cut"
  : >"$STATE/lost"
  for host in "$@"; do
    lost=$(lost_during "$FEED_ANSWERS" 5 cut_wire "$host")
    mend_wire "$host"
    echo "$lost" >>"$STATE/lost"
    awk -v host="$host" '{ printf "%d, %d and %d ms without a way to the first, a middle and the last prefix after %s was cut\n",
      $1 * 20, $2 * 20, $3 * 20, host }' <<<"$lost" >>"$STATE/cut"
    feed_is_whole
  done
  # Each address was hit once, and had another way within a second.
  awk '{ for (i = 1; i <= NF; i++) if ($i > most[i]) most[i] = $i }
    END { for (i = 1; i <= 3; i++) if (most[i] < 1 || most[i] > 50) { print "address " i " lost " most[i] + 0 " pings of 20 ms"; bad = 1 }
      exit bad }' "$STATE/lost"
}

# cut_follows_kernel NS — with one way to each prefix the daemon has to give the kernel another for every one, which takes as long as
# it takes; the data plane follows as it goes.
cut_follows_kernel() {
  local host=$1 lost watcher kernel
  kernel_moves >"$STATE/kernel" 9>&- &
  watcher=$!
  lost=$(lost_during "$FEED_ANSWERS" 9 cut_wire "$host")
  mend_wire "$host"
  wait "$watcher"
  kernel=$(awk 'NR == 1 { for (i = 2; i <= NF; i++) first[i] = $i }
    { for (i = 2; i <= NF; i++) if (!(i in at) && $i != first[i]) at[i] = $1 }
    END { print at[2] + 0, at[3] + 0, at[4] + 0 }' "$STATE/kernel")
  awk '{ for (i = 1; i <= 3; i++) printf "%d ms without a way, kernel moved after %d ms; ", $i * 20, $(i + 3)
    print "first, middle and last prefix, one way to each"
    for (i = 1; i <= 3; i++) if ($i < 1 || $(i + 3) < 1 || $i * 20 > $(i + 3) + 300) bad = 1
    exit bad }' <<<"$lost $kernel" | tee "$STATE/follow"
  feed_is_whole
}
# Which routers the gateway's kernel has for the feed's addresses: milliseconds since the cut, and the routers, whenever they change.
kernel_moves() {
  local address began now before=''
  for address in $FEED_ANSWERS; do echo "route get $address"; done >"$STATE/ask"
  # As late as lost_during lets the cut be.
  sleep 1
  began=$(milliseconds)
  while (($(milliseconds) - began < 7500)); do
    now=$(ns gw ip -o -batch "$STATE/ask" | awk '{printf " %s", $3}')
    [[ $now == "$before" ]] || echo "$(($(milliseconds) - began))$now"
    before=$now
    sleep 0.02
  done
}

# While some of the feed is withdrawn and comes back, the rest is reached as if nothing were.
feed_flaps() {
  local lost stays returns
  lost=$(lost_during "$FEED_STAYS $FEED_RETURNS" 6 flap "$(learnt "$STATE")")
  read -r stays returns <<<"$lost"
  expect "lost pings to a prefix that stays" "$stays" 0
  expect_at_least "lost pings to a prefix that was away" "$returns" 1
  await 1 gets "$FEED_RETURNS"
}
flap() {
  local all=$1 began
  began=$(milliseconds)
  feed_switch disable flaps b1 b2
  await 20 learnt_about $((all - FLAPS)) || { echo "learnt $(learnt "$STATE") of $all"; return 1; }
  echo "$FLAPS withdrawn: $(($(milliseconds) - began)) ms" >"$STATE/flap"
  sleep 0.2
  began=$(milliseconds)
  feed_switch enable flaps b1 b2
  await 20 learnt_about "$all" || { echo "learnt $(learnt "$STATE") of $all"; return 1; }
  echo "$FLAPS announced again: $(($(milliseconds) - began)) ms" >>"$STATE/flap"
}

# What the client hears: gets ADDRESS
gets() { ns client ping -q -c 2 -i 0.05 -W 1 "$1"; }
