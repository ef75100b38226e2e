//! The real binary: commands, exit codes, what goes to which stream.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn tidegate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(args).env_remove("NO_COLOR").output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("configs")).expect("configs");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn every_shipped_file_is_good() {
    let files = shipped();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let output = tidegate(&["check", "--no-files", file.to_str().expect("UTF-8")]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(!text.contains("warning"), "{text}");
    }
}

/// The demonstration's file with certificates of the names it uses.
#[test]
fn the_gateway_file_is_good_with_its_certificates() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let put = |name: &str, text: String| std::fs::write(directory.path().join(name), text).expect("writable");
    let key = || rcgen::KeyPair::generate().expect("key");
    let params = |name: &str| rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a DNS name");
    let (mut ca, ca_key) = (params("ca.internal"), key());
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    put("ca.pem", ca.self_signed(&ca_key).expect("certificate").pem());
    let issuer = rcgen::Issuer::from_params(&ca, &ca_key);
    for (name, host) in [("gateway", "gateway.example.com"), ("gateway-client", "gateway.internal")] {
        let own = key();
        put(&format!("{name}.pem"), params(host).signed_by(&own, &issuer).expect("certificate").pem());
        put(&format!("{name}.key"), own.serialize_pem());
    }
    let crl = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2024, 1, 1),
        next_update: rcgen::date_time_ymd(2124, 1, 1),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    put("crl.pem", crl.signed_by(&issuer).expect("list").pem().expect("PEM"));
    let file = directory.path().join("gateway.toml");
    std::fs::copy(root().join("configs/gateway.toml"), &file).expect("copied");
    let file = file.to_str().expect("UTF-8");
    let output = tidegate(&["check", file]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));

    std::fs::remove_file(directory.path().join("crl.pem")).expect("removed");
    let output = tidegate(&["check", file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("there is no file"), "{}", stdout(&output));
}

#[test]
fn check_says_where_and_exits_with_1() {
    let file = root().join("ctrl/tests/bad/unknown_keys.toml");
    let file = file.to_str().expect("UTF-8");
    let output = tidegate(&["check", file]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains(&format!("{file}:2:1: error: unknown key `core` in [runtime]")), "{text}");
    assert!(!text.contains('\x1b'), "colour belongs to terminals");

    let json: serde_json::Value =
        serde_json::from_slice(&tidegate(&["check", "--format", "json", file]).stdout).expect("JSON");
    assert_eq!(json[0]["ok"], false);
    assert_eq!(json[0]["diagnostics"][0]["code"], "unknown-key");
    assert_eq!(json[0]["diagnostics"][0]["line"], 2);
}

#[test]
fn a_missing_file_is_a_failure_and_a_missing_argument_a_usage_error() {
    assert_eq!(tidegate(&["check", "/nonexistent.toml"]).status.code(), Some(1));
    for args in [
        &["check"][..],
        &["nonsense"],
        &["check", "--format", "yaml", "x"],
        &["completions", "tcsh"],
        &["top", "-o", "json"],
        &["top", "--interval", "0"],
        &[],
    ] {
        let output = tidegate(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn schema_is_json_schema_and_admits_the_shipped_keys() {
    let schema: serde_json::Value = serde_json::from_slice(&tidegate(&["schema"]).stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for table in ["runtime", "admin", "log", "tcp", "port", "route", "listener", "cluster", "http_route"] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&tidegate(&["completions", shell]));
        assert!(script.contains("tidegate") && script.contains("check"), "{shell}");
    }
    assert!(stdout(&tidegate(&["man"])).contains(".TH"));
    let directory = tempfile::tempdir().expect("temporary directory");
    let output = tidegate(&["man", directory.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0));
    assert!(directory.path().join("tidegate-check.1").exists());
}
