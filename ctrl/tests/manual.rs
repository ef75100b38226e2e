//! `docs/configuration.md` says what the program does, because it is made from it.

use std::path::Path;

#[test]
fn the_manual_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let manual = tidegate_ctrl::config::manual();
    if std::env::var_os("TIDEGATE_WRITE_MANUAL").is_some() {
        std::fs::write(&path, &manual).expect("writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let line = written.lines().zip(manual.lines()).position(|(a, b)| a != b);
    assert!(
        written == manual,
        "docs/configuration.md is outdated (first at line {line:?}): TIDEGATE_WRITE_MANUAL=1 writes it"
    );
}
