//! The configuration file: TOML text → [`raw::Raw`] (places, form) → [`model::Config`] (meaning).
//!
//! Every mistake of a file is reported together. A value that could not be read is marked, so that what only follows from it is
//! not reported as well.

pub mod decode;
mod bulk;
mod files;
pub mod model;
pub mod pem;
pub mod raw;
mod reference;
pub mod scalar;
pub mod segment;
mod schema;
pub mod select;
pub mod slot;
mod syntax;
mod table;

mod check;

use std::hash::BuildHasher as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use foldhash::quality::FixedState;
use toml::de::DeTable;

pub use model::Config;
pub use reference::manual;
pub use schema::of_file as json_schema;

use crate::diagnostic::{Code, Diagnostic, Report, Source, Span};
use bulk::Bulk;
use decode::Decoder;
use pem::Certs;
use syntax::Mended;

/// A file larger than this is refused unread: it is not a configuration.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// Reads the files that a configuration refers to. An argument, so that a check can be a test.
pub trait Files {
    /// The whole content.
    ///
    /// # Errors
    /// As [`std::fs::read`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let size = std::fs::metadata(path)?.len();
        if size > MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{size} bytes, limit {MAX_FILE_BYTES}")));
        }
        std::fs::read(path)
    }
}

/// What a check depends on besides the text.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Relative paths start here: the directory of the configuration file.
    pub directory: &'a Path,
    /// Where certificates and keys are read; without it their content is not checked, and the result cannot be run.
    pub files: Option<&'a dyn Files>,
    /// Now, for the validity of certificates.
    pub now: SystemTime,
    /// Whether ports may have `driver = "dpdk"`.
    pub dpdk: bool,
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file it came from.
    pub path: PathBuf,
    /// What it says.
    pub config: Config,
    /// The certificates, keys and revocation lists it refers to.
    pub certs: Certs,
    /// Where the parts stand that a running gateway cannot change.
    pub places: Places,
    /// Warnings; no errors.
    pub report: Report,
    /// What [`digest`] says of the text.
    pub digest: u64,
}

/// A number by which a text is known again.
pub fn digest(text: &[u8]) -> u64 {
    // Nobody gains by another file with the same number: whoever writes these files has all there is to have.
    FixedState::with_seed(0).hash_one(text)
}

/// Where parts of the file stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// `[runtime]`.
    pub runtime: Span,
    /// `[admin]`.
    pub admin: Span,
    /// `[dpdk]`.
    pub dpdk: Span,
    /// `[tcp]`.
    pub tcp: Span,
    /// Each `[[port]]`.
    pub ports: Vec<Span>,
    /// Every interface: ports, then VLANs, then bridges.
    pub interfaces: Vec<Span>,
}

/// Loads and checks a file with everything it refers to.
///
/// # Errors
/// All mistakes of the file, or that it cannot be read.
pub fn load(path: &Path, now: SystemTime) -> Result<Loaded, Box<Report>> {
    load_with(
        path,
        &Surroundings { directory: directory_of(path), files: Some(&Disk), now, dpdk: cfg!(feature = "dpdk") },
    )
}

/// As [`load`], with surroundings of the caller's choice.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, surroundings: &Surroundings<'_>) -> Result<Loaded, Box<Report>> {
    let name = path.display().to_string();
    let unreadable = |message: String| {
        let nothing = Source::new(name.as_str(), "");
        Box::new(Report::new(nothing, vec![Diagnostic::error(Code::Unreadable, Span::default(), message)]))
    };
    let bytes = Disk.read(path).map_err(|error| unreadable(format!("cannot read the file: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        unreadable(format!("the file is not UTF-8: byte {} is wrong", error.utf8_error().valid_up_to()))
    })?;
    let digest = digest(text.as_bytes());
    let checked = check(Source::new(name.as_str(), text), surroundings);
    match checked.config {
        Some(config) => {
            let (certs, places, report) = (checked.certs, checked.places, checked.report);
            Ok(Loaded { path: path.to_owned(), config, certs, places, report, digest })
        }
        None => Err(Box::new(checked.report)),
    }
}

/// What [`check`] found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The configuration, if there is no error.
    pub config: Option<Config>,
    /// What was read of the files it refers to.
    pub certs: Certs,
    /// Where the parts stand that a running gateway cannot change.
    pub places: Places,
    /// Errors and warnings.
    pub report: Report,
}

/// Checks a text.
pub fn check(source: Source, surroundings: &Surroundings<'_>) -> Checked {
    let mut bulk = Bulk::of(source.text());
    let rest = bulk.rest(source.text());
    let (mut document, mut syntax) = DeTable::parse_recoverable(&rest);
    if !syntax.is_empty() && !bulk.is_empty() {
        bulk = Bulk::default();
        (document, syntax) = DeTable::parse_recoverable(source.text());
    }
    let mended = Mended::of(source.text(), &syntax);
    if mended.is_changed() {
        (document, syntax) = DeTable::parse_recoverable(&mended.text);
    }
    let mut decoder = Decoder::default();
    let raw = raw::Raw::decode(document.get_ref(), &mut decoder);
    drop(document);
    let places = Places {
        runtime: raw.runtime.span,
        admin: raw.admin.span,
        dpdk: raw.dpdk.span,
        tcp: raw.tcp.span,
        ports: raw.port.0.iter().map(|port| port.span).collect(),
        interfaces: spans(&raw),
    };
    let (config, certs, mut diagnostics) = raw.check(&bulk, surroundings, decoder.diagnostics);
    let broken = mended.errors(&syntax, &source);
    if !broken.is_empty() {
        let lines: Vec<usize> = broken.iter().map(|d| source.position(d.span.start).line).collect();
        // What the parser could not read looks as if it were missing: only what stands in the text is reported besides.
        let consequence = [Code::MissingKey, Code::UnknownReference, Code::Unreachable, Code::Unused, Code::Conflict];
        diagnostics.retain_mut(|d| {
            // The parser's stand-in for a value that it could not read has no place.
            let nowhere = d.span == Span::default();
            d.span = mended.original(d.span);
            d.related = d.related.take().map(|(span, note)| (mended.original(span), note));
            !nowhere && !consequence.contains(&d.code) && !lines.contains(&source.position(d.span.start).line)
        });
        diagnostics.extend(broken);
    }
    let report = Report::new(source, diagnostics);
    Checked { config: config.filter(|_| report.errors() == 0), certs, places, report }
}

/// Where the interfaces stand, in the order of their numbers.
fn spans(raw: &raw::Raw) -> Vec<Span> {
    let ports = raw.port.0.iter().map(|port| port.span);
    let vlans = raw.vlan.0.iter().map(|vlan| vlan.span);
    ports.chain(vlans).chain(raw.bridge.0.iter().map(|bridge| bridge.span)).collect()
}

/// The directory in which relative paths of a configuration file start.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
