//! What the loop says about links when it is asked to reload.

use super::Control;
use crate::diagnostic::{Code, Diagnostic, Report, Span};

impl Control {
    /// The report of a reload that was taken, and what no reload can mend.
    pub(super) fn with_lost_ports(&self, report: Report) -> Report {
        let lost = |port: &str| {
            tracing::warn!(
                port,
                "the device of the port has gone, and a reload does not open it again: restart the gateway"
            );
            let message = format!("the device of the port `{port}` has gone");
            Diagnostic::warning(Code::NeedsRestart, Span::default(), message)
                .help("a reload does not open it again: restart the gateway when the device is there")
        };
        let lost: Vec<_> = self.parts.links.lost().map(lost).collect();
        Report::new(report.source, report.diagnostics.into_iter().chain(lost).collect())
    }
}
