//! One core, and several at a time: what each does when the others work too. A thread per core, bound to its processor, with ports and
//! clients of its own, as the gateway's cores have them.

use core::time::Duration;
use std::{
    io,
    sync::{Arc, Barrier},
    thread,
};

use tidegate_dataplane::io::affinity;

use crate::{
    http, l3,
    record::{Better, Measured, metric},
};

/// Options of `scale`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What the cores do.
    #[arg(value_enum)]
    work: Work,
    /// Cores, on processors 0 and up.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    cores: u32,
    /// Seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// What is repeated.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    /// IPv4 packets of 64 bytes through the router, 1000 routes.
    L3,
    /// HTTP requests through the gateway, 64 under way.
    Http,
    /// The same with TLS towards clients.
    Https,
}

impl Work {
    /// How often it is done per second of the processor's time, and its unit.
    fn rate(self, length: Duration) -> f64 {
        match self {
            Self::L3 => l3::rate(length),
            Self::Http => http::rate(false, length),
            Self::Https => http::rate(true, length),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::L3 => "packets/s",
            Self::Http | Self::Https => "requests/s",
        }
    }
}

/// Measures on as many cores at a time.
///
/// # Errors
/// There are not as many processors, or no threads.
pub(crate) fn run(options: &Options) -> io::Result<Measured> {
    let (work, length) = (options.work, Duration::from_secs(options.seconds));
    // Nobody begins before the last: each is measured only while all work.
    let start = Arc::new(Barrier::new(options.cores as usize));
    let core = |cpu: u32| {
        let start = Arc::clone(&start);
        thread::Builder::new().name(format!("core{cpu}")).spawn(move || {
            let pinned = affinity::pin(cpu as usize);
            start.wait();
            pinned.map(|()| work.rate(length))
        })
    };
    let threads = (0..options.cores).map(core).collect::<io::Result<Vec<_>>>()?;
    let mut all = 0.0;
    for thread in threads {
        all += thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    let metrics = vec![
        metric("rate", work.unit(), all, Better::Higher),
        metric("each", work.unit(), all / f64::from(options.cores), Better::Higher),
    ];
    Ok(Measured { metrics, ..Measured::default() })
}
