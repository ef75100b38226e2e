//! What the manual says is what the program does, because it is made from it.

use std::path::Path;

use tidegate_ctrl::config::{self, Surroundings};
use tidegate_ctrl::diagnostic::Source;

#[test]
fn the_manual_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let manual = config::manual();
    if std::env::var_os("TIDEGATE_WRITE_MANUAL").is_some() {
        std::fs::write(&path, &manual).expect("writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let line = written.lines().zip(manual.lines()).position(|(a, b)| a != b);
    assert!(
        written == manual,
        "docs/configuration.md is outdated (first at line {line:?}): TIDEGATE_WRITE_MANUAL=1 writes it"
    );
}

/// What stands under a heading is all that the table takes, and is taken.
#[test]
fn a_loopback_has_the_keys_that_the_manual_lists() {
    let manual = config::manual();
    let section = manual.split("\n## ").find(|section| section.starts_with("`[[loopback]]`")).expect("a section");
    let listed: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next()).collect();
    assert_eq!(listed, ["addresses", "name", "vrf"]);
    let all = "[[vrf]]\nname = \"red\"\n[[loopback]]\nname = \"lo\"\naddresses = [\"10.0.0.1/32\"]\nvrf = \"red\"\n";
    let port = "[[port]]\nname = \"lan\"\ndriver = \"memory\"\n";
    let of_a_link = ["mtu = 1500", "host = \"a\"", "announce = true", "reverse_path = \"off\"", "tcp_mss = \"off\""];
    for (line, errors) in [("", 0)].into_iter().chain(of_a_link.map(|line| (line, 1))) {
        let source = Source::new("lo.toml", [port, all, line].concat());
        let now = std::time::SystemTime::UNIX_EPOCH;
        let surroundings = Surroundings { directory: Path::new("."), files: None, now, dpdk: false };
        assert_eq!(config::check(source, &surroundings).report.errors(), errors, "{line}");
    }
}

/// The tables of `docs/operations.md`, each between two markers.
#[test]
fn the_tables_for_operators_are_current() {
    use std::fmt::Write as _;
    use tidegate_dataplane::{l7::reason::Reason, verdict::DropReason};

    let mut drops = String::from("| reason | what it means |\n|---|---|\n");
    for reason in DropReason::ALL {
        writeln!(drops, "| `{reason}` |{} |", reason.explanation()).unwrap();
    }
    let mut answers = String::from("| reason | status |\n|---|---|\n");
    for reason in Reason::ALL {
        let status = match reason.status() {
            0 => "none: the connection is cut, or the upstream's own".to_owned(),
            status => status.to_string(),
        };
        writeln!(answers, "| `{}` | {status} |", reason.word()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let mut manual = written.clone();
    for (name, table) in [("drops", &drops), ("answers", &answers)] {
        let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
        let from = manual.find(&start).expect("a start marker") + start.len();
        let to = manual.find(&end).expect("an end marker");
        manual.replace_range(from..to, table);
    }
    if std::env::var_os("TIDEGATE_WRITE_MANUAL").is_some() {
        std::fs::write(&path, &manual).expect("writable");
        return;
    }
    assert!(written == manual, "docs/operations.md is outdated: TIDEGATE_WRITE_MANUAL=1 writes its tables");
}
