//! The admin API: where the gateway is asked and told things while it runs.
//!
//! Paths are Envoy's where the meaning is the same. The unix socket has all of them; the HTTP address only those that read.

mod answers;
mod capture;
mod explain;
mod hang;
/// The gateway's state in parts.
pub mod show;
/// The other end of the socket.
pub mod client;
/// The unix socket.
pub mod socket;
/// Ways of real packets.
pub mod trace;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::lines::Lines;
use crate::status::Status;
use crate::telemetry::Telemetry;
pub use hang::{Hangings, NUMBER};
use socket::{AdminError, Socket, SocketPath};

/// What the API asks of the control loop.
#[derive(Debug)]
pub enum Request {
    /// Load the file again.
    Reload(oneshot::Sender<Reloaded>),
    /// Accept no new connections; stay.
    Drain(oneshot::Sender<()>),
    /// Drain, then exit; at once if `now`.
    Quit {
        /// Without waiting.
        now: bool,
        /// Answered when it has begun.
        reply: oneshot::Sender<()>,
    },
}

/// The answer to a reload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether it was taken.
    pub ok: bool,
    /// The number of the tables in use.
    pub generation: u64,
    /// The diagnostics for people.
    pub text: String,
    /// The diagnostics for programs.
    pub report: Value,
}

/// What handlers read.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Counters.
    pub telemetry: Arc<Telemetry>,
    /// What the gateway is doing.
    pub status: watch::Receiver<Arc<Status>>,
    /// The way to the control loop.
    pub requests: mpsc::Sender<Request>,
    /// The way to the cores.
    pub lines: Arc<Lines>,
    /// Captures and traces that run.
    pub hangings: Hangings,
}

/// The listening ends, bound before ports are opened so that a second gateway finds out early.
#[derive(Debug)]
pub struct Admin {
    socket: Socket,
    http: Option<TcpListener>,
}

impl Admin {
    /// Binds. Needs a tokio runtime.
    ///
    /// # Errors
    /// The socket or the address is in use or cannot be made.
    pub async fn bind(socket: &std::path::Path, http: Option<SocketAddr>) -> Result<Self, AdminError> {
        let socket = Socket::bind(socket)?;
        let http = match http {
            Some(address) => {
                Some(TcpListener::bind(address).await.map_err(|error| AdminError::Http { address, error })?)
            }
            None => None,
        };
        Ok(Self { socket, http })
    }

    /// Serves until the runtime ends. The socket's path goes when what is returned is dropped.
    #[must_use]
    pub fn serve(self, desk: Desk) -> SocketPath {
        // `axum::serve` returns only when it is told to stop, which it is not.
        if let Some(http) = self.http {
            let routes = reading().with_state(desk.clone());
            tokio::spawn(async move { axum::serve(http, routes).await });
        }
        let Socket { listener, path } = self.socket;
        let routes = reading().merge(writing()).with_state(desk);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        path
    }
}

fn reading() -> Router<Desk> {
    Router::new()
        .route("/", get(answers::index))
        .route("/ready", get(answers::ready))
        .route("/readyz", get(answers::ready))
        .route("/healthz", get(answers::healthy))
        .route("/stats", get(answers::stats))
        .route("/metrics", get(answers::metrics))
        .route("/listeners", get(answers::listeners))
        .route("/clusters", get(answers::clusters))
        .route("/config_dump", get(answers::config_dump))
        .route("/certs", get(answers::certs))
        .merge(show::routes())
}

fn writing() -> Router<Desk> {
    Router::new()
        .route("/reload", post(answers::reload))
        .route("/drain_listeners", post(answers::drain))
        .route("/quit", post(answers::quit))
        // What packets carry is nobody's business but the owner's.
        .route("/capture", get(capture::capture))
        .route("/trace", get(trace::trace))
        .route("/explain", get(explain::explain))
        .route("/stop", post(hang::stop))
}
