# shellcheck shell=bash
# load side and origin side of a program under test, a veth pair each; its kernel work is on CPU 1, theirs on CPU 0
#
#   load-NAME  load0   10.0.1.100 ── lan0  10.0.1.1  gw-NAME
#   load-NAME  origin0 10.0.2.11  ── web0  10.0.2.1  gw-NAME
#
# The load side's kernel has the addresses only if the load is a program of the kernel's (wrk); the program's side only if the
# program under test is.

network_up() { # network_up PROGRAM
  local program=$1 load=load-$1 gw=gw-$1
  ip netns add "$PREFIX-$load"
  ip netns add "$PREFIX-$gw"
  wire_namespace "$load"
  wire_namespace "$gw"
  wire_lan "$program"
  wire_pair "$load" origin0 "$gw" web0
  if [[ $(program_stack "$program") == kernel ]]; then
    wire_address "$gw" lan0 10.0.1.1
    wire_address "$gw" web0 10.0.2.1
  fi
  if load_uses_kernel; then
    wire_address "$load" load0 10.0.1.100
    wire_address "$load" origin0 10.0.2.11
  fi
  wire_checksums "$program"
  wire_done "$program"
}

# What other topologies have instead of a plain wire on the load's side, and at the end.
wire_lan() { wire_pair "load-$1" load0 "gw-$1" lan0; }
wire_done() { :; }

# Sockets may be many and short-lived.
wire_namespace() {
  ns "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
    net.ipv4.ip_local_port_range="1024 65535" net.ipv4.tcp_tw_reuse=1 net.core.somaxconn=8192 net.ipv4.tcp_max_syn_backlog=8192
  ns "$1" ip link set lo up
}

wire_pair() { # wire_pair NAMESPACE END NAMESPACE END [CPU OF THE SECOND END]
  ip link add "$2" netns "$PREFIX-$1" type veth peer name "$4" netns "$PREFIX-$3"
  wire_end "$1" "$2" "$LOAD_CPU"
  wire_end "$3" "$4" "${5:-$PROGRAM_CPU}"
}

# A veth does the receiver's work on the sender's CPU, unless its end has a NAPI thread of its own. Those are named after the
# end and belong to no namespace: all of a name go to the same CPU.
wire_end() { # wire_end NAMESPACE END CPU
  local pid
  ns "$1" ip link set "$2" up
  ns "$1" ethtool -K "$2" gro on >/dev/null
  ns "$1" sh -c "echo 1 >/sys/class/net/$2/threaded"
  for pid in $(pgrep "^napi/$2-"); do taskset -cp "$3" "$pid" >/dev/null 2>&1 || true; done
}

# CUBIC, which is what the peers' figures elsewhere were made with; as a property of the route, because a kernel may forbid a
# namespace another default than its own.
wire_address() { # wire_address NAMESPACE END ADDRESS
  ns "$1" ip address add "$3/24" dev "$2"
  ns "$1" ip route change "${3%.*}.0/24" dev "$2" proto kernel scope link src "$3" congctl cubic
}

# A partial checksum is finished by a NIC, and there is none on a wire that an AF_XDP socket reads: there the kernel's end
# computes them. Between two kernel ends all offloads stay on.
wire_checksums() {
  if ! load_uses_kernel; then
    wire_without tso "load-$1" load0 origin0
    if [[ $(program_stack "$1") == kernel || $PORT == tap ]]; then wire_without tx "gw-$1" lan0 web0; fi
  elif [[ $(program_stack "$1") == kernel || $PORT == tap ]]; then
    wire_steer "gw-$1" "$PROGRAM_CPU" lan0 web0
    wire_steer "load-$1" "$LOAD_CPU" load0 origin0
  else
    wire_without tx "load-$1" load0 origin0
    wire_without tso "gw-$1" lan0 web0
  fi
}

# An end that might send super-segments makes its peer do without NAPI: what the kernel does with a received packet it would do on the
# sender's CPU, all of the receiver's TCP included. Where an end sends none, it says so.
wire_without() { # wire_without OFFLOAD NAMESPACE END…
  local end
  for end in "${@:3}"; do ns "$2" ethtool -K "$end" "$1" off >/dev/null; done
}

# Where it sends some, they are steered to the receiver's CPU.
wire_steer() { # wire_steer NAMESPACE CPU END…
  local end
  for end in "${@:3}"; do ns "$1" sh -c "printf %x $((1 << $2)) >/sys/class/net/$end/queues/rx-0/rps_cpus"; done
}
