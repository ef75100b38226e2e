# shellcheck shell=bash
# Routing daemons for the scenarios that need them: BIRD in any namespace, FRR in the gateway's, each with sockets of its own.

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

milliseconds() { echo $((${EPOCHREALTIME/./} / 1000)); }

# What a client's ping every 20 ms loses while a command runs: lost_during ADDRESS SECONDS COMMAND…
lost_during() {
  local address=$1 seconds=$2 pinger
  shift 2
  spawn client "$STATE/ping" ping -q -i 0.02 -c $((seconds * 50)) -W 1 "$address"
  pinger=$SPAWNED
  sleep 1
  "$@" >&2
  wait "$pinger" || true
  sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 \2/p' "$STATE/ping" | awk '{print $1 - $2}'
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
