# shellcheck shell=bash
# Frames that no sender should send (tests/bad_input): each is lost for its reason, no buffer stays behind, traffic goes on.

export STATE
# A TAP's bridge drops what is malformed itself when it hands packets to a firewall.
ns gw sysctl -qw net.bridge.bridge-nf-call-{ip,ip6,arp}tables=0 2>/dev/null || true

carries_on() {
  # The corpus holds claims to the client's own addresses, and the client's kernel may have heard them.
  ns client ip neighbor flush dev eth0
  ns client ping -q -c 3 -i 0.05 -W1 10.0.2.11
  ns client ping -q -c 3 -i 0.05 -W1 fd00:2::11
  expect "page" "$(ns client curl -s --max-time 5 http://10.0.1.1/)" 'This is backend ?*'
}

check before-all-of-it carries_on
python_cases bad_input.py
check traffic-goes-on carries_on
