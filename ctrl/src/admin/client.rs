//! The other end of the admin socket: one request, for the command line.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
pub use hyper::Method;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A reload compiles tables; nothing else takes long.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// An answer of the admin API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// No socket, or nobody at it.
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The socket may not be used by this user.
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection broke or spoke something else.
    Broken {
        /// The socket.
        socket: PathBuf,
        /// How.
        error: hyper::Error,
    },
    /// No answer in time.
    TimedOut {
        /// The socket.
        socket: PathBuf,
    },
    /// The answer is too long or breaks off.
    Body {
        /// The socket.
        socket: PathBuf,
    },
    /// There is no runtime to wait on.
    Runtime(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning { socket, error } => write!(
                f,
                "no gateway answers on {} ({error}). Is it running? `--socket` names another socket",
                socket.display()
            ),
            Self::Denied { socket } => {
                write!(f, "{} belongs to another user: ask as the one who runs the gateway", socket.display())
            }
            Self::Broken { socket, error } => write!(f, "the gateway on {} broke off: {error}", socket.display()),
            Self::TimedOut { socket } => {
                write!(f, "the gateway on {} did not answer within {} s", socket.display(), PATIENCE.as_secs())
            }
            Self::Body { socket } => write!(f, "the answer of the gateway on {} is not complete", socket.display()),
            Self::Runtime(error) => write!(f, "cannot wait for an answer: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// Sends one request and waits for the answer. Blocks; not for use inside a runtime.
///
/// # Errors
/// Nobody answers, or not completely.
pub fn request(socket: &Path, method: Method, path: &str) -> Result<Answer, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    runtime.block_on(async {
        let exchange = tokio::time::timeout(PATIENCE, exchange(socket, method, path)).await;
        exchange.unwrap_or_else(|_| Err(ClientError::TimedOut { socket: socket.to_owned() }))
    })
}

/// Sends a GET request and gives the answer's body to `take`, piece by piece as it comes, until that returns false. Returns the HTTP
/// status. Blocks; not for use inside a runtime.
///
/// # Errors
/// Nobody answers, or not completely.
pub fn stream(socket: &Path, path: &str, mut take: impl FnMut(&[u8]) -> bool) -> Result<u16, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    runtime.block_on(async {
        let begun = tokio::time::timeout(PATIENCE, begin(socket, Method::GET, path)).await;
        let response = begun.unwrap_or_else(|_| Err(ClientError::TimedOut { socket: socket.to_owned() }))?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ClientError::Broken { socket: socket.to_owned(), error })?;
            if let Ok(piece) = frame.into_data()
                && !take(&piece)
            {
                break;
            }
        }
        Ok(status)
    })
}

/// Like [`stream`], for answers that go on until they are stopped: on SIGINT or SIGTERM the gateway is asked to end, and what it
/// still has to say is taken; a second one ends at once.
///
/// # Errors
/// Nobody answers, or not completely.
pub fn follow(socket: &Path, path: &str, mut take: impl FnMut(&[u8]) -> bool) -> Result<u16, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ClientError::Runtime)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(ClientError::Runtime)?;
        let response = begin(socket, Method::GET, path).await?;
        let status = response.status().as_u16();
        let number = response.headers().get(super::NUMBER).and_then(|number| number.to_str().ok()).map(str::to_owned);
        let mut body = response.into_body();
        let mut told = false;
        loop {
            tokio::select! {
                frame = body.frame() => {
                    let Some(frame) = frame else { return Ok(status) };
                    let frame = frame.map_err(|error| ClientError::Broken { socket: socket.to_owned(), error })?;
                    if let Ok(piece) = frame.into_data()
                        && !take(&piece)
                    {
                        return Ok(status);
                    }
                }
                () = asked_to_end(&mut interrupt, &mut terminate) => {
                    if std::mem::replace(&mut told, true) {
                        return Ok(status);
                    }
                    tell_to_stop(socket, number.as_deref()).await;
                }
            }
        }
    })
}

async fn asked_to_end(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// If that fails, the next signal ends without the gateway's consent.
async fn tell_to_stop(socket: &Path, number: Option<&str>) {
    if let Some(number) = number {
        let _ = exchange(socket, Method::POST, &format!("/stop?number={number}")).await;
    }
}

async fn exchange(socket: &Path, method: Method, path: &str) -> Result<Answer, ClientError> {
    let response = begin(socket, method, path).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|_| ClientError::Body { socket: socket.to_owned() })?.to_bytes();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Sends a request; the answer's head has come, its body comes.
async fn begin(socket: &Path, method: Method, path: &str) -> Result<hyper::Response<Incoming>, ClientError> {
    let owned = || socket.to_owned();
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::Denied { socket: owned() },
        _ => ClientError::NotRunning { socket: owned(), error },
    })?;
    let broken = |error| ClientError::Broken { socket: socket.to_owned(), error };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its error also reaches the request below. It ends with the connection.
    tokio::spawn(connection);
    let mut request = hyper::Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap_or_default();
    request.headers_mut().insert(hyper::header::HOST, hyper::header::HeaderValue::from_static("tidegate"));
    sender.send_request(request).await.map_err(broken)
}
