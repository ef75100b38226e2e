//! The running gateway, as an operator meets it: the real binary on a memory port, its signals, its admin socket, its files.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const CONFIG: &str = r#"
[runtime]
cores = [0]
frames_per_core = 2048
drain_timeout_s = 5
[admin]
socket = "admin.sock"
[log]
access = "access.log"
[tcp]
max_connections = 1024
[[port]]
name = "lan"
driver = "memory"
addresses = ["10.0.1.1/24"]
[[listener]]
name = "web"
address = "10.0.1.1:80"
[[cluster]]
name = "pool"
endpoints = ["10.0.1.9:80"]
[[http_route]]
backend_refs = [{ cluster = "pool" }]
"#;

/// A gateway in a directory of its own. It ends with the test, however that ends.
struct Gateway {
    directory: tempfile::TempDir,
    child: Child,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
}

/// Tries until it holds, for a time that is long for what is waited for.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Gateway {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        std::fs::write(directory.path().join("gateway.toml"), CONFIG).expect("writable");
        let log = std::fs::File::create(directory.path().join("log")).expect("writable");
        let child = binary()
            .args(["run", "-c"])
            .arg(directory.path().join("gateway.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut gateway = Self { directory, child };
        eventually("the gateway answers", || {
            let ended = gateway.child.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended: {}", gateway.log());
            gateway.ask("stats").status.success()
        });
        gateway
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).expect("there")
    }

    /// `tidegate stats -o json` or `tidegate reload -o json`.
    fn ask(&self, command: &str) -> Output {
        let mut question = binary();
        question.args([command, "-o", "json", "--socket"]).arg(self.path("admin.sock"));
        question.output().expect("the binary runs")
    }

    fn stats(&self) -> Value {
        serde_json::from_slice(&self.ask("stats").stdout).expect("JSON")
    }

    fn generation(&self) -> u64 {
        self.stats()["generation"].as_u64().expect("a number")
    }

    fn write(&self, from: &str, to: &str) {
        let changed = CONFIG.replace(from, to);
        assert_ne!(changed, CONFIG);
        // Aside and renamed, as editors do.
        std::fs::write(self.path("new"), changed).expect("writable");
        std::fs::rename(self.path("new"), self.path("gateway.toml")).expect("renamed");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }
}

#[test]
fn a_changed_file_is_taken_and_a_bad_one_is_not() {
    let gateway = Gateway::start();
    assert_eq!(gateway.generation(), 1);
    gateway.write("10.0.1.9:80", "10.0.1.10:80");
    eventually("the file is taken", || gateway.generation() == 2);
    assert_eq!(gateway.stats()["clusters"][0]["endpoints"][0]["address"], "10.0.1.10:80");
    eventually("the core runs on it", || gateway.stats()["cores"][0]["generation"] == 2);
    eventually("the old tables are freed", || gateway.stats()["retired_generations"] == 0);

    gateway.write("endpoints", "endpoint");
    eventually("the file is refused", || gateway.stats()["reloads"]["refused"] == 1);
    assert_eq!(gateway.generation(), 2);
    let refusal = gateway.stats()["reloads"]["last_refusal"].as_str().expect("text").to_owned();
    assert!(refusal.contains("gateway.toml:21:1: error: unknown key `endpoint`"), "{refusal}");
    assert!(gateway.log().contains("unknown key `endpoint`"));

    let output = gateway.ask("reload");
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["ok"], &answer["generation"]), (&Value::Bool(false), &Value::from(2)));
    assert_eq!(answer["report"]["diagnostics"][0]["line"], 21);
}

#[test]
fn what_needs_a_restart_is_refused_with_its_place() {
    let gateway = Gateway::start();
    gateway.write("frames_per_core = 2048", "frames_per_core = 4096");
    eventually("the file is refused", || gateway.stats()["reloads"]["refused"] == 1);
    let refusal = gateway.stats()["reloads"]["last_refusal"].as_str().expect("text").to_owned();
    assert!(refusal.contains("gateway.toml:2:1: error: runtime: `frames_per_core` is 2048"), "{refusal}");
    gateway.write("drain_timeout_s = 5", "drain_timeout_s = 6");
    eventually("this can change", || gateway.generation() == 2);
}

#[test]
fn signals_reload_reopen_drain_and_stop() {
    let mut gateway = Gateway::start();
    gateway.signal("HUP");
    eventually("SIGHUP reloads", || gateway.generation() == 2);
    std::fs::rename(gateway.path("access.log"), gateway.path("access.log.1")).expect("renamed");
    gateway.signal("USR1");
    eventually("SIGUSR1 opens the log again", || gateway.path("access.log").exists());
    gateway.signal("TERM");
    let status = gateway.child.wait().expect("a child");
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    assert!(!gateway.path("admin.sock").exists(), "the socket goes with it");
    assert!(gateway.log().contains("draining"));

    let output = gateway.ask("stats");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Is it running?"), "{output:?}");
}

#[test]
fn a_second_gateway_finds_out_before_it_touches_a_port() {
    let gateway = Gateway::start();
    let output = binary().args(["run", "-c"]).arg(gateway.path("gateway.toml")).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another gateway answers"), "{output:?}");
    assert!(gateway.ask("stats").status.success(), "the first one still answers");
}

#[test]
fn a_port_that_does_not_open_is_named() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("gateway.toml");
    let absent = CONFIG.replace("driver = \"memory\"", "driver = \"af_xdp\"\ninterface = \"tg-absent\"");
    std::fs::write(&file, absent).expect("writable");
    let output = binary().args(["run", "-c"]).arg(&file).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("lan") && said.contains("tg-absent"), "{said}");
    assert!(!directory.path().join("admin.sock").exists());
}

fn curl(gateway: &Gateway, method: &str, path: &str) -> (String, String) {
    let socket = gateway.path("admin.sock");
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "10", "-X", method, "-w", "\n%{http_code}", "--unix-socket"])
        .arg(socket)
        .arg(format!("http://tidegate{path}"))
        .output()
        .expect("curl runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

#[test]
fn the_admin_api_answers() {
    let mut gateway = Gateway::start();
    assert_eq!(curl(&gateway, "GET", "/ready"), ("200".to_owned(), "LIVE\n".to_owned()));
    assert_eq!(curl(&gateway, "GET", "/healthz").0, "200");
    assert_eq!(curl(&gateway, "GET", "/listeners").1, "web::10.0.1.1:80\n");
    assert!(curl(&gateway, "GET", "/clusters").1.contains("pool::10.0.1.9:80::rq_total::0"));
    assert!(curl(&gateway, "GET", "/stats").1.contains("tidegate_generation: 1"));
    let dump: Value = serde_json::from_str(&curl(&gateway, "GET", "/config_dump").1).expect("JSON");
    assert_eq!(dump["config"]["ports"][0]["name"], "lan");
    assert_eq!(curl(&gateway, "GET", "/reload").0, "405", "what changes is not read");
    assert_eq!(curl(&gateway, "GET", "/nonsense").0, "404");
    assert_eq!(curl(&gateway, "POST", "/reload").0, "200");
    assert_eq!(curl(&gateway, "POST", "/drain_listeners").0, "200");
    assert_eq!(curl(&gateway, "GET", "/ready"), ("503".to_owned(), "DRAIN\n".to_owned()));
    assert_eq!(curl(&gateway, "POST", "/quit?now").0, "200");
    assert_eq!(gateway.child.wait().expect("a child").code(), Some(0));
}

#[test]
fn prometheus_accepts_the_metrics() {
    let gateway = Gateway::start();
    let metrics = gateway.path("metrics");
    std::fs::write(&metrics, curl(&gateway, "GET", "/metrics").1 + "\n").expect("writable");
    let input = std::fs::File::open(&metrics).expect("there");
    let output = Command::new("promtool").args(["check", "metrics"]).stdin(input).output().expect("promtool runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&metrics).expect("there");
    for series in [
        "tidegate_rx_packets_total{port=\"lan\",core=\"0\"} ",
        "tidegate_drops_total{reason=\"no_route\"} 0",
        "tidegate_http_request_duration_seconds_bucket{le=\"+Inf\"} 0",
        "tidegate_generation 1",
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
    }
}
