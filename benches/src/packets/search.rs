//! The highest rate at which nothing is lost (RFC 2544 §26.1), by bisection.

use super::stand::Trial;

/// When a search ends.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Limits {
    /// The search ends when the rate is known to this fraction.
    #[arg(long, default_value_t = 0.02, value_parser = fraction)]
    pub(crate) resolution: f64,
    /// Share of the packets that may be lost in a trial that counts as one without loss. RFC 2544 allows none; on a machine that is
    /// interrupted from outside, none means the rate at which nothing happened to be interrupted.
    #[arg(long, default_value_t = 0.0, value_parser = fraction)]
    pub(crate) tolerance: f64,
    /// Trials at most, the first included.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) trials: u32,
}

fn fraction(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..1.0).contains(share)).ok_or_else(|| "a fraction from 0 to 1".to_owned())
}

/// What a search has found.
pub(crate) struct Found {
    /// As many packets as the generator can send, whatever becomes of them.
    pub(crate) flood: Trial,
    /// The fastest trial that lost nothing; `None` if each lost something.
    pub(crate) best: Option<Trial>,
    /// Packets that arrived altered, in all trials.
    pub(crate) wrong: u64,
    /// Trials.
    pub(crate) trials: u32,
}

/// Searches. `trial` sends at a rate, or as fast as it can without one.
pub(crate) fn throughput(trial: &mut dyn FnMut(Option<f64>) -> Trial, limits: &Limits) -> Found {
    let flood = trial(None);
    let mut found = Found { wrong: flood.wrong, best: None, trials: 1, flood: flood.clone() };
    let passes = |trial: &Trial| trial.received > 0 && trial.lost() as f64 <= limits.tolerance * trial.sent as f64;
    if passes(&flood) {
        // The wire holds the generator back: there is no faster.
        found.best = Some(flood);
        return found;
    }
    let (mut low, mut high) = (0.0, flood.offered());
    // What got through the flood is a good first guess where overload does little harm.
    let mut rate = flood.delivered();
    while found.trials < limits.trials && high - low > limits.resolution * high && rate > 0.0 {
        let tried = trial(Some(rate));
        found.trials += 1;
        found.wrong += tried.wrong;
        if passes(&tried) {
            low = rate;
            // The generator may have been too slow for the rate; what it sent is what was borne.
            if tried.offered() < rate * (1.0 - limits.resolution) {
                high = rate;
            }
            found.best = Some(tried);
        } else {
            high = rate;
        }
        // Bounds that lie far apart are first brought to the same order of magnitude.
        rate = if low > 0.0 && high > 2.0 * low { (low * high).sqrt() } else { f64::midpoint(low, high) };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { resolution: 0.01, tolerance: 0.0, trials: 30 };

    /// A program that forwards `capacity` packets a second, less under overload, and a generator that sends at most `most`.
    fn search(capacity: f64, most: f64, limits: &Limits) -> (Found, Vec<f64>) {
        let mut rates = Vec::new();
        let mut trial = |rate: Option<f64>| {
            let offered = rate.unwrap_or(most).min(most);
            rates.push(offered);
            let delivered = if offered > capacity { capacity * 0.7 } else { offered };
            Trial::of(offered as u64, delivered as u64, 1.0)
        };
        (throughput(&mut trial, limits), rates)
    }

    #[test]
    fn the_capacity_is_found_to_the_resolution() {
        for capacity in [1e4, 3.33e5, 1.9e6] {
            let (found, rates) = search(capacity, 2e6, &LIMITS);
            let best = found.best.expect("a rate without loss").offered();
            assert!(best <= capacity && best >= capacity * 0.985, "{best} of {capacity}");
            assert!(rates.len() < 13, "{rates:?}");
        }
    }

    #[test]
    fn a_wire_that_holds_the_generator_back_needs_one_trial() {
        let (found, rates) = search(5e6, 2e6, &LIMITS);
        assert_eq!((found.best.unwrap().sent, rates.len()), (2_000_000, 1));
    }

    #[test]
    fn what_always_loses_has_no_throughput_and_trials_are_bounded() {
        let mut trial = |rate: Option<f64>| {
            let sent = rate.unwrap_or(1e6) as u64;
            Trial::of(sent, sent / 2, 1.0)
        };
        let found = throughput(&mut trial, &LIMITS);
        assert!(found.best.is_none() && found.trials <= LIMITS.trials);
    }

    #[test]
    fn a_tolerance_forgives_as_much_and_no_more() {
        let mut lossy = |rate: Option<f64>| {
            let sent = rate.unwrap_or(1e6) as u64;
            Trial::of(sent, sent - sent.div_ceil(1000), 1.0)
        };
        assert!(throughput(&mut lossy, &Limits { tolerance: 0.0005, ..LIMITS }).best.is_none());
        let found = throughput(&mut lossy, &Limits { tolerance: 0.001, ..LIMITS });
        assert_eq!(found.best.unwrap().sent, 1_000_000);
    }
}
