//! The corpora, run once with each test run and without a fuzzer.

use std::{fs, path::Path};

#[test]
fn corpora_are_replayed() {
    let mut inputs = 0;
    for (name, target) in tidegate_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        assert!(paths.len() >= 3, "{}: a corpus has inputs", folder.display());
        for path in paths {
            println!("{}", path.display()); // shown when it fails
            target(&fs::read(&path).expect("an input"));
            inputs += 1;
        }
    }
    assert!(inputs >= 9 * 3, "{inputs}");
}
