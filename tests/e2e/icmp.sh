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

export STATE PREFIX
python_cases icmp.py
check limit-is-counted limit_is_counted
