//! The unix socket: only for its owner, never somebody else's, never left behind.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// A bound admin socket; its path is removed when it goes.
#[derive(Debug)]
pub struct Socket {
    /// Accepts connections.
    pub listener: UnixListener,
    /// Removes the path.
    pub path: SocketPath,
}

/// The path of a bound socket.
#[derive(Debug)]
pub struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        // The next start replaces a stale one anyway.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Why the admin API cannot be offered.
#[derive(Debug)]
pub enum AdminError {
    /// Another process answers on the socket.
    InUse(PathBuf),
    /// The path exists and is no socket.
    NotASocket(PathBuf),
    /// The system refused.
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The address for HTTP cannot be bound.
    Http {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another gateway answers on {}: stop it, or give this one its own `socket` in `[admin]`",
                path.display()
            ),
            Self::NotASocket(path) => write!(f, "{} exists and is not a socket: remove it", path.display()),
            Self::Socket { path, error } => write!(f, "cannot make the admin socket {}: {error}", path.display()),
            Self::Http { address, error } => write!(f, "cannot listen on {address} (`http` in `[admin]`): {error}"),
        }
    }
}

impl std::error::Error for AdminError {}

impl Socket {
    /// Makes the directory if it is missing, takes the place of a socket that nobody answers on, and binds.
    ///
    /// # Errors
    /// The path is in use, not a socket, or cannot be made.
    pub fn bind(path: &Path) -> Result<Self, AdminError> {
        let failed = |error| AdminError::Socket { path: path.to_owned(), error };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
                return Err(AdminError::NotASocket(path.to_owned()));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(AdminError::InUse(path.to_owned()));
            }
            Ok(_) | Err(_) => {}
        }
        // Bound under another name and moved there with its mode set: at its own name it is never open to others.
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{}", std::process::id()));
        let aside = PathBuf::from(aside);
        let _ = std::fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside).map_err(failed)?;
        let moved = std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&aside, path));
        if let Err(error) = moved {
            let _ = std::fs::remove_file(&aside);
            return Err(failed(error));
        }
        Ok(Self { listener, path: SocketPath(path.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_runtime<T>(f: impl FnOnce(&Path) -> T) -> T {
        let directory = tempfile::tempdir().expect("temporary directory");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("runtime");
        let _guard = runtime.enter();
        f(&directory.path().join("new/admin.sock"))
    }

    #[test]
    fn it_is_private_and_goes_away() {
        in_runtime(|path| {
            let socket = Socket::bind(path).expect("bound");
            assert_eq!(std::fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600);
            let names: Vec<_> = std::fs::read_dir(path.parent().expect("directory")).expect("readable").collect();
            assert_eq!(names.len(), 1, "nothing left aside");
            drop(socket);
            assert!(!path.exists());
        });
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        in_runtime(|path| {
            std::fs::create_dir_all(path.parent().expect("directory")).expect("made");
            drop(std::os::unix::net::UnixListener::bind(path).expect("bound"));
            assert!(path.exists(), "stale");
            let socket = Socket::bind(path).expect("bound");
            assert!(matches!(Socket::bind(path), Err(AdminError::InUse(_))));
            assert!(path.exists());
            drop(socket);
        });
    }

    #[test]
    fn a_file_is_not_removed() {
        in_runtime(|path| {
            std::fs::create_dir_all(path.parent().expect("directory")).expect("made");
            std::fs::write(path, "precious").expect("written");
            assert!(matches!(Socket::bind(path), Err(AdminError::NotASocket(_))));
            assert_eq!(std::fs::read_to_string(path).expect("there"), "precious");
        });
    }
}
