//! Slips that everybody makes: where, what, and what to write instead.

use std::path::Path;
use std::time::SystemTime;

use tidegate_ctrl::config::{self, Surroundings};
use tidegate_ctrl::diagnostic::Source;

const GOOD: &str = r#"[runtime]
drain_timeout_s = 30

[[port]]
name = "lan"
driver = "tap"
interface = "tap0"
mtu = 1500
addresses = ["10.0.1.1/24", "fd00:1::1/64"]

[[listener]]
name = "web"
address = "[fd00:1::1]:80"

[[cluster]]
name = "pool"
endpoints = ["10.0.1.5:80"]

[[http_route]]
listeners = ["web"]
backend_refs = [{ cluster = "pool" }]
"#;

/// Errors as `line:column: message | help`.
fn errors(text: &str) -> Vec<String> {
    let source = Source::new("slip.toml", text);
    let surroundings =
        Surroundings { directory: Path::new("/etc/tidegate"), files: None, now: SystemTime::UNIX_EPOCH, dpdk: true };
    let checked = config::check(source.clone(), &surroundings);
    assert_eq!(checked.config.is_none(), checked.report.errors() > 0);
    let shown = |diagnostic: &tidegate_ctrl::diagnostic::Diagnostic| {
        let at = source.position(diagnostic.span.start);
        format!("{}:{}: {} | {}", at.line, at.column, diagnostic.message, diagnostic.help.join(" | "))
    };
    checked.report.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).map(shown).collect()
}

#[test]
fn each_slip_is_told_what_to_write_instead() {
    assert_eq!(errors(GOOD), [""; 0]);
    for (from, to, expected) in [
        (
            "[fd00:1::1]:80",
            "fd00:1::1:80",
            "13:11: `fd00:1::1:80` has no brackets round its address, so that the port cannot be told from it | write \
             `\"[fd00:1::1]:80\"`, or `\"[fd00:1::1:80]:443\"` if all of it is the address",
        ),
        (
            "[fd00:1::1]:80",
            "fd00:1:0:0:0:0:0:1:8080",
            "13:11: `fd00:1:0:0:0:0:0:1:8080` has no brackets round its address, so that the port cannot be told from it | \
             write `\"[fd00:1::1]:8080\"`",
        ),
        ("[fd00:1::1]:80", "[fd00:1::1]", "13:11: `[fd00:1::1]` has no port | write `\"[fd00:1::1]:443\"`"),
        ("[[listener]]", "[listener]", "11:1: `listener` is a list of tables | write `[[listener]]`"),
        (
            "mtu = 1500",
            "mtu = 9000",
            "8:7: a packet of 9000 bytes does not fit a buffer of 2048: at most 1770 | write `frame_size = 16384` in \
             `[runtime]`",
        ),
        (
            "\"tap\"\ninterface = \"tap0\"\nmtu = 1500",
            "\"af_xdp\"\ninterface = \"eth0\"\nmtu = 9000",
            "8:7: a packet of 9000 bytes does not fit a buffer of 2048: at most 1770 | write `frame_size = 16384` in \
             `[runtime]`; packets of more than 3818 bytes take several buffers of AF_XDP, which needs Linux 6.6",
        ),
        (
            "10.0.1.5:80",
            "http://10.0.1.5:8080/",
            "17:14: `http://10.0.1.5:8080/` is a URL; here an address with a port is wanted | write `\"10.0.1.5:8080\"`",
        ),
        (
            "10.0.1.5:80",
            "https://[fd00:1::5]",
            "17:14: `https://[fd00:1::5]` is a URL; here an address with a port is wanted | write `\"[fd00:1::5]:443\"`; TLS is \
             a matter of the table's `tls`",
        ),
        (
            "10.0.1.5:80",
            "http://backend/",
            "17:14: `http://backend/` is a URL; here an address with a port is wanted | write an IP address with a port, such \
             as `\"10.0.1.1:80\"`; names are not resolved",
        ),
        ("/64\"]", "/64\"", "9:43: unclosed list, expected `]` | close the list here, or add a comma to go on"),
        ("name = \"lan\"", "name \"lan\"", "5:6: key with no value, expected `=` | write `name = \"lan\"`"),
        (
            "name = \"lan\"",
            "name: \"lan\"",
            "5:5: invalid unquoted key, expected letters, numbers, `-`, `_` | write `name = \"lan\"`",
        ),
        (
            "name = \"lan\"",
            "name = \"lan",
            "5:12: invalid basic string, expected `\"` | close the string: `name = \"lan\"`",
        ),
        (
            "10.0.1.1/24",
            "10.0.1.1/33",
            "9:14: `10.0.1.1/33` has a bad prefix length: 0 to 32 | `/32` is this address alone, a subnet is shorter: \
             `\"10.0.1.1/24\"`",
        ),
        (
            "drain_timeout_s = 30",
            "drain_timeout_s = \"30s\"",
            "2:19: `drain_timeout_s` must be a whole number from 0 to 86400, not a string | write `drain_timeout_s = 30`: the \
             key's name tells the unit, seconds",
        ),
        (
            "drain_timeout_s = 30",
            "drain_timeout_s = \"2 min\"",
            "2:19: `drain_timeout_s` must be a whole number from 0 to 86400, not a string | write `drain_timeout_s = 120`: the \
             key's name tells the unit, seconds",
        ),
        (
            "drain_timeout_s = 30",
            "drain_timeout_s = \"30\"",
            "2:19: `drain_timeout_s` must be a whole number from 0 to 86400, not a string | write `drain_timeout_s = 30`",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        assert_eq!(errors(&GOOD.replacen(from, to, 1)), [expected], "{to}");
    }
}

#[test]
fn an_empty_file_is_told_what_it_needs() {
    let expected = "1:1: there is no `[[port]]`: nothing would be received | a port has a `name`, a `driver`, mostly an \
                    `interface`, and `addresses`; configs/ has whole files";
    for text in ["", "\n\n", "# nothing yet\n", "[runtime]\ncores = [1]\n"] {
        assert_eq!(errors(text), [expected], "{text:?}");
    }
}

#[test]
fn a_key_of_an_earlier_version_is_named_with_the_new_one() {
    let old = format!(
        "{GOOD}\n[[route]]\nto = \"10.9.0.0/16\"\nport = \"lan\"\n\n[[neighbor]]\nport = \"lan\"\naddress = \"10.0.1.7\"\nmac = \"02:00:00:00:00:07\"\n"
    );
    assert_eq!(
        errors(&old),
        [
            "25:1: unknown key `port` in [[route]] | it is called `interface` now: write `interface = …`, with the same name",
            "28:1: unknown key `port` in [[neighbor]] | it is called `interface` now: write `interface = …`, with the same name",
        ],
        "and nothing is said to be missing"
    );
    assert_eq!(errors(&old.replace("\nport = ", "\ninterface = ")), [""; 0]);
}

#[test]
fn there_are_no_more_rules_than_the_data_plane_has_room_for() {
    let rules = |count: usize| -> String {
        let rule =
            |at| format!("[[policy]]\nname = \"r{at}\"\nto = \"10.{}.{}.0/24\"\nprohibit = true\n", at / 256, at % 256);
        GOOD.to_owned() + &(0..count).map(rule).collect::<String>()
    };
    assert_eq!(errors(&rules(256)), [""; 0]);
    let expected =
        "1046:1: 257 rules; there can be 256 | one rule may have many prefixes, ports and protocols, as lists";
    assert_eq!(errors(&rules(257)), [expected]);
}
