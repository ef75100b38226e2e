# shellcheck shell=bash
# The router as the tools of other hosts see it, in a chain: client — gateway — b2 — far. One wire of the gateway and one behind it
# are narrower than the others.

far_up 1280
ns b1 ip link set eth0 mtu 1400
cat >>"$STATE/gateway.toml" <<'TOML'

[[route]]
to = "10.0.4.0/24"
via = "10.0.3.11"

[[route]]
to = "fd00:4::/64"
via = "fd00:3::11"
TOML
# A port's MTU is given to it when it is opened.
sed -i '/^name = "web0"/a mtu = 1400' "$STATE/gateway.toml"
gateway_stop "$STATE"
gateway_start "$DRIVER" "$STATE"
# Everybody knows their neighbours: no probe is spent on asking for one.
for target in 10.0.4.12 fd00:4::12 10.0.2.11 fd00:2::11; do
  await 5 ns client ping -q -c 1 -W 1 "$target" || true
done

# said PATTERN… -- COMMAND… — the output has these, in this order, each on a line of its own
said() {
  local patterns=() output pattern
  while [[ $1 != -- ]]; do patterns+=("$1"); shift; done
  shift
  output=$("$@" 2>&1) || true
  printf '%s\n' "$output"
  for pattern in "${patterns[@]}"; do
    grep -qE "$pattern" <<<"$output" || { echo "nothing (more) like: $pattern"; return 1; }
    output=$(sed -E "0,/${pattern//\//\\/}/d" <<<"$output")
  done
}
hops() { # hops TARGET OPTIONS… — the three of the chain, by name of address only
  local target=$1 router=10.0.1.1 b2=10.0.3.11
  shift
  [[ $target != *:* ]] || router=fd00:1::1 b2=fd00:3::11
  said "^ 1 +$router " "^ 2 +$b2 " "^ 3 +$target " -- ns client traceroute -n -w 2 "$@" "$target"
}
reaches_the_gateway() { # the last hop is the gateway, by whichever of its addresses was asked for
  said "^ 1 +10\.0\.3\.1 " -- ns client traceroute -n -w 2 "$@" 10.0.3.1
  said "^ 1 +fd00:3::1 " -- ns client traceroute -n -w 2 "$@" fd00:3::1
}
report() { # report TARGET OPTIONS… — no hop of mtr's is lost
  local target=$1 router=10.0.1.1 b2=10.0.3.11
  shift
  [[ $target != *:* ]] || router=fd00:1::1 b2=fd00:3::11
  said "1\.\|-- $router +0\.0% " "2\.\|-- $b2 +0\.0% " "3\.\|-- $target +0\.0% " -- \
    ns client mtr -n -w -r -c 4 -i 0.2 -G 1 "$@" "$target"
}
# The first probe of 1500 bytes learns of 1280 from the router behind, the second gets there.
tracepath_behind() { said 'pmtu 1280' "$1 .*reached" 'Resume: pmtu 1280 hops 3 back 3' -- ns client tracepath -n "$1"; }
# The gateway's own narrow wire: it is the gateway that says so.
tracepath_here() { said "$2 .*pmtu 1400" "$1 .*reached" 'Resume: pmtu 1400 hops 2 back 2' -- ns client tracepath -n "$1"; }

forget_paths() { ns client ip route flush cache; ns client ip -6 route flush cache; }
# Every class of sizes, with an IPv4 header of 20 and an ICMP header of 8 bytes: none, one, around the MTU, pieces, the most there is.
pings() { # pings TARGET MTU HEADERS LARGEST
  local target=$1 mtu=$2 headers=$3 size
  for size in 0 1 $((mtu - headers - 1)) $((mtu - headers)) $((mtu - headers + 1)) 2000 $((2 * mtu)) 9000 "$4"; do
    forget_paths
    # What is too long for the way is told to the sender, who sends the next one in pieces.
    ns client ping -q -c 3 -i 0.05 -W 1 "$target" -s "$size" >"$STATE/ping" 2>&1 || { echo "size $size"; cat "$STATE/ping"; return 1; }
  done
}
pings_df() { # pings_df TARGET MTU HEADERS TOLD — up to the MTU all pass, and the first that is longer is told about
  local target=$1 fits=$(($2 - $3))
  forget_paths
  ns client ping -q -c 2 -i 0.05 -W 1 -M 'do' -s "$fits" "$target"
  said "$4" -- ns client ping -c 1 -W 1 -M 'do' -s $((fits + 1)) "$target"
}
# What the gateway is told to cut anyway: DF is not set, whatever the kernel has learnt.
pings_cut() {
  local size
  for size in 1372 1373 1472 1473 4000 65507; do
    ns client ping -q -c 2 -i 0.05 -W 1 -M dont -s "$size" 10.0.2.11 || { echo "size $size"; return 1; }
  done
}

listens() { [[ -n $(ns b2 ss -Hltn "sport = :5201") ]]; }
perf() { # perf SERVER OPTIONS… — what iperf3 measures, as JSON in STATE/perf
  local server=$1
  shift
  ns client timeout 20 iperf3 -c "$server" -t 1 --connect-timeout 3000 -J "$@" >"$STATE/perf" || { jq -r .error "$STATE/perf"; return 1; }
}
perf_tcp() { # perf_tcp SERVER OPTIONS…
  perf "$@"
  jq '.end.sum_received' "$STATE/perf"
  expect_at_least "received, bit/s" "$(jq '.end.sum_received.bits_per_second | floor' "$STATE/perf")" 50000000
}
perf_udp() { # perf_udp SERVER OPTIONS… — 2000 datagrams and more, hardly one of them lost
  perf "$@" -u -b 20M -l 1000
  jq '.end.sum' "$STATE/perf"
  expect_at_least "datagrams" "$(jq '.end.sum.packets' "$STATE/perf")" 2000
  jq -e '.end.sum.lost_percent < 1' "$STATE/perf"
}

for target in 10.0.4.12 fd00:4::12; do
  family=v4
  [[ $target != *:* ]] || family=v6
  check "traceroute-udp-$family" hops "$target"
  check "traceroute-icmp-$family" hops "$target" -I
  check "traceroute-tcp-$family" hops "$target" -T -p 80
  check "mtr-icmp-$family" report "$target"
  check "mtr-udp-$family" report "$target" -u
  check "mtr-tcp-$family" report "$target" -T
  check "tracepath-behind-$family" tracepath_behind "$target"
done
check traceroute-udp-to-the-gateway reaches_the_gateway
check traceroute-icmp-to-the-gateway reaches_the_gateway -I
check traceroute-tcp-to-the-gateway reaches_the_gateway -T -p 80
forget_paths
check tracepath-here-v4 tracepath_here 10.0.2.11 10.0.1.1
check tracepath-here-v6 tracepath_here fd00:2::11 fd00:1::1
check pings-wide-v4 pings 10.0.3.11 1500 28 65507
check pings-wide-v6 pings fd00:3::11 1500 48 65487
check pings-narrow-v4 pings 10.0.2.11 1400 28 65507
check pings-narrow-v6 pings fd00:2::11 1400 48 65487
check pings-behind-v4 pings 10.0.4.12 1280 28 65507
check pings-behind-v6 pings fd00:4::12 1280 48 65487
check pings-df-v4 pings_df 10.0.2.11 1400 28 'From 10\.0\.1\.1 .*Frag needed and DF set \(mtu = 1400\)'
check pings-df-v6 pings_df fd00:2::11 1400 48 'From fd00:1::1 .*Packet too big: mtu=1400'
check pings-cut-by-the-gateway pings_cut

spawn b2 "$STATE/iperf3" iperf3 -s
IPERF=$SPAWNED
disown "$IPERF"
await 5 listens
for target in 10.0.3.11 fd00:3::11; do
  family=v4
  [[ $target != *:* ]] || family=v6
  check "iperf3-tcp-$family" perf_tcp "$target"
  check "iperf3-tcp-back-$family" perf_tcp "$target" -R
  check "iperf3-udp-$family" perf_udp "$target"
  check "iperf3-udp-back-$family" perf_udp "$target" -R
done
kill "$IPERF" 2>/dev/null || true

ns b1 ip link set eth0 mtu 1500
far_down
