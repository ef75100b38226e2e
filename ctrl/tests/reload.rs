//! Reloads without cores: what is shared with the previous generation, what is refused, when memory is freed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_ctrl::compile::Inputs;
use tidegate_ctrl::config;
use tidegate_ctrl::probation::Probation;
use tidegate_ctrl::publish::Publication;
use tidegate_ctrl::reload::{Occasion, Reloader, Taken};
use tidegate_dataplane::io::{Capabilities, MacAddr, PortInfo};
use tidegate_dataplane::l7::tls::{TicketKeys, wall_clock};
use tidegate_dataplane::tables::{Phase, Tables};

const CONFIG: &str = r#"
[[port]]
name = "wan"
driver = "memory"
addresses = ["10.0.1.1/24"]
[[route]]
to = "10.9.0.0/16"
via = "10.0.1.254"
[[listener]]
name = "web"
address = "10.0.1.1:443"
tls = { certificates = [{ certificate = "cert.pem", key = "key.pem" }] }
[[cluster]]
name = "pool"
endpoints = ["10.0.1.9:80"]
tls = { server_name = "x.example", ca = "cert.pem" }
[[http_route]]
backend_refs = [{ cluster = "pool" }]
"#;

struct Bench {
    directory: tempfile::TempDir,
    reloader: Reloader,
    owned: Vec<(usize, String)>,
}

fn certificate(directory: &Path) {
    let key = rcgen::KeyPair::generate().expect("key");
    let mut params = rcgen::CertificateParams::new(vec!["x.example".to_owned()]).expect("a DNS name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(directory.join("cert.pem"), params.self_signed(&key).expect("certificate").pem()).expect("writable");
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).expect("writable");
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        certificate(directory.path());
        let path = directory.path().join("gateway.toml");
        std::fs::write(&path, CONFIG).expect("writable");
        let loaded = config::load(&path, SystemTime::now()).unwrap_or_else(|report| panic!("{report:?}"));
        let info = PortInfo {
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            queues: 1,
            capabilities: Capabilities::default(),
            driver: "memory".to_owned(),
        };
        let publication = Publication::first(Inputs {
            config: Arc::new(loaded.config),
            certs: Arc::new(loaded.certs),
            ports: [info].into(),
            tickets: Arc::new(TicketKeys::generate().expect("random")),
            tentative: Arc::default(),
            clock: wall_clock(),
            phase: Phase::Serve,
        });
        Self {
            directory,
            reloader: Reloader::new(path, publication.expect("compiles"), Probation::default()),
            owned: Vec::new(),
        }
    }

    fn reload(&mut self, occasion: Occasion) -> Result<Taken, String> {
        let owned = &mut self.owned;
        let mut own = |port: usize, prefixes: &[ipnet::IpNet]| {
            owned.push((port, format!("{prefixes:?}")));
            Ok(())
        };
        let result = self.reloader.reload(occasion, SystemTime::now(), &mut own);
        result.map_err(|report| report.text(Default::default()))
    }

    fn write(&self, from: &str, to: &str) {
        let changed = CONFIG.replace(from, to);
        assert_ne!(changed, CONFIG, "{from}");
        std::fs::write(self.directory.path().join("gateway.toml"), changed).expect("writable");
    }

    fn tables(&mut self) -> Arc<Tables> {
        Arc::clone(self.reloader.publication().tables())
    }
}

#[test]
fn unchanged_parts_are_the_same_memory() {
    let mut bench = Bench::new();
    let first = bench.tables();
    bench.write("10.0.1.9:80", "10.0.1.10:80");
    let taken = bench.reload(Occasion::Noticed).expect("taken");
    assert!(taken.changed && taken.generation == 2);
    let second = bench.tables();
    assert!(Arc::ptr_eq(&first.l3, &second.l3), "no route has changed");
    assert!(!Arc::ptr_eq(&first.l7, &second.l7));
    assert_eq!(first.l7.clusters()[0].tls, second.l7.clusters()[0].tls);

    bench.write("10.9.0.0/16", "10.8.0.0/16");
    bench.reload(Occasion::Noticed).expect("taken");
    let third = bench.tables();
    assert!(!Arc::ptr_eq(&second.l3, &third.l3));
    bench.write("\"web\"", "\"www\"");
    bench.reload(Occasion::Noticed).expect("taken");
    assert!(Arc::ptr_eq(first.l3.fib6(), bench.tables().l3.fib6()), "IPv6 routes were never touched");
}

#[test]
fn nothing_new_is_published_only_when_asked() {
    let mut bench = Bench::new();
    assert!(!bench.reload(Occasion::Noticed).expect("taken").changed);
    assert_eq!(bench.reloader.publication().generation(), 1);
    let before = bench.tables();
    assert_eq!(bench.reload(Occasion::Asked).expect("taken").generation, 2);
    let after = bench.tables();
    assert!(Arc::ptr_eq(&before.l3, &after.l3) && Arc::ptr_eq(&before.l7, &after.l7));
}

#[test]
fn a_renewed_certificate_is_taken_and_half_of_one_is_not() {
    let mut bench = Bench::new();
    let before = bench.tables();
    let old_key = std::fs::read(bench.directory.path().join("key.pem")).expect("there");
    certificate(bench.directory.path());
    let new_key = std::fs::read(bench.directory.path().join("key.pem")).expect("there");
    std::fs::write(bench.directory.path().join("key.pem"), old_key).expect("writable");
    let refusal = bench.reload(Occasion::Noticed).expect_err("the key is that of the old certificate");
    assert!(refusal.contains("key.pem is not the key of the certificate"), "{refusal}");
    assert!(Arc::ptr_eq(&before, &bench.tables()));

    std::fs::write(bench.directory.path().join("key.pem"), new_key).expect("writable");
    assert!(bench.reload(Occasion::Noticed).expect("taken").changed);
    let after = bench.tables();
    assert!(Arc::ptr_eq(&before.l3, &after.l3));
    assert_ne!(before.l7.clusters()[0].tls, after.l7.clusters()[0].tls, "it trusts another authority");
    let watched: Vec<PathBuf> = bench.reloader.watched();
    assert!(
        ["gateway.toml", "cert.pem", "key.pem"].iter().all(|name| watched.contains(&bench.directory.path().join(name)))
    );
}

#[test]
fn what_cores_hold_on_to_is_refused() {
    for (from, to, expected) in [
        ("name = \"wan\"", "name = \"lan\"", "the port `lan` is new"),
        (
            "driver = \"memory\"",
            "driver = \"memory\"\nmtu = 1400",
            "port `wan`: `mtu` is 1500 in the running gateway, 1400 here",
        ),
        ("driver = \"memory\"", "driver = \"pcap\"\nread = \"x\"", "port `wan`: `driver` is \"memory\""),
        (
            "\n[[port]]",
            "\n[runtime]\ncores = [1, 2]\n[[port]]",
            "runtime: `cores` is [1] in the running gateway, [1,2] here",
        ),
        ("\n[[port]]", "\n[admin]\nsocket = \"/tmp/x\"\n[[port]]", "admin: `socket` is \"/run/tidegate/admin.sock\""),
        (
            "\n[[port]]",
            "\n[tcp]\nkeepalive_s = 0\n[[port]]",
            "tcp: `keepalive_s` is 120 in the running gateway, not set here",
        ),
    ] {
        let mut bench = Bench::new();
        let before = bench.tables();
        bench.write(from, to);
        let refusal = bench.reload(Occasion::Asked).expect_err(expected);
        assert!(refusal.contains(expected), "{refusal}");
        assert!(refusal.contains("a running gateway cannot change this"), "{refusal}");
        assert!(Arc::ptr_eq(&before, &bench.tables()), "{expected}");
    }
}

#[test]
fn new_addresses_are_told_to_their_port_alone() {
    let mut bench = Bench::new();
    bench.write("\"10.0.1.1/24\"", "\"10.0.1.1/24\", \"10.0.1.2/24\"");
    bench.reload(Occasion::Noticed).expect("taken");
    assert_eq!(bench.owned, [(0, "[10.0.1.1/32, 10.0.1.2/32]".to_owned())]);
    bench.owned.clear();
    bench.reload(Occasion::Asked).expect("taken");
    assert!(bench.owned.is_empty());
}

#[test]
fn old_generations_are_freed_when_the_last_holder_lets_go() {
    let mut bench = Bench::new();
    let reader = bench.reloader.publication().subscription().reader();
    let held = Arc::downgrade(reader.current());
    bench.write("10.0.1.9:80", "10.0.1.10:80");
    bench.reload(Occasion::Noticed).expect("taken");
    assert_eq!(bench.reloader.publication().reclaim(), 1, "a core still runs on it");
    drop(reader);
    assert!((0..10_000).any(|_| bench.reloader.publication().reclaim() == 0));
    assert!(held.upgrade().is_none());
}

#[test]
fn phases_and_ticket_keys_are_swaps_like_any_other() {
    let mut bench = Bench::new();
    let before = bench.tables();
    bench.reloader.publication().set_phase(Phase::Drain).expect("compiles");
    let draining = bench.tables();
    assert_eq!(draining.phase, Phase::Drain);
    assert!(Arc::ptr_eq(&before.l7, &draining.l7));
    bench.write("10.0.1.9:80", "10.0.1.10:80");
    bench.reload(Occasion::Noticed).expect("taken");
    assert_eq!(bench.tables().phase, Phase::Drain, "a reload does not end a drain");
    let l7 = Arc::clone(&bench.tables().l7);
    let publication = bench.reloader.publication();
    let rotated = publication.inputs().tickets.rotated().expect("random");
    publication.set_tickets(rotated).expect("compiles");
    assert!(!Arc::ptr_eq(&l7, &publication.tables().l7), "listeners have the new keys");
}
