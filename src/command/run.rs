//! `tidegate run`: the gateway itself.

use std::process::ExitCode;
use std::time::SystemTime;

use tidegate_ctrl::boot;
use tidegate_ctrl::config::{self, model::LogLevel};
use tidegate_ctrl::diagnostic::Style;
use tidegate_dataplane::io::heap;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, reload};

use super::{FAILED, fail, style};
use crate::cli::Run;

pub(crate) fn run(args: &Run) -> ExitCode {
    // Before anything allocates from several threads; where it is not possible, idle connections take more memory.
    let _ = heap::map_large_blocks();
    let style = style(&std::io::stderr());
    let loaded = match config::load(&args.config, SystemTime::now()) {
        Ok(loaded) => loaded,
        Err(report) => {
            eprint(&report.text(style));
            return ExitCode::from(FAILED);
        }
    };
    eprint(&loaded.report.text(style));
    let (filter, handle) = reload::Layer::new(filter(loaded.config.log.level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(style == Style::Colour).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    let set_level = move |level| {
        if let Err(error) = handle.reload(self::filter(level)) {
            tracing::warn!("the log level stays: {error}");
        }
    };
    match boot::run(loaded, Box::new(set_level)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Our own messages from `level` on, warnings of others; `RUST_LOG` overrides both.
fn filter(level: LogLevel) -> EnvFilter {
    let level = level.as_str();
    EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(format!("warn,tidegate={level},tidegate_ctrl={level},tidegate_dataplane={level}"))
    })
}

fn eprint(text: &str) {
    if !text.is_empty() {
        use std::io::Write as _;
        // Nothing is left to do if standard error is closed.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}
