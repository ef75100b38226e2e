//! Hand-made samples, and what must come of them.

use super::*;
use crate::record::sample::{Measured, parse};

/// A scenario with two peers and the bars given.
fn head(bars: &[&str]) -> Head {
    let program = |name: &str| Program { name: name.to_owned(), version: "1".to_owned() };
    Head {
        scenario: "http".to_owned(),
        title: "requests".to_owned(),
        port: "af_xdp".to_owned(),
        command: "scripts/bench http".to_owned(),
        machine: Place::default(),
        programs: [PRODUCT, "nginx", "haproxy"].map(program).to_vec(),
        bars: bars.iter().map(|bar| bar.parse().unwrap()).collect(),
        peers: Vec::new(),
    }
}

fn sample(round: u32, program: &str, value: f64, probes: [f64; 2]) -> Sample {
    let text = format!(
        r#"{{"round":{round},"program":"{program}","case":"1k","probe_ms":[{},{}],"metrics":[{{"metric":"rate","unit":"requests/s","value":{value},"better":"higher"}}],"latency":null,"errors":0}}"#,
        probes[0], probes[1]
    );
    serde_json::from_str(&text).unwrap()
}

const QUIET: [f64; 2] = [100.0, 101.0];

#[test]
fn ratios_are_taken_within_rounds_and_their_median_counts() {
    // The median of the product is 200, that of the peer 100; but round by round it is never twice as fast.
    let (own, peer) = ([100.0, 200.0, 300.0], [50.0, 200.0, 100.0]);
    let samples: Vec<_> = (0..3)
        .flat_map(|i| [sample(i as u32 + 1, PRODUCT, own[i], QUIET), sample(i as u32 + 1, "nginx", peer[i], QUIET)])
        .collect();
    let record = Record::of(head(&["1k rate nginx >= 2", "1k rate haproxy >= 2"]), &samples);
    let [row] = &record.rows[..] else { panic!("one case, one metric") };
    assert_eq!(row.product, Some(Spread { median: 200.0, min: 100.0, max: 300.0 }));
    assert_eq!(row.peers["nginx"], Spread { median: 100.0, min: 50.0, max: 200.0 });
    assert_eq!(row.ratio["nginx"], 2.0, "of 2, 1 and 3");
    assert_eq!(row.bar.as_deref(), Some("≥ 2 × nginx, ≥ 2 × haproxy"));
    assert_eq!(row.met, None, "nobody measured HAProxy");
    assert!(record.is_sound() && record.rounds == 3);
}

#[test]
fn a_bar_that_is_missed_stays_missed_whatever_is_unknown() {
    let samples = [sample(1, PRODUCT, 100.0, QUIET), sample(1, "nginx", 100.0, QUIET)];
    let met = |bars: &[&str]| Record::of(head(bars), &samples).rows[0].met;
    assert_eq!(met(&["1k rate nginx >= 2", "1k rate haproxy >= 2"]), Some(false));
    assert_eq!(met(&["1k rate nginx >= 1", "1k rate self >= 100"]), Some(true));
    assert_eq!(met(&["1k rate best >= 1"]), None, "HAProxy might have been better");
    assert_eq!(met(&["1k rate best >= 2"]), Some(false));
    assert_eq!(met(&["1k p99 nginx >= 2"]), None);
    assert_eq!(met(&[]), None);
}

#[test]
fn an_even_number_of_rounds_has_its_median_between_two() {
    assert_eq!(Spread::of([4.0, 1.0, 2.0, 100.0]).unwrap().median, 3.0);
    assert_eq!(Spread::of([]), None);
}

#[test]
fn slow_rounds_are_marked_and_left_out_while_enough_others_remain() {
    let run = |slow: &[u32]| {
        let samples: Vec<_> = (1..=5)
            .flat_map(|round| {
                let probes = if slow.contains(&round) { [100.0, 130.0] } else { QUIET };
                let value = if slow.contains(&round) { 10.0 } else { 100.0 };
                [sample(round, PRODUCT, value, probes), sample(round, "nginx", 50.0, QUIET)]
            })
            .collect();
        Record::of(head(&[]), &samples).rows.remove(0)
    };
    let row = run(&[2]);
    assert_eq!((row.slow_rounds.as_slice(), row.slow_left_out), (&[2][..], true));
    assert_eq!((row.product.unwrap().min, row.ratio["nginx"]), (100.0, 2.0));
    let row = run(&[1, 2, 3]);
    assert_eq!((row.slow_rounds.as_slice(), row.slow_left_out), (&[1, 2, 3][..], false));
    assert_eq!(row.product.unwrap().median, 10.0, "two quiet rounds are no majority");
    let row = run(&[]);
    assert!(row.slow_rounds.is_empty() && !row.slow_left_out);
}

#[test]
fn a_claim_rests_on_rounds_that_count() {
    let run = |rounds: u32, slow: &[u32]| {
        let probes = |round| if slow.contains(&round) { [100.0, 130.0] } else { QUIET };
        let pair = |round| [sample(round, PRODUCT, 100.0, probes(round)), sample(round, "nginx", 50.0, QUIET)];
        let samples: Vec<_> = (1..=rounds).flat_map(pair).collect();
        let short: Vec<_> = Rounds::of(&samples).short_of(5).iter().map(|(_, quiet)| *quiet).collect();
        (Record::of(head(&["1k rate nginx >= 2"]), &samples), short)
    };
    let (record, short) = run(5, &[2]);
    let row = &record.rows[0];
    assert_eq!((row.rounds, row.counted, short.as_slice()), (5, 4, &[4][..]));
    assert_eq!((row.met, row.verdict()), (Some(true), "met, in too few rounds for a claim"));
    let remarks = record.remarks();
    assert!(remarks[0].ends_with("slow in round 2 (left out: 4 rounds count)."), "{remarks:?}");
    assert!(remarks.contains(&"1k, rate: 4 of 5 rounds count, a claim takes 5.".to_owned()), "{remarks:?}");
    let last = remarks.last().map(String::as_str);
    assert_eq!(last, Some("0 of 1 bars are met, and 1 met, in too few rounds for a claim."));
    // With a sixth round five count.
    let (record, short) = run(6, &[2]);
    assert_eq!((record.rows[0].counted, record.rows[0].verdict(), short.len()), (5, "met", 0));
    assert_eq!(record.remarks().last().map(String::as_str), Some("1 of 1 bars are met."));
}

#[test]
fn rounds_without_the_peer_that_is_asked_about_do_not_count() {
    let mut samples: Vec<_> = (1..=5).map(|round| sample(round, PRODUCT, 100.0, QUIET)).collect();
    samples.extend((1..=3).map(|round| sample(round, "nginx", 50.0, QUIET)));
    let counted = |bar: &str| Record::of(head(&[bar]), &samples).rows[0].counted;
    assert_eq!((counted("1k rate nginx >= 2"), counted("1k rate self >= 2")), (3, 5));
}

#[test]
fn the_best_peer_is_that_of_all_the_scenario_has() {
    let of = |raced: &[&str], bar: &str, skip: Option<&str>| {
        let mut head = head(&[bar]);
        head.programs.retain(|program| program.name == PRODUCT || raced.contains(&program.name.as_str()));
        head.peers = ["nginx", "haproxy"].map(str::to_owned).to_vec();
        let mut samples = vec![sample(1, PRODUCT, 100.0, QUIET)];
        samples.extend(raced.iter().map(|name| sample(1, name, 50.0, QUIET)));
        for sample in samples.iter_mut().filter(|sample| Some(sample.program.as_str()) == skip) {
            sample.outcome = Outcome::Skipped { skipped: "no descriptors".to_owned() };
        }
        let row = Record::of(head, &samples).rows.remove(0);
        (row.met, row.bar.unwrap_or_default())
    };
    let bar = "1k rate best >= 2";
    assert_eq!(of(&["nginx", "haproxy"], bar, None), (Some(true), "≥ 2 × the best peer".into()));
    assert_eq!(of(&["nginx"], bar, None), (None, "≥ 2 × the best peer (haproxy: not measured)".into()));
    let both = of(&["nginx", "haproxy"], bar, Some("haproxy"));
    assert_eq!(both, (Some(true), "≥ 2 × the best peer (haproxy: left out, see below)".into()));
    assert_eq!(of(&["nginx"], "1k rate best >= 3", None).0, Some(false), "which the other cannot help");
    assert_eq!(of(&["nginx"], "1k rate nginx >= 2", None), (Some(true), "≥ 2 × nginx".into()));
}

#[test]
fn a_negative_growth_is_no_multiple() {
    let samples = [sample(1, PRODUCT, -3.0, QUIET), sample(1, "nginx", 50.0, QUIET), sample(1, "haproxy", -5.0, QUIET)];
    let row = Record::of(head(&[]), &samples).rows.remove(0);
    assert_eq!((row.product.unwrap().median, row.ratio.len()), (-3.0, 0));
}

#[test]
fn a_missing_peer_leaves_the_row() {
    let samples = [sample(1, PRODUCT, 100.0, QUIET), sample(2, PRODUCT, 120.0, QUIET), sample(2, "nginx", 60.0, QUIET)];
    let row = Record::of(head(&[]), &samples).rows.remove(0);
    assert_eq!((row.ratio.len(), row.ratio["nginx"]), (1, 2.0), "of the one round that has both");
    let row = Record::of(head(&[]), &[sample(1, "nginx", 60.0, QUIET)]).rows.remove(0);
    assert!(row.product.is_none() && row.ratio.is_empty() && row.peers.len() == 1);
}

#[test]
fn failing_rounds_are_reported_and_make_the_record_unsound() {
    let mut samples = vec![sample(1, PRODUCT, 100.0, QUIET), sample(1, "nginx", 60.0, QUIET)];
    samples[1].outcome = Outcome::Failed { failed: "did not start".to_owned() };
    let record = Record::of(head(&[]), &samples);
    assert!(!record.is_sound());
    assert_eq!(record.failures[0].why, "did not start");
    let Outcome::Measured(measured) = &mut samples[0].outcome else { unreachable!() };
    measured.errors = 3;
    let record = Record::of(head(&[]), &samples[..1]);
    assert_eq!((record.is_sound(), record.failures[0].why.as_str()), (false, "3 errors"));
    let Outcome::Measured(measured) = &mut samples[0].outcome else { unreachable!() };
    measured.failures = [("status".to_owned(), 2), ("reset".to_owned(), 1)].into();
    let record = Record::of(head(&[]), &samples[..1]);
    assert_eq!(record.failures[0].why, "3 errors: 1 × reset, 2 × status");
    assert!(!Record::of(head(&[]), &[]).is_sound(), "a record of nothing is no success");
}

#[test]
fn a_run_with_errors_reaches_no_bar() {
    let mut samples = vec![sample(1, PRODUCT, 100.0, QUIET), sample(1, "nginx", 10.0, QUIET)];
    let Outcome::Measured(measured) = &mut samples[0].outcome else { unreachable!() };
    measured.errors = 1;
    let row = Record::of(head(&["1k rate nginx >= 2"]), &samples).rows.remove(0);
    assert_eq!((row.product, row.met, row.verdict()), (None, None, "not measured"));
}

#[test]
fn a_bar_that_nothing_was_measured_for_is_a_row() {
    let mut samples = [sample(1, PRODUCT, 100.0, QUIET), sample(1, PRODUCT, 1.0, QUIET)];
    samples[1].case = "half".to_owned();
    samples[1].outcome = Outcome::Failed { failed: "did not start".to_owned() };
    let bars = ["half p99 best <= 0.7", "half p99 nginx <= 1", "1k rate self >= 1", "not-asked-for rate self >= 1"];
    let record = Record::of(head(&bars), &samples);
    let [rate, p99] = &record.rows[..] else { panic!("{} rows", record.rows.len()) };
    assert_eq!((rate.met, rate.verdict()), (Some(true), "met, in too few rounds for a claim"));
    assert_eq!((p99.case.as_str(), p99.metric.as_str(), p99.verdict()), ("half", "p99", "not measured"));
}

#[test]
fn what_a_peer_cannot_do_is_said_once_and_is_no_failure() {
    let mut samples: Vec<_> = (1..=3).map(|round| sample(round, "nginx", 1.0, QUIET)).collect();
    for sample in &mut samples {
        sample.outcome = Outcome::Skipped { skipped: "20000 descriptors".to_owned() };
        // It was not run, so there is no probe.
        sample.probe_ms = [0.0; 2];
    }
    samples.extend([sample(1, PRODUCT, 1.0, QUIET), sample(1, "haproxy", 0.5, QUIET)]);
    let record = Record::of(head(&["1k rate best >= 2"]), &samples);
    assert!(record.is_sound());
    assert_eq!(record.skipped.len(), 1);
    assert_eq!((record.rows[0].met, record.rows[0].slow_rounds.len()), (Some(true), 0));
}

#[test]
fn a_file_is_read_line_by_line_and_a_wrong_line_is_named() {
    let head = serde_json::to_string(&head(&["1k rate nginx >= 2"])).unwrap();
    let line = r#"{"round":1,"program":"nginx","case":"1k","probe_ms":[1,1],"failed":"no"}"#;
    let (read, samples) = parse(&format!("{head}\n{line}\n\n")).unwrap();
    assert_eq!((read.bars.len(), samples.len()), (1, 1));
    assert!(matches!(&samples[0].outcome, Outcome::Failed { failed } if failed == "no"));
    let wrong = parse(&format!("{head}\n{line}\n{{}}\n")).err().unwrap();
    assert!(wrong.to_string().starts_with("line 3:"), "{wrong}");
    assert!(parse("").is_err());
}

#[test]
fn the_json_has_the_words_of_the_record() {
    let samples = [sample(1, PRODUCT, 100.0, QUIET), sample(1, "nginx", 50.0, QUIET)];
    let json = serde_json::to_value(Record::of(head(&["1k rate nginx >= 2"]), &samples)).unwrap();
    assert_eq!(json["scenario"], "http");
    assert_eq!(json["port"], "af_xdp");
    let row = &json["rows"][0];
    assert_eq!((&row["case"], &row["metric"], &row["unit"]), (&"1k".into(), &"rate".into(), &"requests/s".into()));
    assert_eq!(row["product"], serde_json::json!({"median": 100.0, "min": 100.0, "max": 100.0}));
    assert_eq!(row["peers"]["nginx"]["median"], 50.0);
    assert_eq!((&row["ratio"]["nginx"], &row["met"], &row["bar"]), (&2.0.into(), &true.into(), &"≥ 2 × nginx".into()));
}

#[test]
fn what_a_program_spends_is_told_beside_a_rate_that_the_load_limits() {
    let line = |busy: u32, pieces: &str| -> Measured {
        let text = format!(
            r#"{{"metrics":[{{"metric":"load_busy","unit":"%","value":{busy},"better":"lower"}}],"errors":0{pieces}}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    let run = |program: &str, busy: u32, cycles: f64| {
        let mut measured = line(busy, r#","pieces":200"#);
        measured.spent(cycles);
        Sample { outcome: Outcome::Measured(measured), ..sample(1, program, 0.0, QUIET) }
    };
    let record = Record::of(head(&[]), &[run(PRODUCT, 50, 1000.0), run("nginx", 99, 3000.0)]);
    let cost = record.rows.iter().find(|row| row.metric == "program_cost").expect("told");
    assert_eq!((cost.product.unwrap().median, cost.peers["nginx"].median), (5.0, 15.0));
    let limits: Vec<_> =
        record.remarks().into_iter().filter(|remark| remark.contains("the load was the limit")).collect();
    assert_eq!(limits.len(), 1);
    assert!(limits[0].contains("1k:") && limits[0].contains("(nginx 99 % busy)"), "{limits:?}");
    let mut uncounted = line(50, "");
    uncounted.spent(1000.0);
    assert_eq!(uncounted.metrics.len(), 1, "nobody has counted the pieces");
}
