//! What runs on top of a core's TCP: the gateway, or in tests and benches a client, an origin, a load generator.

use super::exec::Executor;
use crate::{
    l4::{TcpHandle, TcpStream},
    tables::Current,
};

/// What the sessions of a core use: its executor (time and timers included), its TCP, its tables. Clones are the same core.
#[derive(Clone)]
pub struct Host {
    /// Number of this core, from 0.
    pub core: usize,
    /// Where sessions run.
    pub exec: Executor,
    /// Where upstream connections are opened.
    pub tcp: TcpHandle,
    /// The generation of tables to use for what starts now.
    pub tables: Current,
}

/// Decides what happens to connections. One per core; it lives and dies with the worker.
pub trait App {
    /// A peer has opened a connection ([`TcpStream::listener`] tells where). Whatever is to happen to it is spawned on `host.exec`.
    fn accept(&mut self, host: &Host, stream: TcpStream);

    /// New tables are current.
    fn tables_changed(&mut self, host: &Host) {
        let _ = host;
    }
}
