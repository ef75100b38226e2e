//! Notices that the configuration file, or a file it refers to, has become another one.
//!
//! Directories are watched, not files: editors and certificate tools write a new file and rename it, secret mounts swap a
//! symbolic link. Events only say "look": what counts is whether the content changed and then stayed the same for a moment, so that
//! a file being written is not taken half.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::config::{Disk, Files as _, digest};

/// How long content must stay the same before it is taken.
const SETTLE: Duration = Duration::from_millis(100);

/// Watches a set of files.
#[derive(Debug)]
pub struct Watch {
    files: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    sender: mpsc::Sender<()>,
    /// An event has been taken and not been looked into to the end.
    pending: bool,
    /// The content that was taken last.
    known: Fingerprint,
}

/// What a set of files holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fingerprint(BTreeMap<PathBuf, Option<u64>>);

impl Fingerprint {
    fn of(files: &BTreeSet<PathBuf>) -> Self {
        let content = |path: &PathBuf| Some(digest(&Disk.read(path).ok()?));
        Self(files.iter().map(|path| (path.clone(), content(path))).collect())
    }
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Self {
        // One place is enough: an event that finds it full is covered by the one waiting.
        let (sender, events) = mpsc::channel(1);
        Self {
            files: BTreeSet::new(),
            directories: BTreeSet::new(),
            watcher: None,
            events,
            sender,
            pending: false,
            known: Fingerprint::default(),
        }
    }

    /// Watches these files from now on. The present content of those that are new is known.
    ///
    /// # Errors
    /// The system's limit on watches, for instance. Files can still be reloaded by signal.
    pub fn set<'a>(&mut self, files: impl Iterator<Item = &'a Path>) -> notify::Result<()> {
        self.files = files.map(Path::to_owned).collect();
        let mut known = Fingerprint::of(&self.files);
        for (file, content) in &mut known.0 {
            // What was known stays known: a change that nobody has looked at yet is not lost.
            if let Some(before) = self.known.0.get(file) {
                *content = *before;
            }
        }
        self.known = known;
        let directories: BTreeSet<PathBuf> = self.files.iter().flat_map(|file| places(file)).collect();
        if directories == self.directories && self.watcher.is_some() {
            return Ok(());
        }
        self.watcher = None;
        let sender = self.sender.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| matches!(event.kind, notify::EventKind::Access(_))) {
                // Full means that a look is due anyway.
                let _ = sender.try_send(());
            }
        })?;
        for directory in &directories {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
        }
        self.directories = directories;
        self.watcher = Some(watcher);
        Ok(())
    }

    /// Returns when the content of the files has changed and settled. Cancel safe: an event taken is remembered.
    pub async fn changed(&mut self) {
        loop {
            if !self.pending {
                // The sender is ours, so there is always another event to wait for.
                let _ = self.events.recv().await;
                self.pending = true;
            }
            let mut seen = self.known.clone();
            loop {
                tokio::time::sleep(SETTLE).await;
                let now = Fingerprint::of(&self.files);
                if now == self.known {
                    break;
                }
                if now == seen {
                    self.known = now;
                    self.pending = false;
                    return;
                }
                seen = now;
            }
            self.pending = false;
        }
    }
}

/// A watch in a task of its own, so that waiting for it never loses what it has begun.
#[derive(Debug)]
pub struct Watching {
    files: mpsc::UnboundedSender<Vec<PathBuf>>,
    changes: mpsc::Receiver<()>,
}

impl Watching {
    /// Starts with these files. Needs a tokio runtime.
    pub fn start(files: &[PathBuf]) -> Self {
        let (files_sender, mut files_receiver) = mpsc::unbounded_channel::<Vec<PathBuf>>();
        let (change_sender, changes) = mpsc::channel(1);
        let mut watch = Watch::new();
        set(&mut watch, files);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    files = files_receiver.recv() => match files {
                        Some(files) => set(&mut watch, &files),
                        None => return,
                    },
                    () = watch.changed() => if change_sender.send(()).await.is_err() { return },
                }
            }
        });
        Self { files: files_sender, changes }
    }

    /// Watches these files from now on.
    pub fn set(&self, files: Vec<PathBuf>) {
        // The task ends only with us.
        let _ = self.files.send(files);
    }

    /// Waits for the next change. Cancel safe.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

fn set(watch: &mut Watch, files: &[PathBuf]) {
    if let Err(error) = watch.set(files.iter().map(PathBuf::as_path)) {
        tracing::warn!("files are not watched for changes ({error}); SIGHUP and `tidegate reload` still work");
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

/// The directories in which a change may concern a file: its own, and that of what it links to.
fn places(file: &Path) -> Vec<PathBuf> {
    let own = crate::config::directory_of(file).to_owned();
    let target = file.canonicalize().ok().and_then(|target| target.parent().map(Path::to_owned));
    let mut places = vec![own];
    places.extend(target.filter(|target| target.as_path() != places[0].as_path()));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a change is noticed within a time that is long for a file system event.
    async fn noticed(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    async fn quiet(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_millis(500), watch.changed()).await.is_err()
    }

    #[tokio::test]
    async fn writing_renaming_and_link_swaps_are_noticed_and_touching_is_not() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| directory.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(at(name), text).expect("writable");
        write("g.toml", "1");
        std::fs::create_dir(at("v1")).expect("made");
        std::fs::create_dir(at("v2")).expect("made");
        write("v1/cert.pem", "a");
        write("v2/cert.pem", "b");
        std::os::unix::fs::symlink("v1", at("data")).expect("linked");
        std::os::unix::fs::symlink("data/cert.pem", at("cert.pem")).expect("linked");
        let mut watch = Watch::new();
        watch.set([at("g.toml"), at("cert.pem")].iter().map(PathBuf::as_path)).expect("watched");

        write("g.toml", "2");
        assert!(noticed(&mut watch).await, "written in place");
        write("g.toml", "2");
        write("other", "x");
        assert!(quiet(&mut watch).await, "the content is the same");
        write("new", "3");
        std::fs::rename(at("new"), at("g.toml")).expect("renamed");
        assert!(noticed(&mut watch).await, "renamed over");
        std::os::unix::fs::symlink("v2", at("data.new")).expect("linked");
        std::fs::rename(at("data.new"), at("data")).expect("swapped");
        assert!(noticed(&mut watch).await, "the link leads elsewhere");
        std::fs::remove_file(at("g.toml")).expect("removed");
        assert!(noticed(&mut watch).await, "removed");
    }

    #[tokio::test]
    async fn a_file_being_written_is_taken_when_it_is_complete() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("g.toml");
        std::fs::write(&file, "0").expect("writable");
        let mut watch = Watch::new();
        watch.set(std::iter::once(file.as_path())).expect("watched");
        let writer = tokio::spawn({
            let file = file.clone();
            async move {
                for round in 0..8 {
                    std::fs::write(&file, "x".repeat(round + 2)).expect("writable");
                    tokio::time::sleep(Duration::from_millis(60)).await;
                }
            }
        });
        watch.changed().await;
        assert!(writer.is_finished() || std::fs::read(&file).expect("there").len() == 9);
        writer.await.expect("done");
        assert_eq!(std::fs::read(&file).expect("there").len(), 9);
        assert!(quiet(&mut watch).await, "one change, one notice");
    }
}
