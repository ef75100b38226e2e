//! Loads on a wire within the process: generator and origin, as they are on any other port.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

fn options(words: &str) -> Options {
    Command::try_parse_from(["load"].into_iter().chain(words.split_whitespace())).expect("an option").options
}

fn load(words: &str) -> Outcome {
    let common = "--port memory --seconds 0.3 --warmup 0.1 --timeout 1";
    measure(&options(&format!("{common} {words}")), || false).expect("a load")
}

/// A CA with a certificate for `origin` and one for a client, as options.
fn certificates(directory: &tempfile::TempDir) -> String {
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("room for a file");
        path.display().to_string()
    };
    let key = || rcgen::KeyPair::generate().expect("a key");
    let params = |name: &str| rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let ca_key = key();
    let mut ca_params = params("ca");
    ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = write("ca.pem", ca_params.self_signed(&ca_key).expect("a certificate").pem());
    let issuer = rcgen::Issuer::new(ca_params, ca_key);
    let mut words =
        format!("--to 10.0.1.1:443 --listen-tls 443 --tls --ca {ca} --server-name origin --origin-client-ca {ca}");
    for (name, option) in
        [("origin", "--origin-certificate {} --origin-key {}"), ("client", "--certificate {} --key {}")]
    {
        let own = key();
        let pem = params(name).signed_by(&own, &issuer).expect("a certificate").pem();
        let (certificate, own) =
            (write(&format!("{name}.pem"), pem), write(&format!("{name}.key"), own.serialize_pem()));
        words += &format!(" {}", option.replacen("{}", &certificate, 1).replacen("{}", &own, 1));
    }
    words
}

#[test]
fn a_closed_loop_is_as_fast_as_it_can() {
    let outcome = load("--connections 16");
    assert_eq!(outcome.errors(), 0, "{}", outcome.line());
    let rate = outcome.value("rate");
    assert!(rate > 1000.0, "{}", outcome.line());
    // A kilobyte of content each.
    let content = outcome.value("goodput") * 1e9 / 8.0 / rate;
    assert!((1000.0..1050.0).contains(&content), "{content} bytes per request");
    // Nobody has more than one request under way (Little's law).
    let under_way = rate * outcome.value("p50") / 1e6;
    assert!(under_way < 32.0, "{under_way} requests under way at the median");
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let outcome = load("--connections 16 --rate 2000 --path /100k");
    assert_eq!(outcome.errors(), 0, "{}", outcome.line());
    assert!((1900.0..2100.0).contains(&outcome.value("rate")), "{}", outcome.line());
    let latency = crate::latency::decode(outcome.latency.as_deref().expect("latencies")).expect("a histogram");
    assert_eq!(latency.len(), 600, "one per scheduled time of the window");
}

#[test]
fn what_the_load_costs_is_told_at_any_rate() {
    for rate in [20, 50, 100, 2000] {
        let outcome = load(&format!("--connections 4 --rate {rate}"));
        assert_eq!(outcome.errors(), 0, "{}", outcome.line());
        for metric in ["generator_cost", "origin_cost", "load_busy"] {
            assert!(outcome.value(metric) > 0.0, "{rate}/s: {}", outcome.line());
        }
    }
}

#[test]
fn of_nothing_there_is_no_percentile() {
    let outcome = load("--path /nothing --connections 1");
    assert_eq!(outcome.value("rate"), 0.0);
    assert!(outcome.latency.is_none() && !outcome.line().contains("\"p50\""), "{}", outcome.line());
}

#[test]
fn a_connection_for_each_request() {
    let outcome = load("--mode new --connections 4");
    assert_eq!(outcome.errors(), 0, "{}", outcome.line());
    let (rate, opened) = (outcome.value("rate"), outcome.value("opened"));
    assert!(rate > 200.0 && (opened / rate - 1.0).abs() < 0.1, "{}", outcome.line());
}

#[test]
fn uploads_are_checked_and_come_back() {
    for words in ["--upload 3000", "--upload 3000 --path /echo", "--upload 3000 --path /sink"] {
        let outcome = load(words);
        assert_eq!(outcome.errors(), 0, "{words}: {}", outcome.line());
        assert!(outcome.value("rate") > 100.0, "{words}: {}", outcome.line());
    }
}

#[test]
fn failures_are_named_and_fail_the_run() {
    let outcome = load("--path /nothing --connections 1");
    assert!(outcome.line().contains("\"status\":"), "{}", outcome.line());
    let mut all = options("--port memory --to 10.0.1.1:81 --seconds 0.1 --warmup 0 --connections 2");
    let outcome = measure(&all, || false).expect("a load");
    assert!(outcome.line().contains("\"refused\":"), "{}", outcome.line());
    all.json = Some(std::env::temp_dir().join(format!("tidegate-load-{}.json", std::process::id())));
    assert!(matches!(run(&all), Err(LoadError::Failures(1..))));
    let line = fs::read_to_string(all.json.as_ref().unwrap()).unwrap();
    fs::remove_file(all.json.as_ref().unwrap()).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert!(line["errors"].as_u64() > Some(0) && line["latency"].is_null() && line["metrics"].is_array(), "{line}");
}

#[test]
fn over_tls_with_certificates_on_both_sides() {
    let directory = tempfile::tempdir().expect("a directory");
    let tls = certificates(&directory);
    for (mode, path) in [("keepalive", "/1k"), ("new", "/1k"), ("bulk", "/bytes/1000000")] {
        let outcome = load(&format!("--mode {mode} --path {path} --connections 4 {tls}"));
        assert_eq!(outcome.errors(), 0, "{mode}: {}", outcome.line());
        assert!(outcome.value("rate") > 10.0, "{mode}: {}", outcome.line());
    }
    let (full, resumed) = (load(&format!("--mode handshake {tls}")), load(&format!("--mode resume {tls}")));
    for outcome in [&full, &resumed] {
        assert_eq!(outcome.errors(), 0, "{}", outcome.line());
        assert!((outcome.value("opened") / outcome.value("rate") - 1.0).abs() < 0.1, "{}", outcome.line());
    }
    // No signature, no chain: a fraction of the work.
    let ratio = resumed.value("rate") / full.value("rate");
    assert!(ratio > 1.3, "{ratio} times as many resumed as full: {} {}", full.line(), resumed.line());
}

#[test]
fn without_a_certificate_the_origin_refuses() {
    let directory = tempfile::tempdir().expect("a directory");
    let tls = certificates(&directory);
    let own = tls.find("--certificate").expect("the client's");
    let outcome = load(&format!("--connections 2 {}", &tls[..own]));
    assert!(outcome.line().contains("\"tls\":"), "{}", outcome.line());
    assert_eq!(outcome.value("rate"), 0.0);
    let all = options("--port memory --mode resume");
    assert!(matches!(measure(&all, || false), Err(LoadError::NoTls)));
}

#[test]
fn handshakes_without_tls_are_connections() {
    let outcome = load("--mode handshake --connections 8");
    assert_eq!(outcome.errors(), 0, "{}", outcome.line());
    assert!(outcome.value("rate") > 500.0, "{}", outcome.line());
}

#[test]
fn idle_connections_are_held_to_the_end() {
    // More than one address has ports for.
    let outcome = load("--mode idle --connections 3000 --address 10.0.1.2-10.0.1.40/24");
    assert_eq!((outcome.errors(), outcome.value("held")), (0, 3000.0), "{}", outcome.line());
    assert_eq!(outcome.value("rate"), 0.0);
}

#[test]
fn idle_connections_are_woken_after_a_rest() {
    let begun = std::time::Instant::now();
    let outcome = load("--mode idle --connections 300 --rate 1000 --rest 0.4");
    assert!(begun.elapsed() > Duration::from_millis(750), "a rest, a warm-up and what counts");
    assert_eq!((outcome.errors(), outcome.value("held")), (0, 300.0), "{}", outcome.line());
    assert!((950.0..1050.0).contains(&outcome.value("rate")), "{}", outcome.line());
    let latency = crate::latency::decode(outcome.latency.as_deref().expect("latencies")).expect("a histogram");
    assert_eq!(latency.len(), 300, "one per scheduled time of the window");
    assert!(latency.max() < 300_000_000, "the rest is no wait: {}", outcome.line());
}

#[test]
fn what_is_due_while_the_server_stalls_is_late() {
    let stalls = "--connections 64 --seconds 1 --stall 200 --stall-every 1000 --timeout 5";
    let measured = measure(&options(&format!("--port memory --rate 2000 {stalls}")), || false).expect("a load");
    let latency = crate::latency::decode(measured.latency.as_deref().expect("latencies")).expect("a histogram");
    assert_eq!((measured.errors(), latency.len()), (0, 2000), "{}", measured.line());
    // One stall is in any second. Of the 400 requests that are due meanwhile half wait for more than half of it.
    let late = latency.count_between(100_000_000, u64::MAX);
    assert!((190..300).contains(&late), "{late} late ones");
    assert!(measured.value("p99") > 185_000.0, "{}", measured.line());
    // A closed loop has as many late ones as connections, and its percentiles know nothing of the stall.
    let closed = measure(&options(&format!("--port memory {stalls}")), || false).expect("a load");
    let latency = crate::latency::decode(closed.latency.as_deref().expect("latencies")).expect("a histogram");
    assert!((64..=128).contains(&latency.count_between(100_000_000, u64::MAX)), "{}", closed.line());
    assert!(closed.value("p99") < 50_000.0, "{}", closed.line());
}

#[test]
fn a_run_that_is_stopped_counts_up_to_then() {
    let begun = std::time::Instant::now();
    let options = options("--port memory --seconds 60 --warmup 0");
    let outcome = measure(&options, || begun.elapsed() > Duration::from_millis(300)).expect("a load");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(outcome.errors(), 0);
    assert!(outcome.value("rate") > 1000.0, "{}", outcome.line());
}
