# shellcheck shell=bash disable=SC2016 # the backquotes are those of messages
# `tidegate show`: each part of the state, each filter, as a table and as JSON.

ask() { # ask JQ-FILTER show ARGUMENTS… — the filter's answer about the JSON
  local filter=$1
  shift
  show "$@" --json | jq -r "$filter"
}

ports_have_addresses_and_counts() {
  ns client ping -q -c3 -i 0.05 -W1 10.0.1.1
  expect 'table' "$(show ports)" $'PORT *lan *web0*INTERFACE*ADDRESS*lan*10.0.1.1/24*in use*'
  expect_at_least 'packets received' "$(ask '.ports[] | select(.name == "lan") | .rx_packets' ports)" 3
  expect 'addresses' "$(ask '.addresses[0] | .interface + " " + .address + " " + .standing' ports --port lan)" 'lan 10.0.1.1/24 in-use'
  expect 'one port' "$(ask '.ports | length' ports --port web1)" 1
  expect 'rates' "$(ask '.ports[0].rates | has("rx_packets_per_s")' ports --port lan --rates)" true
  expect 'refusal' "$(refuse show ports --port wan)" '*no port `wan`; there are: lan, web0, web1*'
}

neighbours_are_those_of_the_cores() {
  ns client ping -q -c2 -i 0.05 -W1 10.0.2.11
  local mac
  mac=$(ns client cat /sys/class/net/eth0/address)
  expect 'table' "$(show neighbours)" "INTERFACE*lan*10.0.1.100*$mac*"
  expect 'state' "$(ask '.neighbors[] | select(.address == "10.0.1.100") | .mac' neighbors)" "$mac"
  expect 'interfaces' "$(ask '[.neighbors[].interface] | unique | join(" ")' neighbours --interface lan)" lan
  # Nobody has this address: it is asked for, and packets wait.
  ns client ping -q -c2 -i 0.05 -W0.1 10.0.2.250 || true
  expect 'asked for' "$(ask '.neighbors[] | .address + " " + (.mac | tostring) + " " + (.waiting | tostring)' neighbours --state incomplete)" '10.0.2.250 null [12]'
  expect 'none' "$(show neighbours --state static)" 'no neighbour'
  expect 'refusal' "$(refuse show neighbours --interface wan)" '*no interface `wan`*'
}

routes_are_found() {
  expect 'table' "$(show routes)" $'TO *FROM *ACTION*10.0.1.0/24*connected*forward*lan*'
  expect 'all' "$(ask '.routes | length' routes)" "$(ask .shown routes)"
  expect 'exact' "$(ask '.routes[] | .to + " " + .source + " " + .action' routes --exact 10.66.0.0/16)" '10.66.0.0/16 static blackhole'
  expect 'longest' "$(ask '.routes[] | .to + " " + .via + " " + .interface' routes --longest 172.16.5.5)" '172.16.0.0/16 10.0.1.100 lan'
  expect 'longest IPv6' "$(ask '.routes[].to' routes --longest fd00:2::77)" 'fd00:2::/64'
  expect 'no route' "$(show routes --longest 192.0.2.1)" 'no route'
  expect 'within' "$(ask '[.routes[].to] | sort | join(" ")' routes --to 10.0.1.0/24)" '10.0.1.0/24 10.0.1.0/32 10.0.1.1/32 10.0.1.255/32'
  expect 'an address' "$(ask '.routes[] | .to + " " + .source' routes --to 10.0.1.1)" '10.0.1.1/32 local'
  expect 'sources' "$(ask '[.routes[].source] | unique | join(" ")' routes --source connected)" connected
  expect 'interfaces' "$(ask '[.routes[].interface] | unique | join(" ")' routes --interface web1)" web1
  expect 'via' "$(ask '.routes[].to' routes --via 10.0.1.100)" 172.16.0.0/16
  expect 'more' "$(show routes --limit 2 | tail -n 1)" '[0-9]* more; --limit 0 shows all*'
  expect 'the rest is counted' "$(ask '.shown + .more' routes --limit 2)" "$(ask .shown routes --limit 0)"
  expect 'refusal' "$(refuse show routes --to 10.0.1.1/33)" '*10.0.1.1/33*'
  expect 'bits behind the prefix' "$(refuse show routes --exact 10.0.1.1/24)" '*has bits set behind its 24 bit prefix: write 10.0.1.0/24*'
  expect 'of no interface' "$(ask '.routes[] | .interface' routes --exact 255.255.255.255/32)" null
}

drops_say_what_they_mean() {
  ns client ping -q -c3 -i 0.05 -W0.1 10.66.1.1 || true
  expect_at_least 'lost' "$(ask '.drops[].packets' drops --reason blackhole)" 3
  expect 'table' "$(show drops --nonzero)" 'REASON *PACKETS*MEANING*blackhole*The route is a blackhole.*'
  expect 'only those that occurred' "$(ask '[.drops[].packets] | min > 0' drops --nonzero)" true
  expect 'a family' "$(ask '[.drops[].reason[:4]] | unique | join(" ")' drops --reason 'tcp_*')" tcp_
  expect 'rates' "$(ask '.drops[0] | has("packets_per_s")' drops --reason blackhole --rates)" true
  expect 'refusal' "$(refuse show drops --reason no_rout)" '*is `no_route` meant?*'
}

cores_have_stages() {
  expect 'table' "$(show cores)" 'CPU *BUSY %*stages on CPU*l3_route*'
  # In packet order.
  expect 'stages' "$(show cores)" $'*\nrx *\nl2_parse *\nl2_input *\nl3_input *\nl3_route *\nl2_output *\ntx *'
  expect_at_least 'packets of a stage' "$(ask '.cores[0].stages.l3_route.packets' cores)" 1
  expect 'refusal' "$(refuse show cores --cpu 999)" '*no core is on that CPU*'
}

show_into_full() { show cores --watch=0.1 >/dev/full; }
watching_repeats() {
  local lines
  # Whoever reads may go; what cannot be written is a failure.
  "$BINARY" show cores --watch=0.1 --socket "$STATE/admin.sock" | head -n 3 >/dev/null
  expect 'a full disk' "$(refuse show_into_full)" '*cannot write to standard output*'
  timeout 3 "$BINARY" show drops --json --watch=0.5 --socket "$STATE/admin.sock" >"$STATE/watched" || true
  lines=$(jq -c '.drops[0].reason' "$STATE/watched" | wc -l)
  expect_at_least 'documents in three seconds' "$lines" 4
}

# Another station has one of our addresses: that is seen without reading the log.
disputes_are_shown() {
  local mac
  mac=$(ns client cat /sys/class/net/eth0/address)
  ns client "$PYTHON" -c "from scapy.all import *; sendp(Ether(src='$mac', dst='ff:ff:ff:ff:ff:ff')/ARP(op=1, hwsrc='$mac', psrc='10.0.1.1', pdst='10.0.1.1'), iface='eth0', verbose=False)"
  await 5 disputed || { show ports; return 1; }
  expect 'table' "$(show ports)" "*10.0.1.1/24*$mac*s ago*in use*"
}
disputed() { [[ $(ask '.addresses[0].disputed_by' ports --port lan) != null ]]; }

for case in ports_have_addresses_and_counts neighbours_are_those_of_the_cores routes_are_found drops_say_what_they_mean \
  cores_have_stages watching_repeats disputes_are_shown; do
  check "$case" "$case"
done
