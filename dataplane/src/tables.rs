//! One generation of everything the configuration decides, immutable and shared by all cores.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use crate::{l3, l4::Listen, l7, sync::snapshot};

/// What the process is doing. Part of the tables, so that cores learn it like everything else: by the next swap.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Phase {
    /// New connections are accepted.
    #[default]
    Serve,
    /// No new connections; the open ones finish what they are doing and are told to close.
    Drain,
    /// Cores leave their loops.
    Stop,
}

/// The tables of a generation. Parts that did not change are shared with the previous one.
#[derive(Clone, Debug)]
pub struct Tables {
    /// What the process is doing.
    pub phase: Phase,
    /// Ports, addresses, neighbours and routes.
    pub l3: Arc<l3::Table>,
    /// Listeners, routes and clusters.
    pub l7: Arc<l7::table::Table>,
}

impl Listen for Tables {
    fn listener(&self, local: SocketAddr) -> Option<u32> {
        if self.phase == Phase::Serve { self.l7.listener_index(local) } else { None }
    }
}

/// The generation a core works with. Sessions keep a clone of the `Rc` as long as they need its parts: no atomic operation, and the
/// memory lives until the last of them lets go.
#[derive(Debug)]
pub struct Generation {
    /// Its number, counted from 1.
    pub number: u64,
    /// Its tables.
    pub tables: Arc<Tables>,
}

impl core::ops::Deref for Generation {
    type Target = Tables;
    fn deref(&self) -> &Tables {
        &self.tables
    }
}

/// The core's current generation, as its sessions see it.
#[derive(Clone, Debug)]
pub struct Current(Rc<RefCell<Rc<Generation>>>);

impl Current {
    /// Starts with what the reader holds.
    pub fn new(reader: &snapshot::Reader<Tables>) -> Self {
        Self(Rc::new(RefCell::new(Rc::new(generation(reader)))))
    }

    /// The tables to use for whatever starts now.
    #[inline]
    pub fn get(&self) -> Rc<Generation> {
        Rc::clone(&self.0.borrow())
    }

    /// Moves on to the reader's generation. Only the worker does this, once per turn.
    pub(crate) fn replace(&self, reader: &snapshot::Reader<Tables>) {
        *self.0.borrow_mut() = Rc::new(generation(reader));
    }
}

fn generation(reader: &snapshot::Reader<Tables>) -> Generation {
    Generation { number: reader.generation(), tables: Arc::clone(reader.current()) }
}
