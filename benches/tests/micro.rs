//! Counting instructions: a kernel that became a tenth more expensive is found, one that did not change is not.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate-bench")).arg("micro").args(arguments).output();
    output.expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Counts a rehearsal under the same name as the others.
fn counted(directory: &Path, rehearsal: &str, file: &str) -> (PathBuf, f64) {
    let path = directory.join(file);
    let output = bench(&["--only", rehearsal, "--save", path.to_str().expect("a path of letters")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let saved = std::fs::read_to_string(&path).expect("counts are saved");
    let value: serde_json::Value = serde_json::from_str(&saved).expect("JSON");
    let instructions = value["kernels"][0]["instructions"].as_f64().expect("a count");
    std::fs::write(&path, saved.replace(rehearsal, "rehearsal")).expect("counts are renamed");
    (path, instructions)
}

#[test]
fn a_planted_regression_is_found() {
    let directory = std::env::temp_dir().join(format!("tidegate-micro-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let (before, was) = counted(&directory, "rehearsal/before", "before");
    let (again, is) = counted(&directory, "rehearsal/before", "again");
    let (after, more) = counted(&directory, "rehearsal/after", "after");
    let compare = |one: &Path, other: &Path, more: &[&str]| {
        let files = [one.to_str().expect("a path"), other.to_str().expect("a path")];
        bench(&[&["--compare"], &files[..], more].concat())
    };
    let same = compare(&before, &again, &[]);
    let slower = compare(&before, &after, &[]);
    let faster = compare(&after, &before, &[]);
    let tolerated = compare(&before, &after, &["--tolerance", "15"]);
    let absent = compare(&before, &directory.join("absent"), &[]);
    std::fs::remove_dir_all(&directory).expect("it is there");

    assert!((1000.0..20_000.0).contains(&was), "{was} instructions for a thousand rounds");
    assert!((is / was - 1.0).abs() < 1e-3, "the same in every run: {was}, {is}");
    assert!((1.08..1.11).contains(&(more / was)), "a tenth more: {was}, {more}");
    let codes = [same, slower.clone(), faster, tolerated, absent].map(|output| output.status.code());
    assert_eq!(codes, [Some(0), Some(1), Some(0), Some(0), Some(3)]);
    assert!(text(&slower.stdout).contains("**slower**"), "{}", text(&slower.stdout));
}

#[test]
fn kernels_are_listed_without_the_rehearsals() {
    let listed = text(&bench(&["--list"]).stdout);
    for kernel in ["l3_route/v4", "turn/http_request", "flow/hit", "wheel/fire", "http1/request_parse", "tls/seal_16k"]
    {
        assert!(listed.lines().any(|line| line.starts_with(kernel)), "{kernel} is missing in\n{listed}");
    }
    assert!(!listed.contains("rehearsal"));
    assert!(text(&bench(&["--list", "--only", "wheel"]).stdout).lines().all(|line| line.starts_with("wheel/")));
}
