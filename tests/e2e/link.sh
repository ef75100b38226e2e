# shellcheck shell=bash disable=SC2016 # the backquotes are those of messages
# scripts/test: config=host.toml
# Links that fail: a wire without carrier, an interface that is set down or deleted, the kernel's end of a host link taken away.

# Hundredths of a second of CPU time that the gateway has used, and turns of its core.
used() { awk '{print $14 + $15}' "/proc/$(cat "$STATE/gateway.pid")/stat"; }
turns() { admin "$STATE" /metrics | awk '/^tidegate_core_turns_total/ {turns += $2} END {printf "%d", turns}'; }
# For three seconds it sleeps most of the time. A core that spins takes 300 hundredths and more on a machine that has nothing else to
# do, an idle gateway about 10; on a busy machine the turns tell, ten thousand in that time with sleep, hundreds of thousands without.
rests() {
  local before began spent
  before=$(used) began=$(turns)
  sleep 3
  spent=$(($(used) - before))
  echo "$spent hundredths of a second of CPU time and $(($(turns) - began)) turns in three seconds"
  ((spent < 120 && $(turns) - began < 75000))
}


link_of() { show ports --port "$1" --json | jq -r '.ports[0].link'; }
is() { [[ $(link_of "$1") == "$2" ]]; }
becomes() { await 5 is "$1" "$2" || { show ports; tail -n 5 "$STATE/gateway.log"; return 1; }; } # becomes PORT STATE
of_port() { show ports --port "$1" --json | jq -r ".ports[0].$2"; } # of_port PORT COUNTER
says() { grep -q "$1" "$STATE/gateway.log" || { tail -n 5 "$STATE/gateway.log"; return 1; }; }
carrier() { [[ $(ns gw cat "/sys/class/net/$1/carrier") == "$2" ]]; } # carrier INTERFACE 0|1
is_up() { admin "$STATE" /metrics | sed -n "s/^tidegate_port_up{port=\"$1\"} //p"; }
reaches_b2() { ns client ping -q -c 1 -W1 10.0.3.11; }

# What is routed to a port whose link is down is an error of that port, and nothing that it has sent.
nothing_leaves_by_web1() {
  local sent errors lost
  sent=$(of_port web1 tx_packets) errors=$(of_port web1 tx_errors) lost=$(dropped tx_error)
  ns client ping -q -c 5 -i 0.05 -W0.2 10.0.3.11 && return 1
  expect "packets sent" "$(of_port web1 tx_packets)" "$sent"
  expect_at_least "errors" "$(of_port web1 tx_errors)" $((errors + 1))
  expect_at_least "drops" "$(dropped tx_error)" $((lost + 1))
}
# What goes down is told in the same way everywhere: web1_is STATE
web1_is() {
  becomes web1 "$1"
  expect "metric" "$(is_up web1) $(is_up lan)" "0 1"
  await 2 carrier host2 0
  expect "filter" "$(show ports --link "$1" --json | jq -r '[.ports[].name] | join(" ")')" 'web1*'
  nothing_leaves_by_web1
}
web1_is_back() {
  becomes web1 up
  says 'link up.*port="web1"'
  expect "metric" "$(is_up web1)" 1
  await 2 carrier host2 1
  await 5 reaches_b2
  expect "addresses of the kernel's end" "$(ns gw ip -br address show host2)" '*10.0.3.1/24*fd00:3::1/64*'
  expect "addresses in doubt" "$(ns gw ip -6 address show dev host2 tentative)" ''
}

wire_without_carrier() {
  reaches_b2
  ns b2 ip link set eth0 down
  web1_is no-carrier
  says 'link down: no carrier.*port="web1"'
  host_speaks b2
  web1_is_back
}
interface_set_down() {
  reaches_b2
  ns gw ip link set web1 down
  web1_is down
  says 'link down: the interface was set down.*port="web1"'
  ns gw ip link set web1 up
  web1_is_back
}

# The kernel's end of a host link is deleted: the port itself works on, and the core still sleeps.
host_link_deleted() {
  ns gw ip link delete host1
  becomes web0.host gone
  rests
  expect "the port" "$(link_of web0)" up
  ns client ping -q -c 3 -i 0.05 -W1 10.0.2.11
}
device_deleted() {
  ns gw ip link delete web1
  web1_is gone
  says 'link down for good.*port="web1"'
  rests
  expect "health" "$(admin "$STATE" /healthz)" ok
  ns client ping -q -c 3 -i 0.05 -W1 10.0.2.11
}
# Another device of that name is not taken, and a reload says so.
another_device_needs_a_restart() {
  if [[ $DRIVER != tap ]]; then wire_up b2 "$DRIVER" web1 1; fi
  expect "reload" "$("$BINARY" reload --socket "$STATE/admin.sock" 2>&1)" '*the device of the port `web1` has gone*restart the gateway*'
  expect "link" "$(link_of web1)" gone
  gateway_stop "$STATE"
  gateway_start "$DRIVER" "$STATE"
  becomes web1 up
  await 5 reaches_b2
}

check rests-when-idle rests
# A TAP has no wire of its own.
[[ $DRIVER == tap ]] || check wire-without-carrier wire_without_carrier
check interface-set-down interface_set_down
check host-link-deleted host_link_deleted
check device-deleted device_deleted
check another-device-needs-a-restart another_device_needs_a_restart
