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
    measure(&options(&format!("{common} {words}"))).expect("a load")
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
    let outcome = measure(&all).expect("a load");
    assert!(outcome.line().contains("\"refused\":"), "{}", outcome.line());
    all.json = Some(std::env::temp_dir().join(format!("tidegate-load-{}.json", std::process::id())));
    assert!(matches!(run(&all), Err(LoadError::Failures(1..))));
    let line = fs::read_to_string(all.json.as_ref().unwrap()).unwrap();
    fs::remove_file(all.json.as_ref().unwrap()).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert!(line["errors"].as_u64() > Some(0) && line["latency"].is_null() && line["metrics"].is_array(), "{line}");
}
