//! Where the cycles of a turn went, from the product's own counters.

use tidegate_dataplane::stats::{CoreStats, Stage};

use crate::report::{Figure, Table};

/// Cycles of every stage at one moment.
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    /// Now.
    pub(crate) fn of(stats: &CoreStats) -> Self {
        Self(Stage::ALL.iter().map(|stage| stats.stage(*stage).cycles.value()).collect())
    }
}

/// Cycles per unit of work, a sample per stage and round.
#[derive(Default)]
pub(crate) struct Split {
    rounds: Vec<Vec<f64>>,
    whole: Vec<f64>,
}

impl Split {
    /// Adds a round: what passed since `before`, and the cycles of the turns as a whole, over `units` of work.
    pub(crate) fn round(&mut self, before: &Marks, stats: &CoreStats, cycles: u64, units: u64) {
        let after = Marks::of(stats);
        let per_unit = |(after, before): (&u64, &u64)| (after - before) as f64 / units as f64;
        self.rounds.push(after.0.iter().zip(&before.0).map(per_unit).collect());
        self.whole.push(cycles as f64 / units as f64);
    }

    /// Cycles per unit of work of the turns as a whole, by round.
    pub(crate) fn samples(&self) -> &[f64] {
        &self.whole
    }

    /// Cycles per unit of work of the turns as a whole.
    pub(crate) fn whole(&self) -> Figure {
        Figure::of("cycles", self.whole.clone())
    }

    /// Adds a row per stage that had work, and one for what lies between the stages.
    pub(crate) fn rows(&self, table: &mut Table) {
        for (index, stage) in Stage::ALL.iter().enumerate() {
            let samples: Vec<f64> = self.rounds.iter().map(|round| round[index]).collect();
            if samples.iter().any(|sample| *sample > 0.0) {
                table.row(stage.label(), vec![("each", Figure::of("cycles", samples))]);
            }
        }
        let between = self.rounds.iter().zip(&self.whole).map(|(round, whole)| whole - round.iter().sum::<f64>());
        table.row("between stages", vec![("each", Figure::of("cycles", between.collect()))]);
        table.row("**whole turn**", vec![("each", self.whole())]);
    }
}
