//! The tables in use and those before them. The only writer: every change of what cores see goes through here, as one swap.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_dataplane::l3;
use tidegate_dataplane::l7::tls::TicketKeys;
use tidegate_dataplane::sync::snapshot::{Publisher, Subscription};
use tidegate_dataplane::tables::{Phase, Tables};

use crate::compile::l3::{learnt, shared};
use crate::compile::{CompileError, Compiled, Inputs, Tentative, compile};
use crate::kernel::Changes;

/// All routes, and the table in which their next hops have the numbers that they have now.
#[derive(Debug)]
pub struct Routes {
    /// The routes.
    pub builder: l3::Builder,
    /// The table made from them last.
    pub table: Arc<l3::Table>,
}

/// The published generation, with what it was made from.
pub struct Publication {
    publisher: Publisher<Tables>,
    compiled: Compiled,
    /// All routes, those learnt among them. Whoever shows them holds the lock for some thousands of them at a time.
    routes: Arc<Mutex<Routes>>,
    /// How many are learnt.
    learnt: usize,
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "generation {}", self.publisher.generation())
    }
}

impl Publication {
    /// Publishes generation 1.
    ///
    /// # Errors
    /// See [`compile`].
    pub fn first(inputs: Inputs) -> Result<Self, CompileError> {
        let mut builder = l3::Builder::default();
        let compiled = compile(inputs, &mut builder, None)?;
        let routes = Arc::new(Mutex::new(Routes { builder, table: Arc::clone(&compiled.tables.l3) }));
        Ok(Self { publisher: Publisher::new(Arc::clone(&compiled.tables)), compiled, routes, learnt: 0 })
    }

    /// Compiles and publishes the next generation; returns its number.
    ///
    /// # Errors
    /// See [`compile`]; the published generation stays as it is.
    pub fn publish(&mut self, inputs: Inputs) -> Result<u64, CompileError> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = compile(inputs, &mut routes.builder, Some(&self.compiled))?;
        routes.table = Arc::clone(&compiled.tables.l3);
        drop(routes);
        let generation = self.publisher.publish(Arc::clone(&compiled.tables));
        self.compiled = compiled;
        Ok(generation)
    }

    /// Publishes the same tables for another phase.
    ///
    /// # Errors
    /// None in practice: the same inputs have compiled before.
    pub fn set_phase(&mut self, phase: Phase) -> Result<u64, CompileError> {
        self.publish(Inputs { phase, ..self.inputs().clone() })
    }

    /// Publishes the same tables with other keys for session tickets.
    ///
    /// # Errors
    /// See [`compile`].
    pub fn set_tickets(&mut self, tickets: TicketKeys) -> Result<u64, CompileError> {
        self.publish(Inputs { tickets: Arc::new(tickets), ..self.inputs().clone() })
    }

    /// Publishes the same tables with other addresses withheld.
    ///
    /// # Errors
    /// See [`compile`].
    pub fn set_tentative(&mut self, tentative: Tentative) -> Result<u64, CompileError> {
        self.publish(Inputs { tentative: Arc::new(tentative), ..self.inputs().clone() })
    }

    /// Publishes the same configuration with changes of what is learnt, after which there are `count` such routes. Costs what the
    /// changes cost, not what is there.
    pub fn learn(&mut self, changes: &Changes, count: usize) -> u64 {
        let objects = changes.objects.iter().map(shared);
        let (new, gone): (Vec<_>, Vec<_>) = objects.partition(|object| object.target.is_some());
        let all: Vec<_> = changes.routes.iter().map(learnt).collect();
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        // In this order, so that a next hop that remains is in use all the time and keeps its number.
        routes.builder.share(&new);
        routes.builder.learn(&all);
        routes.builder.share(&gone);
        self.learnt = count;
        self.compiled = self.compiled.with_routes(&mut routes.builder);
        routes.table = Arc::clone(&self.compiled.tables.l3);
        drop(routes);
        self.publisher.publish(Arc::clone(&self.compiled.tables))
    }

    /// Prefixes whose way was learnt.
    pub fn learnt(&self) -> usize {
        self.learnt
    }

    /// All routes, for show.
    pub fn routes(&self) -> &Arc<Mutex<Routes>> {
        &self.routes
    }

    /// What the published generation was made from.
    pub fn inputs(&self) -> &Inputs {
        self.compiled.inputs()
    }

    /// The number of the published generation.
    pub fn generation(&self) -> u64 {
        self.publisher.generation()
    }

    /// The published tables.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.compiled.tables
    }

    /// A subscription for one core.
    pub fn subscription(&self) -> Subscription<Tables> {
        self.publisher.subscription()
    }

    /// Frees generations that nobody holds any more; returns how many old ones are still held.
    pub fn reclaim(&mut self) -> usize {
        self.publisher.reclaim()
    }
}
