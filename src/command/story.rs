//! A packet's way as text.

use std::fmt::Write as _;

use tidegate_ctrl::story::{Step, Way};

/// The way of a packet, stage by stage, and its end.
pub(super) fn text(way: &Way) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, way);
    out
}

fn write(out: &mut String, way: &Way) -> std::fmt::Result {
    writeln!(out, "{}", way.packet.text)?;
    let from = match (way.origin.as_str(), &way.port) {
        ("wire", Some(port)) => format!("received on {port}"),
        ("kernel", Some(port)) => format!("sent by the kernel on {port}"),
        ("core", _) => "handed over by another core".to_owned(),
        _ => "made by this host".to_owned(),
    };
    writeln!(out, "  {from}, on core {}, tables of generation {}", way.core, way.generation)?;
    for step in &way.steps {
        write_step(out, step)?;
    }
    writeln!(out, "  => {}", way.end.text)?;
    if let Some(hint) = &way.end.hint {
        writeln!(out, "     {hint}")?;
    }
    for made in &way.made {
        writeln!(out, "     on its behalf: {}", made.text)?;
    }
    Ok(())
}

/// The name of the stage, what it cost, and what it decided, a line each.
fn write_step(out: &mut String, step: &Step) -> std::fmt::Result {
    let changes = step.changes.iter().map(|change| format!("{}: {} -> {}", change.field, change.from, change.to));
    let lines: Vec<String> = step.notes.iter().cloned().chain(changes).collect();
    let head = format!("  {:<11} {:>7} cycles  ", step.stage, step.cycles);
    let Some((first, rest)) = lines.split_first() else { return writeln!(out, "{}", head.trim_end()) };
    writeln!(out, "{head}{first}")?;
    for line in rest {
        writeln!(out, "{:width$}{line}", "", width = head.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidegate_ctrl::story::{Change, End, Packet};

    use super::*;

    #[test]
    fn a_way_reads_from_top_to_bottom() {
        let step = |stage: &str, notes: &[&str], changes: Vec<Change>| Step {
            stage: stage.to_owned(),
            cycles: 42,
            verdict: "continue".to_owned(),
            notes: notes.iter().map(|note| (*note).to_owned()).collect(),
            changes,
        };
        let change = Change { field: "TTL".to_owned(), from: "64".to_owned(), to: "63".to_owned() };
        let way = Way {
            unix_ns: 0,
            core: 1,
            generation: 7,
            origin: "wire".to_owned(),
            port: Some("lan".to_owned()),
            packet: Packet { text: "UDP 10.0.0.1:1 → 10.0.0.2:2, 60 bytes".to_owned(), ..Packet::default() },
            steps: vec![step("l3_forward", &["one hop more"], vec![change]), step("tx", &[], Vec::new())],
            end: End { text: "it leaves by wan".to_owned(), hint: Some("look".to_owned()), ..End::default() },
            made: vec![Packet { text: "ARP request".to_owned(), ..Packet::default() }],
        };
        let expected = "UDP 10.0.0.1:1 → 10.0.0.2:2, 60 bytes\n  received on lan, on core 1, tables of generation 7\n  \
            l3_forward       42 cycles  one hop more\n                              TTL: 64 -> 63\n  \
            tx               42 cycles\n  => it leaves by wan\n     look\n     on its behalf: ARP request\n";
        assert_eq!(text(&way), expected);
    }
}
