//! Bad files and, word for word, what is said about them. `TIDEGATE_WRITE_TRANSCRIPTS=1` writes the answers anew: read the diff.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};
use tidegate_ctrl::config::{self, Checked, Files, Surroundings};
use tidegate_ctrl::diagnostic::{Report, Source, Style};

/// Files in memory.
#[derive(Default)]
struct Memory(HashMap<PathBuf, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_760_000_000)
}

fn certificates() -> Memory {
    let mut files = Memory::default();
    let mut put = |name: &str, text: String| files.0.insert(Path::new("/etc/tidegate").join(name), text.into_bytes());
    let key = || KeyPair::generate().expect("key");
    let params = |name: &str, year: i32| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a DNS name");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
        params
    };
    let ca_key = key();
    let mut ca = params("ca.example", 2040);
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    put("ca.pem", ca.self_signed(&ca_key).expect("certificate").pem());
    let issuer = Issuer::from_params(&ca, &ca_key);
    for (name, year) in [("good", 2040), ("expired", 2021)] {
        let own = key();
        put(&format!("{name}.pem"), params("www.example", year).signed_by(&own, &issuer).expect("certificate").pem());
        put(&format!("{name}.key"), own.serialize_pem());
    }
    let crl = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2040, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    put("crl.pem", crl.signed_by(&issuer).expect("list").pem().expect("PEM"));
    put("other.key", key().serialize_pem());
    put(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_owned(),
    );
    put("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned());
    put("garbage.pem", "hello\n".to_owned());
    files
}

fn check(name: &str, text: &str, files: Option<&dyn Files>) -> Checked {
    let surroundings = Surroundings { directory: Path::new("/etc/tidegate"), files, now: now(), dpdk: true };
    config::check(Source::new(name, text), &surroundings)
}

fn report(name: &str, text: &str) -> Report {
    check(name, text, Some(&certificates())).report
}

#[test]
fn bad_files_get_these_answers() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut names: Vec<PathBuf> = std::fs::read_dir(&directory)
        .expect("the directory is in the tree")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    names.sort();
    assert!(names.len() >= 9, "{names:?}");
    let mut wrong = Vec::new();
    for path in names {
        let name = path.file_name().expect("file").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let answer = report(&name, &text).text(Style::Plain);
        let transcript = path.with_extension("txt");
        if std::env::var_os("TIDEGATE_WRITE_TRANSCRIPTS").is_some() {
            std::fs::write(&transcript, &answer).expect("writable");
        }
        if std::fs::read_to_string(&transcript).unwrap_or_default() != answer {
            wrong.push(format!("{}:\n{answer}", transcript.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each mistake alone: the code and place of the only diagnostic.
#[test]
fn one_mistake_is_one_diagnostic() {
    const GOOD: &str = r#"
[[port]]
name = "wan"
driver = "memory"
addresses = ["10.0.1.1/24", "fd00::1/64"]
[[listener]]
name = "web"
address = "10.0.1.1:443"
tls = { certificates = [{ certificate = "good.pem", key = "good.key" }], client_auth = "required", client_ca = "ca.pem", client_crl = ["crl.pem"] }
[[cluster]]
name = "pool"
endpoints = ["10.0.1.9:80"]
tls = { server_name = "x.example", ca = "ca.pem", certificate = "good.pem", key = "good.key" }
[[http_route]]
backend_refs = [{ cluster = "pool" }]
"#;
    let good = check("good.toml", GOOD, Some(&certificates()));
    assert_eq!(good.report.text(Style::Plain), "");
    assert!(good.config.is_some());
    assert_eq!(good.certs.files.len(), 4);
    // What is replaced, by what; the code of the only diagnostic and the text it points at.
    for (from, to, code, text) in [
        ("\"wan\"", "5", "wrong-type", "5"),
        ("name = \"wan\"", "", "missing-key", "[[port]]"),
        ("\"memory\"", "\"memroy\"", "invalid-value", "\"memroy\""),
        ("10.0.1.1/24", "10.0.1.1/33", "invalid-value", "\"10.0.1.1/33\""),
        ("address = \"10.0.1.1:443\"", "address = \"10.0.1.2:443\"", "unreachable", "\"10.0.1.2:443\""),
        ("10.0.1.1:443", "10.0.1.1:0", "invalid-value", "\"10.0.1.1:0\""),
        ("\"good.key\"", "\"other.key\"", "certificate", "\"other.key\""),
        ("client_ca = \"ca.pem\", ", "", "missing-key", "\"required\""),
        ("crl.pem", "ca.pem", "certificate", "\"ca.pem\""),
        ("name = \"web\"", "name = \"w b\"", "invalid-value", "\"w b\""),
        ("10.0.1.9:80", "10.0.2.9:80", "unreachable", "\"10.0.2.9:80\""),
        ("endpoints = [\"10.0.1.9:80\"]", "endpoints = []", "invalid-value", "[]"),
        ("endpoints = [\"10.0.1.9:80\"]", "", "missing-key", "[[cluster]]"),
        ("\"x.example\"", "\"x example\"", "invalid-value", "\"x example\""),
        (", key = \"good.key\" }\n[[http", " }\n[[http", "missing-key", "\"good.pem\""),
        ("cluster = \"pool\"", "cluster = \"pond\"", "unknown-reference", "\"pond\""),
        ("cluster = \"pool\"", "cluster = \"pool\", wait = 3", "unknown-key", "wait"),
        ("backend_refs = [{ cluster = \"pool\" }]", "x", "syntax", ""),
    ] {
        let changed = GOOD.replacen(from, to, 1);
        assert_ne!(changed, GOOD, "{from}");
        let report = report("one.toml", &changed);
        let found: Vec<_> = report.diagnostics.iter().filter(|d| d.is_error()).collect();
        let all = report.text(Style::Plain);
        assert_eq!(found.len(), 1, "{from} → {to}:\n{all}");
        assert_eq!((found[0].code.as_str(), report.source.slice(found[0].span)), (code, text), "{from} → {to}:\n{all}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_diagnostic() {
    let report = config::load(Path::new("/nonexistent/gateway.toml"), now()).expect_err("there is none");
    assert_eq!(report.diagnostics[0].code.as_str(), "unreadable");
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("latin1.toml");
    std::fs::write(&path, b"# caf\xe9\n").expect("writable");
    let report = config::load(&path, now()).expect_err("it is not UTF-8");
    assert!(report.diagnostics[0].message.contains("byte 5"), "{:?}", report.diagnostics);
}

/// A text made of pieces of real files, so that it gets past the parser more often than noise does.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[[port]]\n".to_owned()),
        Just("[listener.tls]\n".to_owned()),
        Just("[[listener]]\n".to_owned()),
        Just("[[http_route]]\n".to_owned()),
        Just("[[cluster]]\n[cluster.tls]\n".to_owned()),
        "(name|address|addresses|driver|endpoints|tls|cores|mtu|to|via|matches|backend_refs|server_name) = ",
        "(\"[a-z0-9:./*é-]{0,12}\"|-?[0-9]{1,20}|[0-9]\\.[0-9]|true|\\[|\\]|\\{|\\}|,|\n| )",
        "\\PC{0,6}",
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_panics(text in prop_oneof![pieces(), "\\PC{0,200}", any::<String>()]) {
        let checked = check("any.toml", &text, Some(&Memory::default()));
        // Rendering must hold for every span, and a text with errors gives no configuration.
        let report = checked.report.text(Style::Plain);
        prop_assert_eq!(checked.config.is_none(), checked.report.errors() > 0, "{}", report);
        prop_assert!(serde_json::to_string(&checked.report.json()).is_ok());
    }
}
