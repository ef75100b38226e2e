# shellcheck shell=bash
# Routes with several next hops, and those that end here. The next hops are static neighbours with Ethernet addresses of their own:
# the backends hear all of them, so a flow's way is seen without a router for each.

answer() { # answer PATTERN ADDRESS — what ping says
  local output
  output=$(ns client ping -c1 -W2 "$2" 2>&1) || true
  printf '%s\n' "$output"
  grep -qE "$1" <<<"$output"
}

ROUTES='
[[neighbor]]
interface = "web0"
address = "10.0.2.21"
mac = "02:00:00:00:02:21"

[[neighbor]]
interface = "web0"
address = "10.0.2.22"
mac = "02:00:00:00:02:22"

[[neighbor]]
interface = "web1"
address = "10.0.3.21"
mac = "02:00:00:00:03:21"

[[neighbor]]
interface = "web0"
address = "fd00:2::21"
mac = "02:00:00:00:06:21"

[[neighbor]]
interface = "web1"
address = "fd00:3::21"
mac = "02:00:00:00:06:31"

[[route]]
to = "10.77.0.0/16"
next_hops = [
    { via = "10.0.2.21" },
    { via = "10.0.2.22", weight = 2 },
    { via = "10.0.3.21", weight = 5 },
]

[[route]]
to = "fd77::/32"
via = ["fd00:2::21", "fd00:3::21"]

[[route]]
to = "10.68.0.0/16"
prohibit = true

[[route]]
to = "fd68::/32"
prohibit = true
'

routes_are_configured() {
  extended <<<"$ROUTES"
}

flows_follow_weights() {
  ways take "$PREFIX" 10.77.0.1 2000 "$STATE/ways.all" || return 1
  ways shares "$STATE/ways.all" 02:00:00:00:02:21=1 02:00:00:00:02:22=2 02:00:00:00:03:21=5
}
flows_follow_weights_v6() {
  ways take "$PREFIX" fd77::1 1000 "$STATE/ways.v6" || return 1
  ways shares "$STATE/ways.v6" b1=1 b2=1
}

only_flows_of_a_lost_member_move() {
  reloaded '/via = "10.0.2.22"/d' || return 1
  ways take "$PREFIX" 10.77.0.1 2000 "$STATE/ways.less" || return 1
  ways moved "$STATE/ways.all" "$STATE/ways.less" 02:00:00:00:02:22 || return 1
  ways shares "$STATE/ways.less" 02:00:00:00:02:21=1 02:00:00:00:03:21=5
}
they_come_back_with_it() {
  reloaded 's/^( *)\{ via = "10.0.3.21", weight = 5 \},/&\n    { via = "10.0.2.22", weight = 2 },/' || return 1
  ways take "$PREFIX" 10.77.0.1 2000 "$STATE/ways.again" || return 1
  cmp "$STATE/ways.all" "$STATE/ways.again"
}

groups_are_shown() {
  local hops
  hops=$(show routes --exact 10.77.0.0/16 --json |
    jq -r '.routes[0] | .action, (.hops | sort_by(.via)[] | .via + " " + .interface + " " + (.weight | tostring))' | paste -sd' ')
  expect 'members' "$hops" 'spread 10.0.2.21 web0 1 10.0.2.22 web0 2 10.0.3.21 web1 5'
}

check routes-are-configured routes_are_configured
check flows-follow-weights flows_follow_weights
check flows-follow-weights-v6 flows_follow_weights_v6
check only-flows-of-a-lost-member-move only_flows_of_a_lost_member_move
check they-come-back-with-it they_come_back_with_it
check groups-are-shown groups_are_shown
check prohibited-is-said answer 'Packet filtered' 10.68.0.1
check prohibited-is-said-v6 answer 'Administratively prohibited' fd68::1
