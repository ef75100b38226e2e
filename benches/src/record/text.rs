//! A record as tables of Markdown, for terminals and for `docs/bench/`.

use std::fmt::{self, Write as _};

use super::{
    judge::{Record, Row, Spread},
    sample::PRODUCT,
};

impl Record {
    /// All of it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "# {}: {}\n\n`{}`\n", self.scenario, self.title, self.command)?;
        writeln!(out, "- {}", self.machine.line())?;
        writeln!(out, "- port {}; {} rounds, interleaved; median (smallest–largest)", self.port, self.rounds)?;
        for program in &self.programs {
            writeln!(out, "- {}: {}", program.name, program.version)?;
        }
        writeln!(out)?;
        self.table(out)?;
        for (title, incidents) in [("Failed", &self.failures), ("Not measured", &self.skipped)] {
            if !incidents.is_empty() {
                writeln!(out, "\n{title}:\n")?;
            }
            for incident in incidents {
                let (case, program, round, why) = (&incident.case, &incident.program, incident.round, &incident.why);
                writeln!(out, "- {program}, {case}, round {round}: {why}")?;
            }
        }
        for line in self.remarks() {
            writeln!(out, "\n{line}")?;
        }
        Ok(())
    }

    fn table(&self, out: &mut String) -> fmt::Result {
        let peers = self.peers();
        write!(out, "| case | metric | {PRODUCT} |")?;
        for peer in &peers {
            write!(out, " {peer} | ÷ {peer} |")?;
        }
        writeln!(out, " bar | |")?;
        writeln!(out, "|---|---|---:|{}---|---|", "---:|---:|".repeat(peers.len()))?;
        for row in &self.rows {
            let star = if row.slow_rounds.is_empty() { "" } else { "\\*" };
            write!(out, "| {}{star} | {}, {} | {} |", row.case, row.metric, row.unit, spread(row.product.as_ref()))?;
            for peer in &peers {
                let ratio = row.ratio.get(*peer).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
                write!(out, " {} | {ratio} |", spread(row.peers.get(*peer)))?;
            }
            writeln!(out, " {} | {} |", row.bar.as_deref().unwrap_or(""), row.verdict())?;
        }
        Ok(())
    }

    /// Peers that have a figure somewhere, in the order in which they ran.
    pub(crate) fn peers(&self) -> Vec<&str> {
        let names = self.programs.iter().map(|program| program.name.as_str());
        names.filter(|name| self.rows.iter().any(|row| row.peers.contains_key(*name))).collect()
    }

    /// What must be known to read the table.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let mut cases: Vec<&Row> = self.rows.iter().filter(|row| !row.slow_rounds.is_empty()).collect();
        cases.dedup_by(|a, b| a.case == b.case);
        for row in cases {
            let rounds: Vec<_> = row.slow_rounds.iter().map(u32::to_string).collect();
            let how = match row.slow_left_out {
                true => format!("left out: {} rounds count", row.rounds.saturating_sub(row.slow_rounds.len() as u32)),
                false => "counted, too few others remain".to_owned(),
            };
            remarks.push(format!("\\* {}: the machine was slow in round {} ({how}).", row.case, rounds.join(", ")));
        }
        remarks.extend(self.rows.iter().filter_map(Row::load_bound));
        remarks.extend(self.rows.iter().filter_map(Row::too_few));
        let judged = self.rows.iter().filter(|row| row.bar.is_some()).count();
        if judged > 0 {
            let count = |verdict: &str| self.rows.iter().filter(|row| row.verdict() == verdict).count();
            let weak = match count(WEAKLY_MET) {
                0 => String::new(),
                weak => format!(", and {weak} {WEAKLY_MET}"),
            };
            remarks.push(format!("{} of {judged} bars are met{weak}.", count("met")));
        }
        remarks
    }
}

/// Rounds from which a median is quoted.
pub(crate) const ENOUGH: u32 = 5;
/// The verdict about fewer.
pub(crate) const WEAKLY_MET: &str = "met, in too few rounds for a claim";
/// Percent of its processor from which a load is taken for the limit: the rest is the kernel's part of it.
const LOADED: f64 = 90.0;

impl Row {
    /// If it says that the load had no more to give: with whom, and what follows.
    fn load_bound(&self) -> Option<String> {
        let peers = self.peers.iter().map(|(peer, spread)| (peer.as_str(), Some(spread)));
        let all = core::iter::once((PRODUCT, self.product.as_ref())).chain(peers);
        let bound: Vec<_> = all
            .filter_map(|(program, spread)| spread.filter(|s| s.median >= LOADED).map(|s| (program, s.median)))
            .map(|(program, median)| format!("{program} {median:.0} %"))
            .collect();
        (["load_busy", "generator_busy"].contains(&self.metric.as_str()) && !bound.is_empty()).then(|| {
            let (case, who) = (&self.case, bound.join(", "));
            format!("{case}: the load was the limit ({who} busy); these rates are lower bounds, and what a program spends on each piece of work is `program_cost`.")
        })
    }

    /// If its bar is met in too few rounds: in how many.
    fn too_few(&self) -> Option<String> {
        let (case, metric, counted) = (&self.case, &self.metric, self.counted);
        (self.verdict() == WEAKLY_MET)
            .then(|| format!("{case}, {metric}: {counted} of {} rounds count, a claim takes {ENOUGH}.", self.rounds))
    }

    /// In a word.
    pub(crate) fn verdict(&self) -> &'static str {
        match (self.bar.is_some(), self.met) {
            (false, _) => "",
            (true, Some(true)) if self.counted < ENOUGH => WEAKLY_MET,
            (true, Some(true)) => "met",
            (true, Some(false)) => "**missed**",
            (true, None) => "not measured",
        }
    }
}

/// Median with the extremes.
fn spread(spread: Option<&Spread>) -> String {
    let Some(Spread { median, min, max }) = spread else { return "–".to_owned() };
    if min == max {
        return number(*median);
    }
    format!("{} ({}–{})", number(*median), number(*min), number(*max))
}

/// Three digits are more than a noisy machine justifies.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        _ if magnitude >= 1e9 => format!("{:.2}G", value / 1e9),
        _ if magnitude >= 1e7 => format!("{:.1}M", value / 1e6),
        _ if magnitude >= 1e6 => format!("{:.2}M", value / 1e6),
        _ if magnitude >= 1e5 => format!("{:.0}k", value / 1e3),
        _ if magnitude >= 1e4 => format!("{:.1}k", value / 1e3),
        _ if magnitude >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        _ if magnitude >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let said: Vec<_> = [0.0, 0.123, 5.0, 12.34, 999.9, 35_402.0, 354_020.0, 1_234_567.0, 12_345_678.0, 6.4e9]
            .into_iter()
            .map(number)
            .collect();
        assert_eq!(said, ["0", "0.12", "5", "12.3", "1000", "35.4k", "354k", "1.23M", "12.3M", "6.40G"]);
        assert_eq!(spread(None), "–");
        assert_eq!(spread(Some(&Spread { median: 2.0, min: 1.0, max: 3.0 })), "2 (1–3)");
    }
}
