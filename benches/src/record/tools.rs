//! What wrk and h2load print, as the line that every measuring program prints. They know no fixed rates without coordinated
//! omission and give no histograms; they are here to check our own load against.

use super::sample::{Better, Measured, Metric};

/// Output that is not that of the tool at its end.
#[derive(Debug)]
pub(crate) struct NotFinished {
    tool: &'static str,
}

impl std::fmt::Display for NotFinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} did not finish", self.tool)
    }
}

/// One figure.
pub(crate) fn metric(name: &str, unit: &str, value: f64, better: Better) -> Metric {
    Metric { metric: name.to_owned(), unit: unit.to_owned(), value, better }
}

/// `wrk --latency`.
pub(crate) fn wrk(said: &str) -> Result<Measured, NotFinished> {
    let field = |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let rate = field("Requests/sec:").and_then(|text| text.parse().ok()).ok_or(NotFinished { tool: "wrk" })?;
    let mut metrics = vec![metric("rate", "requests/s", rate, Better::Higher)];
    if let Some(bytes) = field("Transfer/sec:").and_then(bytes) {
        metrics.push(metric("goodput", "Gbit/s", bytes * 8e-9, Better::Higher));
    }
    // Zeros, if no answer was complete in time.
    let latencies = [("p50", "50%"), ("p90", "90%"), ("p99", "99%")];
    for (name, label) in latencies.into_iter().filter(|_| rate > 0.0) {
        metrics.extend(field(label).and_then(nanoseconds).map(|ns| metric(name, "us", ns / 1e3, Better::Lower)));
    }
    let socket = field("Socket errors:").map_or(0, |text| numbers(text).sum());
    let status = field("Non-2xx or 3xx responses:").map_or(0, |text| numbers(text).sum());
    Ok(Measured { metrics, errors: socket + status, ..Measured::default() })
}

/// `h2load`, any protocol.
pub(crate) fn h2load(said: &str) -> Result<Measured, NotFinished> {
    let unfinished = NotFinished { tool: "h2load" };
    let Some(end) = said.lines().find_map(|line| line.strip_prefix("finished in ")) else { return Err(unfinished) };
    let Some(rate) = end.split(", ").find_map(|part| part.strip_suffix(" req/s")?.parse().ok()) else {
        return Err(unfinished);
    };
    let mut metrics = vec![metric("rate", "requests/s", rate, Better::Higher)];
    if let Some(bytes) = end.split(", ").find_map(|part| bytes(part.strip_suffix("/s")?)) {
        metrics.push(metric("goodput", "Gbit/s", bytes * 8e-9, Better::Higher));
    }
    let counts = said.lines().find_map(|line| line.strip_prefix("requests: ")).unwrap_or_default();
    let wrong = |part: &&str| ["failed", "errored", "timeout"].iter().any(|word| part.ends_with(word));
    let errors = counts.split(", ").filter(wrong).flat_map(numbers).sum();
    Ok(Measured { metrics, errors, ..Measured::default() })
}

fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok())
}

/// `1.5us`, `12.3ms`, `1.00s`, `2.00m`.
fn nanoseconds(text: &str) -> Option<f64> {
    scaled(text, &[("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9)])
}

/// `16.55MB`: powers of 1024.
fn bytes(text: &str) -> Option<f64> {
    scaled(text, &[("KB", 1024.0), ("MB", 1_048_576.0), ("GB", 1_073_741_824.0), ("B", 1.0)])
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(measured: &Measured) -> Vec<(&str, f64)> {
        measured.metrics.iter().map(|metric| (metric.metric.as_str(), (metric.value * 1e3).round() / 1e3)).collect()
    }

    #[test]
    fn wrk_is_read() {
        let said = "Running 6s test @ http://10.0.1.1/1k\n  Latency Distribution\n     50%    4.03ms\n     75%    6.68ms\n     90%    \
                    9.68ms\n     99%  816.00us\n  953691 requests in 1.15m, 1.11GB read\n  Socket errors: connect 1, read 2, write 0, \
                    timeout 4\n  Non-2xx or 3xx responses: 5\nRequests/sec:  13842.65\nTransfer/sec:     16.55MB\n";
        let measured = wrk(said).unwrap();
        assert_eq!(
            values(&measured),
            [("rate", 13842.65), ("goodput", 0.139), ("p50", 4030.0), ("p90", 9680.0), ("p99", 816.0)]
        );
        assert_eq!(measured.errors, 12);
        assert!(wrk("unable to connect").is_err());
    }

    #[test]
    fn h2load_is_read() {
        let said = "finished in 2.00s, 34001.50 req/s, 38.55MB/s\nrequests: 68003 total, 68067 started, 68003 done, 68000 succeeded, \
                    1 failed, 2 errored, 3 timeout\nstatus codes: 68003 2xx\n";
        let measured = h2load(said).unwrap();
        assert_eq!((values(&measured), measured.errors), (vec![("rate", 34001.5), ("goodput", 0.323)], 6));
        assert!(h2load("starting benchmark...").is_err());
    }
}
