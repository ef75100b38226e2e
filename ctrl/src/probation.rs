//! Addresses that are not used until it is known that nobody else has them (`duplicate_detection = "withhold"`).
//!
//! The cores probe and report; this decides. An address is free when [`PROBE_TIME`] has passed without a conflict; one in conflict is
//! withheld until a reload asks again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use tidegate_dataplane::l2::presence::PROBE_TIME;

use crate::compile::Tentative;
use crate::config::Config;
use crate::config::model::{DuplicateDetection, Name};

/// An address of an interface, by the interface's name.
type Own = (Name, IpAddr);

/// What is being asked for, and what is somebody else's.
#[derive(Clone, Debug, Default)]
pub struct Probation {
    /// Addresses that have passed or need not.
    passed: BTreeSet<Own>,
    asked: Vec<(Own, Instant)>,
    taken: BTreeSet<Own>,
    attempt: u64,
}

impl Probation {
    /// Takes over a configuration at the time `now`: new addresses are asked for, and those that were taken are asked for again.
    pub fn adopt(&mut self, config: &Config, now: Instant) -> Tentative {
        let mut addresses = BTreeSet::new();
        let mut free = BTreeSet::new();
        for interface in &config.interfaces {
            let withhold = interface.duplicate_detection == DuplicateDetection::Withhold;
            let own = interface.addresses.iter().map(|address| (interface.name.clone(), address.0.addr()));
            if withhold { addresses.extend(own) } else { free.extend(own) }
        }
        // What is in use stays in use.
        self.passed.retain(|own| addresses.contains(own) || free.contains(own));
        self.passed.extend(free);
        self.asked.retain(|(own, _)| addresses.contains(own) && !self.passed.contains(own));
        self.taken.clear();
        let known: BTreeSet<Own> = self.passed.iter().chain(self.asked.iter().map(|(own, _)| own)).cloned().collect();
        let new = addresses.difference(&known).map(|own| (own.clone(), now + PROBE_TIME));
        let before = self.asked.len();
        self.asked.extend(new);
        self.attempt += u64::from(self.asked.len() > before);
        self.tentative()
    }

    /// Another station has the address. Whether that withholds it; it does not if it is in use already.
    pub fn conflict(&mut self, interface: Name, address: IpAddr) -> bool {
        let own = (interface, address);
        if self.asked.iter().any(|(asked, _)| *asked == own) {
            self.asked.retain(|(asked, _)| *asked != own);
            self.taken.insert(own.clone());
        }
        self.taken.contains(&own)
    }

    /// The addresses that nobody has claimed in time: they may be used from now on.
    pub fn passed(&mut self, now: Instant) -> Vec<Own> {
        let passed: Vec<Own> =
            self.asked.iter().filter(|(_, until)| *until <= now).map(|(own, _)| own.clone()).collect();
        self.asked.retain(|(_, until)| *until > now);
        self.passed.extend(passed.iter().cloned());
        passed
    }

    /// What may not be used now.
    pub fn tentative(&self) -> Tentative {
        let asked = self.asked.iter().map(|(own, _)| own.clone());
        Tentative { addresses: asked.chain(self.taken.iter().cloned()).collect(), attempt: self.attempt }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::config::{self, Surroundings};
    use crate::diagnostic::Source;

    fn config(detection: &str, addresses: &str) -> Config {
        let text = format!(
            "[[port]]\nname = \"p\"\ndriver = \"memory\"\naddresses = {addresses}\nduplicate_detection = \"{detection}\"\n"
        );
        let surroundings =
            Surroundings { directory: Path::new("/"), files: None, now: SystemTime::UNIX_EPOCH, dpdk: false };
        let checked = config::check(Source::new("test", text), &surroundings);
        checked.config.unwrap_or_else(|| panic!("{:?}", checked.report))
    }

    fn own(address: &str) -> Own {
        (Name("p".to_owned()), address.parse().unwrap())
    }

    #[test]
    fn an_address_passes_in_time_or_is_withheld_until_a_reload() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut probation = Probation::default();
        let two = config("withhold", r#"["10.0.0.1/24", "10.0.0.2/24"]"#);
        let tentative = probation.adopt(&two, start);
        assert_eq!((tentative.addresses.len(), tentative.attempt), (2, 1));
        assert!(probation.conflict(own("10.0.0.1").0, "10.0.0.2".parse().unwrap()));
        assert!(probation.passed(later(7)).is_empty());
        assert_eq!(probation.passed(later(8)), [own("10.0.0.1")]);
        assert_eq!(probation.tentative().addresses, [own("10.0.0.2")].into());
        assert!(!probation.conflict(own("10.0.0.1").0, "10.0.0.1".parse().unwrap()), "in use: defended, not given up");
        // The operator has mended the other station.
        let again = probation.adopt(&two, later(100));
        assert_eq!((again.addresses, again.attempt), ([own("10.0.0.2")].into(), 2));
        assert_eq!(probation.passed(later(108)), [own("10.0.0.2")]);
        assert_eq!(probation.adopt(&two, later(200)).addresses, BTreeSet::new(), "nothing is asked twice");
    }

    #[test]
    fn what_is_in_use_stays_in_use_when_the_operator_becomes_careful() {
        let now = Instant::now();
        let mut probation = Probation::default();
        assert!(probation.adopt(&config("report", r#"["10.0.0.1/24"]"#), now).addresses.is_empty());
        assert!(probation.adopt(&config("withhold", r#"["10.0.0.1/24"]"#), now).addresses.is_empty());
        let moved = probation.adopt(&config("withhold", r#"["10.0.0.9/24"]"#), now);
        assert_eq!(moved.addresses, [own("10.0.0.9")].into());
    }
}
