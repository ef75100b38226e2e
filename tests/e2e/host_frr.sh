# shellcheck shell=bash
# scripts/test: config=host.toml
# FRR on the gateway, on ports that Tidegate owns: BGP with BFD and equal-cost ways, as next-hop groups in the kernel.
# shellcheck source=scripts/lib/daemons.sh
source "$ROOT/scripts/lib/daemons.sh"

FRR=$STATE/frr
# A peer that was lost is tried again soon.
AGAIN='connect delay time 1; connect retry time 2; error wait time 1, 2;'
FRR_DAEMONS=(zebra bgpd bfdd ospfd)
for host in b1 b2; do ns "$host" ip address replace 10.77.0.1/32 dev lo; done
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
 neighbor 10.0.2.11 bfd 3 100 100
 neighbor 10.0.3.11 remote-as 65002
 neighbor 10.0.3.11 bfd 3 100 100
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
  bird_start "$1" <<CONF
router id $2;
log stderr all;
protocol device { }
protocol bfd { interface "eth0" { interval 100 ms; multiplier 3; }; }
protocol static own { ipv4; route 10.77.0.0/16 blackhole; }
protocol bgp up4 {
  local $2 as 65$3; neighbor $4 as 65000; bfd on; $AGAIN
  ipv4 { import none; export where source = RTS_STATIC; next hop self; };
}
ipv4 table ospf4;
protocol static inside { ipv4 { table ospf4; }; route 10.78.0.0/16 blackhole; }
protocol ospf v2 o4 { ipv4 { table ospf4; import none; export all; }; area 0 { interface "eth0" { hello 1; dead count 4; wait 2; }; }; }
CONF
}
daemons_start() {
  peer b1 10.0.2.11 001 10.0.2.1
  peer b2 10.0.3.11 002 10.0.3.1
  frr_starts
}
gets() { ns client ping -q -c 2 -i 0.05 -W 1 "$1"; }
bgp_is_up() {
  await 30 established 2 || { vty show bgp summary; return 1; }
}
established() { (($(vty show bgp neighbors | grep -c 'BGP state = Established') >= $1)); }
# FRR hands the kernel a group of next hops, and both come over.
equal_cost_is_learnt() {
  await 10 has_both || { ns gw ip route show 10.77.0.0/16; return 1; }
  await 10 gets 10.77.0.1
}
has_both() { (($(ns gw ip route show 10.77.0.0/16 | grep -c "nexthop via 10.0.[23].11 dev host[12]") == 2)); }
ospf_routes_forward() { await 30 gets 10.78.0.1 || { vty show ip ospf neighbor; return 1; }; }
bfd_is_up() { await 15 bfd_peers_up 2 || { vty show bfd peers; return 1; }; }
bfd_peers_up() { (($(vty show bfd peers | grep -c 'Status: up') >= $1)); }
cut_next_hop() { # the traffic may be on either: one is cut and mended, then the other
  local host lost
  : >"$STATE/cut"
  for host in b1 b2; do
    lost=$(lost_during 10.77.0.1 6 cut_wire "$host")
    mend_wire "$host"
    echo "$((lost * 20)) ms without a way after $host was cut, by BFD (3 times 100 ms)" >>"$STATE/cut"
    ((lost < 50)) || { cat "$STATE/cut"; return 1; }
    await 30 established 2
    await 10 gets 10.77.0.1
  done
}

check daemons-start daemons_start
check bgp-is-up bgp_is_up
check equal-cost-is-learnt equal_cost_is_learnt
check ospf-routes-forward ospf_routes_forward
check bfd-is-up bfd_is_up
check cut-next-hop-moves-traffic cut_next_hop
[[ ! -s $STATE/cut ]] || sed 's/^/        /' "$STATE/cut"
frr_stop
for host in b1 b2; do bird_stop "$host"; done
