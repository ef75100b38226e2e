//! The house form, held by a test: lengths, module docs, names, and unsafe only in the rooms that were set aside for it.

mod tree;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use tree::{Source, report, sources};

/// Where product code lives.
const PRODUCT: &[&str] = &["src", "dataplane/src", "dataplane/dpdk-sys/src", "ctrl/src", "benches/src"];
/// Lines of a file before its tests: what can be read in one sitting.
const MAX_FILE_LINES: usize = 400;
/// Lines of a function, from `fn` to its closing brace: a screen.
const MAX_FUNCTION_LINES: usize = 70;
/// Who may write `unsafe`: memory shared with a NIC or a kernel, and the atomics.
const UNSAFE_ROOMS: &[&str] =
    &["dataplane/dpdk-sys/", "dataplane/src/io/", "dataplane/src/frame", "dataplane/src/sync/"];

#[test]
fn files_can_be_read_in_one_sitting() {
    let complaints: Vec<_> = sources(PRODUCT)
        .iter()
        .map(|source| (source, product_lines(source)))
        .filter(|(_, lines)| *lines > MAX_FILE_LINES)
        .map(|(source, lines)| format!("{}: {lines} lines before its tests", source.path))
        .collect();
    report(&format!("a file has at most {MAX_FILE_LINES} lines before its tests"), &complaints);
}

/// What a reader of the product reads before the first test.
fn product_lines(source: &Source) -> usize {
    (1..=source.text.lines().count()).take_while(|line| !source.is_test_line(*line)).count()
}

#[test]
fn functions_fit_a_screen() {
    let mut complaints = Vec::new();
    for source in &sources(PRODUCT) {
        let mut lengths = Functions { source, complaints: &mut complaints };
        lengths.visit_file(&source.syntax);
    }
    report(&format!("a function has at most {MAX_FUNCTION_LINES} lines"), &complaints);
}

struct Functions<'a> {
    source: &'a Source,
    complaints: &'a mut Vec<String>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (first, last) = (signature.span().start().line, body.span().end().line);
        let lines = last - first + 1;
        if lines > MAX_FUNCTION_LINES && !self.source.is_test_line(first) {
            self.complaints.push(format!("{}:{first}: fn {} has {lines}", self.source.path, signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.measure(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[test]
fn every_module_says_what_it_is() {
    let complaints: Vec<_> = sources(PRODUCT)
        .iter()
        .filter(|source| {
            let docs = source.text.lines().take_while(|line| line.starts_with("//!"));
            let words: usize = docs.map(|line| line.split_whitespace().count() - 1).sum();
            words < 2 || source.text.contains("//! Placeholder")
        })
        .map(|source| format!("{}:1", source.path))
        .collect();
    report("a file opens with `//!` and a sentence on what it decides", &complaints);
}

#[test]
fn names_are_the_fields_own_nouns() {
    let mut complaints = Vec::new();
    for source in &sources(PRODUCT) {
        let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if ["util", "utils", "helper", "helpers", "common", "misc"].contains(&stem) {
            complaints.push(format!("{}: a file is named after what it holds", source.path));
        }
        let tokens = source.tokens();
        for pair in tokens.windows(2) {
            let [(keyword, _), (name, line)] = pair else { continue };
            let bad = match keyword.as_str() {
                "fn" => name.starts_with("get_"),
                "struct" | "enum" | "trait" | "type" => ["Manager", "Helper", "Util"].iter().any(|w| name.contains(w)),
                _ => false,
            };
            if bad {
                complaints.push(format!("{}:{line}: {keyword} {name}", source.path));
            }
        }
    }
    report("no get_, Manager, Helper, Util or common", &complaints);
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let mut complaints = Vec::new();
    for source in &sources(PRODUCT) {
        let room = UNSAFE_ROOMS.iter().any(|room| source.path.starts_with(room));
        let tokens = source.tokens();
        for (index, (token, line)) in tokens.iter().enumerate() {
            if token != "unsafe" || room && source.is_test_line(*line) {
                continue;
            }
            if !room {
                complaints.push(format!("{}:{line}: unsafe outside {UNSAFE_ROOMS:?}", source.path));
            } else if let Some(why) = undocumented(source, *line, &tokens[index + 1].0) {
                complaints.push(format!("{}:{line}: {why}", source.path));
            }
        }
    }
    report("unsafe is rare, and each use says which invariant holds and who upholds it", &complaints);
}

/// What is missing above an `unsafe`; `next` is the token after it. Clippy sees to it that the comment is there and in
/// the right place; this asks for more than a phrase.
fn undocumented(source: &Source, line: usize, next: &str) -> Option<&'static str> {
    let lines: Vec<_> = source.text.lines().collect();
    let above = &lines[line.saturating_sub(40)..line];
    match next {
        "{" | "impl" => {
            let start = above.iter().rposition(|line| line.contains("SAFETY:"));
            let Some(start) = start.filter(|start| above.len() - start <= 16) else { return Some("no SAFETY comment") };
            let text = above[start].split("SAFETY:").nth(1).unwrap_or_default().trim();
            let refers = text.starts_with("as ");
            (!refers && text.split_whitespace().count() < 3).then_some("SAFETY states the invariant, not a phrase")
        }
        "fn" => (!above.iter().any(|line| line.contains("# Safety"))).then_some("no `# Safety` section"),
        _ => None,
    }
}

#[test]
fn nothing_is_left_for_later() {
    let mut complaints = Vec::new();
    for source in &sources(&["src", "dataplane", "ctrl", "benches", "tests"]) {
        if source.path.contains("/target/") || source.path == file!() {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            if ["TODO", "FIXME", "XXX", "HACK"].iter().any(|word| comment.contains(word)) {
                complaints.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
            let ignored = line.trim_start().starts_with("#[ignore");
            if ignored && !line.contains('=') {
                complaints.push(format!("{}:{}: an ignored test says why", source.path, index + 1));
            }
        }
    }
    report("no notes to self: an issue, or the work itself", &complaints);
}
