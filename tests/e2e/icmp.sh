# shellcheck shell=bash
# The errors a router owes to those whose packets it cannot pass on, and its silence.

cat >>"$STATE/gateway.toml" <<'TOML'

[icmp]
errors_per_second = 50
errors_at_once = 20

[[route]]
to = "10.68.0.0/16"
prohibit = true

[[route]]
to = "fd68::/16"
prohibit = true
TOML
sed -i '/^name = "web1"/a mtu = 1400' "$STATE/gateway.toml"
gateway_stop "$STATE"
gateway_start "$DRIVER" "$STATE"

# Of 300 packets without a route, all that were not told are counted.
limit_is_counted() { expect_at_least "icmp_rate_limited" "$(dropped icmp_rate_limited)" $((300 - $(cat "$STATE/told"))); }

# The options of IPv4 go through as they came: the hosts at both ends write into them, the gateway does not.
recorded_routes_pass() {
  local output
  output=$(ns client ping -R -c1 -W2 10.0.2.11) || { echo "$output"; return 1; }
  expect 'route' "$output" '*RR: *10.0.1.100*10.0.2.11*' || return 1
  grep -qE '10\.0\.[12]\.1$' <<<"$output" && { echo "$output"; return 1; }
  output=$(ns client ping -T tsonly -c1 -W2 10.0.2.11) || { echo "$output"; return 1; }
  expect 'timestamps' "$output" '*TS: *'
}

export STATE PREFIX
check recorded-routes-pass recorded_routes_pass
python_cases icmp.py
check limit-is-counted limit_is_counted
