# shellcheck shell=bash
# scripts/test: config=host.toml
# FRR on the gateway, on ports that Tidegate owns: BGP with BFD and equal-cost ways, as next-hop groups in the kernel.
# shellcheck source=scripts/lib/daemons.sh
source "$ROOT/scripts/lib/daemons.sh"

FRR=$STATE/frr
BOTH='10.0.2.11 web0 1 10.0.3.11 web1 1'
FRR_DAEMONS=(zebra bgpd bfdd ospfd)
for host in b1 b2; do
  ns "$host" ip address replace 10.77.0.1/32 dev lo
  feed_answers "$host"
done
ns b1 ip address replace 10.78.0.1/32 dev lo

frr_starts() {
  local daemon extra
  rm -rf "$FRR"
  mkdir -p "$FRR"
  chown frr:frr "$FRR"
  cat >"$FRR/frr.conf" <<'CONF'
log stdout
ip nht resolve-via-default
router bgp 65000
 bgp router-id 10.0.1.1
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 timers bgp 3 9
 neighbor 10.0.2.11 remote-as 65001
 neighbor 10.0.2.11 bfd 3 50 50
 neighbor 10.0.3.11 remote-as 65002
 neighbor 10.0.3.11 bfd 3 50 50
 address-family ipv4 unicast
  maximum-paths 4
 exit-address-family
router ospf
 ospf router-id 10.0.1.1
 network 10.0.2.0/24 area 0
interface host1
 ip ospf hello-interval 1
 ip ospf dead-interval 4
CONF
  for daemon in "${FRR_DAEMONS[@]}"; do
    extra=()
    [[ $daemon != bfdd ]] || extra=(--bfdctl "$FRR/bfdd.sock")
    spawn gw "$FRR/$daemon.log" "/usr/lib/frr/$daemon" -u frr -g frr -f "$FRR/frr.conf" -i "$FRR/$daemon.pid" \
      -z "$FRR/zserv" --vty_socket "$FRR" --log stdout "${extra[@]}"
    disown "$SPAWNED"
    await 5 test -S "$FRR/$daemon.vty" || { cat "$FRR/$daemon.log"; return 1; }
  done
}
frr_stop() {
  local daemon
  for daemon in "${FRR_DAEMONS[@]}"; do
    [[ ! -s $FRR/$daemon.pid ]] || kill "$(cat "$FRR/$daemon.pid")" 2>/dev/null || true
  done
}
vty() { ns gw vtysh --vty_socket "$FRR" -c "$*"; }
peer() { # peer NS ADDRESS AS ROUTER-ADDRESS
  {
    cat <<CONF
router id $2;
log stderr all;
protocol device { }
protocol bfd { interface "eth0" { interval 50 ms; multiplier 3; }; }
protocol static own { ipv4; route 10.77.0.0/16 blackhole; }
protocol bgp up4 {
  local $2 as 65$3; neighbor $4 as 65000; bfd on; $AGAIN
  ipv4 { import none; export where source = RTS_STATIC; next hop self; };
}
ipv4 table ospf4;
protocol static inside { ipv4 { table ospf4; }; route 10.78.0.0/16 blackhole; }
protocol ospf v2 o4 { ipv4 { table ospf4; import none; export all; }; area 0 { interface "eth0" { hello 1; dead count 4; wait 2; }; }; }
CONF
    feed_config
  } | bird_start "$1"
}
daemons_start() {
  peer b1 10.0.2.11 001 10.0.2.1
  peer b2 10.0.3.11 002 10.0.3.1
  frr_starts
}
bgp_is_up() {
  await 30 established 2 || { vty show bgp summary; return 1; }
}
established() { (($(vty show bgp neighbors | grep -c 'BGP state = Established') >= $1)); }
# FRR hands the kernel a group of next hops, and both come over.
equal_cost_is_learnt() {
  await 10 has_hops "$STATE" 10.77.0.0/16 "$BOTH" || { ns gw ip route show 10.77.0.0/16; hops_of "$STATE" 10.77.0.0/16; return 1; }
  await 10 gets 10.77.0.1
}
ospf_routes_forward() { await 30 gets 10.78.0.1 || { vty show ip ospf neighbor; return 1; }; }
bfd_is_up() { await 15 bfd_peers_up 2 || { vty show bfd peers; return 1; }; }
bfd_peers_up() { (($(vty show bfd peers | grep -c 'Status: up') >= $1)); }
feed_is_whole() {
  await 30 established 2
  # OSPF's route went with the wire too, and is not the feed's.
  await 30 gets 10.78.0.1
  await 30 routes_rest
  await 10 has_hops "$STATE" "${FEED_RETURNS%.*}.0/24" "$BOTH"
}

check daemons-start daemons_start
check bgp-is-up bgp_is_up
check equal-cost-is-learnt equal_cost_is_learnt
check ospf-routes-forward ospf_routes_forward
check bfd-is-up bfd_is_up
# What the feed asks of the data plane is the same on a TAP.
if [[ $DRIVER == af_xdp ]]; then
  check feed-is-installed feed_is_installed
  told "$STATE/feed"
  # Which way an address takes, the data plane has chosen: one of the two is that of each.
  check cut-next-hop-moves-traffic cut_moves_traffic b1 b2
  told "$STATE/cut"
  check flap-under-traffic-loses-nothing feed_flaps
  told "$STATE/flap"
fi
frr_stop
for host in b1 b2; do bird_stop "$host"; done
