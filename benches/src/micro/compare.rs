//! Two sets of counts beside each other.

use std::{collections::BTreeMap, fmt::Write as _, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::callgrind::Trouble;

/// Counts of a revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// By kernel, in the order in which they were counted.
    pub(crate) kernels: Vec<Count>,
}

/// A kernel's count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Count {
    /// The kernel.
    pub(crate) name: String,
    /// What one operation is.
    pub(crate) unit: String,
    /// Instructions per operation.
    pub(crate) instructions: f64,
}

/// A kernel in both revisions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    name: String,
    unit: String,
    /// None if the kernel is new.
    before: Option<f64>,
    /// None if the kernel is gone.
    after: Option<f64>,
    /// Growth in percent; none if there is nothing to compare.
    change_percent: Option<f64>,
    /// It grew by more than the tolerance.
    slower: bool,
}

impl Counts {
    /// Reads what [`Counts::write`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, or is something else.
    pub(crate) fn read(path: &Path) -> Result<Self, Trouble> {
        let text = fs::read_to_string(path).map_err(|error| Trouble::File { path: path.to_owned(), error })?;
        serde_json::from_str(&text).map_err(|error| Trouble::File { path: path.to_owned(), error: error.into() })
    }

    /// Writes them as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Trouble> {
        write(self, path)
    }

    /// A table for people.
    pub(crate) fn text(&self) -> String {
        let mut text = "| kernel | instructions | per |\n|---|---:|---|\n".to_owned();
        for Count { name, unit, instructions } in &self.kernels {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {name} | {instructions:.1} | {unit} |");
        }
        text
    }
}

/// Every kernel of either, those of `after` first.
pub(crate) fn compare(before: &Counts, after: &Counts, tolerance_percent: f64) -> Vec<Row> {
    let earlier: BTreeMap<&str, f64> = before.kernels.iter().map(|one| (one.name.as_str(), one.instructions)).collect();
    let now = after.kernels.iter().map(|one| {
        let then = earlier.get(one.name.as_str()).copied();
        let change = then.filter(|then| *then > 0.0).map(|then| (one.instructions / then - 1.0) * 100.0);
        Row {
            name: one.name.clone(),
            unit: one.unit.clone(),
            before: then,
            after: Some(one.instructions),
            change_percent: change,
            // Not by the rounded quotient: a growth of exactly the tolerance is within it.
            slower: then
                .is_some_and(|then| then > 0.0 && one.instructions * 100.0 > then * (100.0 + tolerance_percent)),
        }
    });
    let gone = before.kernels.iter().filter(|then| after.kernels.iter().all(|now| now.name != then.name));
    let gone = gone.map(|one| Row {
        name: one.name.clone(),
        unit: one.unit.clone(),
        before: Some(one.instructions),
        after: None,
        change_percent: None,
        slower: false,
    });
    now.chain(gone).collect()
}

/// Writes counts or a comparison as JSON.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write<T: Serialize + ?Sized>(what: &T, path: &Path) -> Result<(), Trouble> {
    let text = serde_json::to_string_pretty(what).map_err(io::Error::from);
    let written = text.and_then(|text| fs::write(path, text + "\n"));
    written.map_err(|error| Trouble::File { path: path.to_owned(), error })
}

/// Whether a kernel grew by more than the tolerance.
pub(crate) fn is_slower(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.slower)
}

/// A table for people.
pub(crate) fn text(rows: &[Row]) -> String {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
    let mut text = "| kernel | before | after | change | per |\n|---|---:|---:|---:|---|\n".to_owned();
    for row in rows {
        let change = match (row.before, row.after, row.change_percent) {
            (None, ..) => "new".to_owned(),
            (_, None, _) => "gone".to_owned(),
            (.., None) => String::new(),
            (.., Some(change)) => format!("{change:+.1} %{}", if row.slower { " **slower**" } else { "" }),
        };
        let (before, after) = (number(row.before), number(row.after));
        let _ = writeln!(text, "| {} | {before} | {after} | {change} | {} |", row.name, row.unit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(kernels: &[(&str, f64)]) -> Counts {
        let one = |(name, instructions): &(&str, f64)| Count {
            name: (*name).to_owned(),
            unit: "packet".to_owned(),
            instructions: *instructions,
        };
        Counts { kernels: kernels.iter().map(one).collect() }
    }

    #[test]
    fn a_kernel_is_slower_new_gone_or_the_same() {
        let before = counts(&[("same", 100.0), ("gone", 5.0), ("slow", 100.0), ("fast", 100.0), ("almost", 100.0)]);
        let after = counts(&[("same", 100.0), ("slow", 105.2), ("fast", 50.0), ("almost", 105.0), ("fresh", 7.0)]);
        let rows = compare(&before, &after, 5.0);
        assert_eq!(
            text(&rows),
            "| kernel | before | after | change | per |\n|---|---:|---:|---:|---|\n\
             | same | 100.0 | 100.0 | +0.0 % | packet |\n\
             | slow | 100.0 | 105.2 | +5.2 % **slower** | packet |\n\
             | fast | 100.0 | 50.0 | -50.0 % | packet |\n\
             | almost | 100.0 | 105.0 | +5.0 % | packet |\n\
             | fresh |  | 7.0 | new | packet |\n\
             | gone | 5.0 |  | gone | packet |\n"
        );
        assert!(is_slower(&rows) && !is_slower(&compare(&before, &after, 6.0)));
        assert!(!is_slower(&compare(&Counts::default(), &after, 5.0)), "nothing to compare with");
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let path = std::env::temp_dir().join(format!("tidegate-counts-{}", std::process::id()));
        let written = counts(&[("a", 1.5)]);
        written.write(&path).expect("writable");
        let read = Counts::read(&path);
        fs::remove_file(&path).expect("there");
        assert_eq!(read.expect("there"), written);
        assert!(Counts::read(&path).is_err());
    }
}
