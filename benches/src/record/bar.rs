//! What a figure must reach: `CASE METRIC WHOM >= VALUE` or `<=`, where WHOM is a peer, `best` or `self`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A demand on one row of the record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Bar {
    pub(crate) case: String,
    pub(crate) metric: String,
    pub(crate) whom: Whom,
    /// At least `value`, otherwise at most.
    pub(crate) at_least: bool,
    pub(crate) value: f64,
}

/// What the value is a multiple of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Whom {
    /// Nothing: the product's own figure, in the metric's unit.
    Own,
    /// Every peer that the scenario has.
    Best,
    /// One peer.
    Peer(String),
}

/// Words that are no bar.
#[derive(Debug)]
pub(crate) struct NoBar(String);

impl fmt::Display for NoBar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: a bar is CASE METRIC PEER|best|self >=|<= NUMBER", self.0)
    }
}

impl std::error::Error for NoBar {}

impl FromStr for Bar {
    type Err = NoBar;

    fn from_str(text: &str) -> Result<Self, NoBar> {
        let no = || NoBar(text.to_owned());
        let words: Vec<_> = text.split_whitespace().collect();
        let [case, metric, whom, sign, value] = words[..] else { return Err(no()) };
        let at_least = match sign {
            ">=" => true,
            "<=" => false,
            _ => return Err(no()),
        };
        let whom = match whom {
            "self" => Whom::Own,
            "best" => Whom::Best,
            peer => Whom::Peer(peer.to_owned()),
        };
        let value = value.parse().map_err(|_| no())?;
        Ok(Self { case: case.to_owned(), metric: metric.to_owned(), whom, at_least, value })
    }
}

impl Bar {
    /// Whether a figure of this peer decides about it.
    pub(crate) fn concerns(&self, name: &str) -> bool {
        match &self.whom {
            Whom::Own => false,
            Whom::Best => true,
            Whom::Peer(peer) => peer == name,
        }
    }

    /// Whether it holds: `own` is the product's median, `ratios` its median ratio to each peer, `complete` whether none of them is
    /// missing. `None` when what it asks about was not measured: the best of some peers is not the best.
    pub(crate) fn met(&self, own: Option<f64>, ratios: &[(String, f64)], complete: bool) -> Option<bool> {
        let reaches = |value: f64| if self.at_least { value >= self.value } else { value <= self.value };
        match &self.whom {
            Whom::Own => own.map(reaches),
            Whom::Best if ratios.iter().any(|(_, ratio)| !reaches(*ratio)) => Some(false),
            Whom::Best => (complete && !ratios.is_empty()).then_some(true),
            Whom::Peer(name) => ratios.iter().find(|(peer, _)| peer == name).map(|(_, ratio)| reaches(*ratio)),
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.at_least { '≥' } else { '≤' };
        match &self.whom {
            Whom::Own => write!(f, "{sign} {}", self.value),
            Whom::Best => write!(f, "{sign} {} × the best peer", self.value),
            Whom::Peer(name) => write!(f, "{sign} {} × {name}", self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_read_and_said() {
        let bar: Bar = "1k rate nginx >= 2".parse().unwrap();
        assert_eq!(bar.to_string(), "≥ 2 × nginx");
        assert_eq!("half p99 best <= 0.7".parse::<Bar>().unwrap().to_string(), "≤ 0.7 × the best peer");
        assert_eq!("100k memory self <= 4096".parse::<Bar>().unwrap().to_string(), "≤ 4096");
        for wrong in ["", "1k rate nginx", "1k rate nginx > 2", "1k rate nginx >= two", "1k rate nginx >= 2 3"] {
            assert!(wrong.parse::<Bar>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bar_holds_or_not_or_is_not_known() {
        let ratios = [("nginx".to_owned(), 2.5), ("envoy".to_owned(), 1.5)];
        let met = |text: &str, own| text.parse::<Bar>().unwrap().met(own, &ratios, true);
        assert_eq!(met("c m nginx >= 2", None), Some(true));
        assert_eq!(met("c m envoy >= 2", None), Some(false));
        assert_eq!(met("c m haproxy >= 2", None), None);
        assert_eq!(met("c m best >= 1.5", None), Some(true));
        assert_eq!(met("c m best >= 1.6", None), Some(false));
        assert_eq!(met("c m best <= 2.5", None), Some(true));
        assert_eq!(met("c m self <= 100", Some(100.0)), Some(true));
        assert_eq!(met("c m self <= 100", None), None);
        let best = |text: &str, ratios: &[(String, f64)]| text.parse::<Bar>().unwrap().met(Some(1.0), ratios, false);
        assert_eq!(best("c m best >= 1", &[]), None);
        assert_eq!(best("c m best >= 1.5", &ratios), None, "a peer is missing");
        assert_eq!(best("c m best >= 1.6", &ratios), Some(false), "which cannot help");
    }
}
