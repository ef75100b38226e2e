# shellcheck shell=bash
# A host scans a link behind the gateway: it loses its own packets, and nobody else's. Neighbours in use stay, and so do static ones.

SCANNED=fd00:2:0:0:5::
# Some 20,000 addresses a second, one packet each, until told to end.
scan() {
  spawn client "$STATE/scan" "$PYTHON" -c "
import ipaddress, socket
link = int(ipaddress.ip_address('$SCANNED'))
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
while True:
    for station in range(1, 60000):
        try:
            udp.sendto(b'', (str(ipaddress.ip_address(link + station)), 9))
        except OSError:
            pass
"
  SCAN=$SPAWNED
}
scan_ends() { kill "$SCAN" 2>/dev/null || true; wait "$SCAN" 2>/dev/null || true; }
dropped_more() { (($(dropped "$1") > $2)); } # dropped_more REASON COUNT
neighbours() { show neighbours --json | jq "[.neighbors[] | select($1)] | length"; } # neighbours CONDITION

scan_harms_nobody() {
  local before limited seen status=0
  printf '[neighbor_table]\nentries = 64\nquestions_per_second = 200\n[[neighbor]]\ninterface = "web0"\naddress = "fd00:2::77"\nmac = "02:00:00:00:00:77"\n' | extended || return 1
  ns client ping -q -c2 -i 0.2 -W1 fd00:2::11 || return 1
  ns client ping -q -c2 -i 0.2 -W1 10.0.3.11 || return 1
  before=$(dropped neighbor_table_full) limited=$(dropped neighbor_rate_limited)
  scan
  await 20 dropped_more neighbor_rate_limited "$((${limited:-0} + 1000))" || { echo "no question was refused"; status=1; }
  await 20 dropped_more neighbor_table_full "$((${before:-0} + 100))" || { echo "the table never filled"; status=1; }
  # Through the link that is scanned, and through another; a hundred each, of which none is lost.
  seen=$(ns client ping -q -c100 -i 0.02 -W2 fd00:2::11) || status=1
  expect "packets on the scanned link" "$seen" '*100 received*' || status=1
  seen=$(ns client ping -q -c100 -i 0.02 -W2 10.0.3.11) || status=1
  expect "packets on another link" "$seen" '*100 received*' || status=1
  # Nor does who is new on that other link wait behind the scan's questions. The table is one for all links, and in a third of a second
  # the scan fills it anew: on a machine that is busy the first packet may go with its entry.
  ns b2 ip address add fd00:3::12/64 dev eth0 nodad
  seen=$(ns client ping -q -c5 -i 0.2 -W2 fd00:3::12) || status=1
  expect "a new neighbour on another link" "$seen" '*[45] received*' || status=1
  ((64 >= $(neighbours '.state != "static"'))) || { echo "more neighbours than the limit"; status=1; }
  expect "static neighbours" "$(neighbours '.address == "fd00:2::77" and .state == "static"')" 1 || status=1
  kill -0 "$SCAN" || { echo "the scan ended before the checks"; cat "$STATE/scan"; status=1; }
  scan_ends
  return "$status"
}
# Whoever was not known is found again when the scan is over.
new_neighbour_after_a_scan() {
  ns b1 ip address add fd00:2::12/64 dev eth0 nodad
  await 10 ns client ping -q -c1 -W2 fd00:2::12
}

check scan-harms-nobody scan_harms_nobody
check new-neighbour-after-a-scan new_neighbour_after_a_scan
