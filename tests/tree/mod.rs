//! The source tree as data for the tests that hold the house rules: every file parsed once, with its test code marked.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;

/// One Rust file of the tree.
pub(crate) struct Source {
    /// Relative to the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
    /// Lines (from 1) of items under `#[cfg(test)]`; the whole file if it is test code altogether.
    tests: Vec<RangeInclusive<usize>>,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Source {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.strip_prefix(root).expect("inside the workspace").to_string_lossy();
        Source::parse(&name, text)
    }

    /// A file by its name and content; the name decides whether it is test code altogether.
    pub(crate) fn parse(name: &str, text: String) -> Source {
        let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{name}:{}: {e}", e.span().start().line));
        let mut tests: Vec<_> = syntax
            .items
            .iter()
            .filter(|item| attributes(item).is_some_and(|attributes| attributes.iter().any(is_cfg_test)))
            .map(|item| item.span().start().line..=item.span().end().line)
            .collect();
        let whole = name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs");
        if whole || name.ends_with("_tests.rs") || syntax.attrs.iter().any(is_cfg_test) {
            tests = vec![1..=usize::MAX];
        }
        Source { path: name.to_owned(), text, syntax, tests }
    }

    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&line))
    }

    /// All tokens in reading order, groups opened, with their lines.
    pub(crate) fn tokens(&self) -> Vec<(String, usize)> {
        let stream: TokenStream = self.text.parse().expect("parsed before");
        let mut flat = Vec::new();
        flatten(stream, &mut flat);
        flat
    }
}

fn flatten(stream: TokenStream, flat: &mut Vec<(String, usize)>) {
    for token in stream {
        let line = token.span().start().line;
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Brace => ("{", "}"),
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::None => ("", ""),
                };
                flat.push((open.to_owned(), line));
                flatten(group.stream(), flat);
                flat.push((close.to_owned(), group.span_close().start().line));
            }
            other => flat.push((other.to_string(), line)),
        }
    }
}

fn attributes(item: &syn::Item) -> Option<&[syn::Attribute]> {
    Some(match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        _ => return None,
    })
}

/// `#[cfg(test)]` or `#[cfg(all(test, …))]`; `cfg(not(test))` is product code.
fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    if !list.path.is_ident("cfg") {
        return false;
    }
    let condition = list.tokens.to_string();
    condition == "test" || condition.starts_with("all (test")
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below the given folders, sorted.
pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root.join(folder), &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no source found below {folders:?}: the test would hold nothing");
    paths.iter().map(|path| Source::read(&root, path)).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Fails with every complaint, not only the first.
pub(crate) fn report(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}:\n  {}\n{} in all", complaints.join("\n  "), complaints.len());
}
