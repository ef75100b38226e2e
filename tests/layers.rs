//! The direction of the edges, held by a test: between crates, between the layers of the data plane, and from every loss
//! to its name, its documentation and a test.

#[allow(dead_code, reason = "each test program uses its part")]
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tree::{Source, report, root, sources};

/// Packet order: a layer may use those before it, never one after it.
const LAYERS: &[&str] = &["io", "l2", "l3", "l4", "l7"];
/// What all layers stand on; it knows none of them but `io`.
const GROUND: &[&str] = &["clock", "frame", "meta", "verdict", "batch", "stats", "sync", "wheel", "random"];
/// What assembles the layers.
const TOP: &[&str] = &["worker"];

#[test]
fn layers_only_look_down() {
    let mut complaints = Vec::new();
    for source in &sources(&["dataplane/src"]) {
        let module = module_path(&source.path);
        let Some(own) = module.first() else { continue };
        for (target, line) in references(source, &module) {
            if is_upward(own, &target) {
                complaints.push(format!("{}:{line}: {own} uses {target}", source.path));
            }
        }
    }
    report("edges point down: io < l2 < l3 < l4 < l7", &complaints);
}

fn is_upward(own: &str, target: &str) -> bool {
    let height = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    match (height(own), height(target)) {
        (Some(own), Some(target)) => target > own,
        (Some(_), None) => TOP.contains(&target),
        (None, Some(target)) => GROUND.contains(&own) && target > 0,
        (None, None) => GROUND.contains(&own) && TOP.contains(&target),
    }
}

/// `dataplane/src/l3/ipv4/input.rs` is `[l3, ipv4, input]`; `mod.rs` and `lib.rs` are their folder.
fn module_path(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("dataplane/src/").trim_end_matches(".rs");
    inner.split('/').filter(|part| !["mod", "lib"].contains(part)).map(str::to_owned).collect()
}

/// Top-level modules that product code of `source` names by `crate::…` or by climbing with `super::`.
fn references(source: &Source, module: &[String]) -> Vec<(String, usize)> {
    let tokens = source.tokens();
    let word = |index: usize| tokens.get(index).map_or("", |(token, _)| token.as_str());
    let mut found = Vec::new();
    for (index, (token, line)) in tokens.iter().enumerate() {
        if source.is_test_line(*line) {
            continue;
        }
        let after = index + 3;
        if token == "crate" && word(index + 1) == ":" && word(index + 2) == ":" {
            found.extend(heads(&tokens, after).into_iter().map(|head| (head, *line)));
        } else if token == "super" && word(index.wrapping_sub(3)) != "super" {
            let (mut levels, mut next) = (1, after);
            while word(next) == "super" {
                (levels, next) = (levels + 1, next + 3);
            }
            if levels == module.len() {
                found.extend(heads(&tokens, next).into_iter().map(|head| (head, *line)));
            }
        }
    }
    found
}

/// The first names after `crate::`: one, or those at the top of `{a, b::c, d}`.
fn heads(tokens: &[(String, usize)], start: usize) -> Vec<String> {
    let Some((first, _)) = tokens.get(start) else { return Vec::new() };
    if first != "{" {
        return vec![first.clone()];
    }
    let (mut depth, mut fresh, mut found) = (0, false, Vec::new());
    for (token, _) in &tokens[start..] {
        match token.as_str() {
            "{" => (depth, fresh) = (depth + 1, depth == 0),
            "}" => depth -= 1,
            "," => fresh = depth == 1,
            name if fresh && depth == 1 => {
                found.push(name.to_owned());
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

#[test]
fn an_upward_edge_would_be_seen() {
    assert!(is_upward("l2", "l3") && is_upward("io", "l7") && is_upward("frame", "l4") && is_upward("l7", "worker"));
    assert!(
        !is_upward("l3", "l2") && !is_upward("worker", "l7") && !is_upward("frame", "io") && !is_upward("l7", "clock")
    );
    let text = "use crate::{clock, l4::{tcp, l9}, l7};\nfn f() { super::super::l3::g(); assert!(crate::worker::X) }\n\
        #[cfg(test)]\nmod tests { use crate::l7; }";
    let source = Source::parse("dataplane/src/l2/arp.rs", text.to_owned());
    let found = references(&source, &module_path(&source.path));
    let expected = [("clock", 1), ("l4", 1), ("l7", 1), ("l3", 2), ("worker", 2)];
    assert_eq!(found, expected.map(|(name, line)| (name.to_owned(), line)));
}

#[test]
fn crates_below_do_not_know_those_above() {
    let tree = dependencies("tidegate-dataplane");
    for above in ["serde", "toml", "clap", "tokio", "axum", "hyper", "tracing", "tidegate-ctrl", "tidegate"] {
        assert!(!tree.contains(above), "tidegate-dataplane depends on {above}: the packet path knows no {above}");
    }
    let tree = dependencies("tidegate-ctrl");
    for above in ["clap", "tidegate"] {
        assert!(!tree.contains(above), "tidegate-ctrl depends on {above}");
    }
}

/// Names in the dependency tree of one crate, itself left out, without development and build dependencies.
fn dependencies(package: &str) -> BTreeSet<String> {
    let arguments =
        ["tree", "--offline", "--locked", "--no-default-features", "-e", "normal", "--prefix", "none", "-p"];
    let output = Command::new(env!("CARGO")).args(arguments).arg(package).current_dir(root()).output().expect("cargo");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let names = text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    names.filter(|name| name != package).collect()
}

#[test]
fn every_dependency_comes_from_the_public_registry() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is part of the tree");
    let strange: Vec<_> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "))
        .filter(|source| *source != "\"registry+https://github.com/rust-lang/crates.io-index\"")
        .map(str::to_owned)
        .collect();
    report("no git or private source", &strange);
}

#[test]
fn every_loss_is_documented_and_tested() {
    let all = sources(&["dataplane/src", "dataplane/tests", "ctrl/src", "tests"]);
    let reasons = all.iter().find(|source| source.path.ends_with("verdict.rs")).map(drop_reasons).unwrap_or_default();
    assert!(reasons.len() > 10, "the reasons are declared in dataplane/src/verdict.rs by drop_reasons!");
    let mut tested: BTreeSet<String> = BTreeSet::new();
    for source in &all {
        let tokens = source.tokens();
        tested.extend(tokens.into_iter().filter(|(_, line)| source.is_test_line(*line)).map(|(token, _)| token));
    }
    // What `dataplane/tests/bad_input.rs` sends, with the end it must come to.
    let corpus = fs::read_to_string(root().join("tests/bad_input/corpus.txt")).expect("the corpus is part of the tree");
    tested.extend(corpus.lines().filter_map(|case| case.split(" | ").nth(1)).map(|end| format!("\"{end}\"")));
    let mut complaints = Vec::new();
    for (name, label, documented) in reasons {
        if !documented {
            complaints.push(format!("DropReason::{name} has no doc line"));
        }
        if !tested.contains(&name) && !tested.contains(&label) {
            complaints.push(format!("DropReason::{name} is named in no test"));
        }
    }
    report("every DropReason has one line for the operator and a test that provokes it", &complaints);
}

/// (name, quoted label, documented) of each reason in `drop_reasons! { /// … Name = "label", }`.
fn drop_reasons(source: &Source) -> Vec<(String, String, bool)> {
    let tokens = source.tokens();
    let word = |index: usize| tokens.get(index).map_or("", |(token, _)| token.as_str());
    // The first mention is `macro_rules! drop_reasons`, the invocation is `drop_reasons ! {`.
    let start = (0..tokens.len()).find(|&i| word(i) == "drop_reasons" && word(i + 1) == "!").unwrap_or(tokens.len());
    let declares = |&i: &usize| word(i).starts_with(char::is_uppercase) && word(i + 1) == "=" && word(i + 3) == ",";
    let inside = (start..tokens.len()).take_while(|&i| word(i) != "impl").filter(declares);
    inside.map(|i| (word(i).to_owned(), word(i + 2).to_owned(), word(i - 1) == "]")).collect()
}
