//! Counting: this program under valgrind, once per kernel, so that no kernel depends on what ran before it.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::kernel::{BOUNDARY, Kernel};

/// Why there is no count.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// valgrind cannot be started.
    Absent(io::Error),
    /// The program under valgrind failed.
    Failed {
        /// Which kernel.
        kernel: &'static str,
        /// What it said.
        said: String,
    },
    /// Callgrind's file of this kernel is missing or not as expected.
    Unreadable(&'static str),
    /// A file cannot be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(error) => {
                write!(f, "cannot run valgrind: {error}; `scripts/setup --build-only --with valgrind` installs it")
            }
            Self::Failed { kernel, said } => write!(f, "{kernel}: fails under valgrind:\n{said}"),
            Self::Unreadable(kernel) => write!(f, "{kernel}: callgrind counted nothing"),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// Instructions per operation.
///
/// # Errors
/// valgrind is absent, or the kernel did not run to its end.
pub(crate) fn count(kernel: &Kernel, calls: u32) -> Result<f64, Trouble> {
    let place = Scratch::new(kernel.name)?;
    let file = place.0.join("callgrind.out");
    let output = valgrind(kernel, calls, &file)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Trouble::Failed { kernel: kernel.name, said });
    }
    // What was counted up to a boundary is in files with numbers; what came after the last one is in the file itself.
    let text = fs::read_to_string(&file).ok();
    let counted = text.as_deref().and_then(totals).ok_or(Trouble::Unreadable(kernel.name))?;
    // Counts are far below 2^53.
    Ok(counted as f64 / (f64::from(calls) * f64::from(kernel.per_call)))
}

fn valgrind(kernel: &Kernel, calls: u32, file: &Path) -> Result<Output, Trouble> {
    let program = env::current_exe().map_err(Trouble::Absent)?;
    Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={}", kernel.counted.function()))
        .arg(format!("--dump-before={BOUNDARY}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["micro", "--kernel", kernel.name, "--calls", &calls.to_string()])
        // The environment lies on the stack: its size moves everything, and the cost of a copy depends on alignment.
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .map_err(Trouble::Absent)
}

/// Instructions in a part of callgrind's output.
fn totals(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// A directory that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self, Trouble> {
        let path = env::temp_dir().join(format!("tidegate-micro-{}-{name}", std::process::id()));
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(Trouble::File { path, error }),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Should it stay, it is in the directory for what may be lost.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found() {
        assert_eq!(totals("version: 1\nsummary: 9\ntotals: 1234\n"), Some(1234));
        assert_eq!(totals("version: 1\n"), None);
    }
}
