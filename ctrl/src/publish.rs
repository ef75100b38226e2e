//! The tables in use and those before them. The only writer: every change of what cores see goes through here, as one swap.

use std::sync::Arc;

use tidegate_dataplane::l7::tls::TicketKeys;
use tidegate_dataplane::sync::snapshot::{Publisher, Subscription};
use tidegate_dataplane::tables::{Phase, Tables};

use crate::compile::{CompileError, Compiled, Inputs, Learnt, Tentative, compile};

/// The published generation, with what it was made from.
pub struct Publication {
    publisher: Publisher<Tables>,
    compiled: Compiled,
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
        let compiled = compile(inputs, None)?;
        Ok(Self { publisher: Publisher::new(Arc::clone(&compiled.tables)), compiled })
    }

    /// Compiles and publishes the next generation; returns its number.
    ///
    /// # Errors
    /// See [`compile`]; the published generation stays as it is.
    pub fn publish(&mut self, inputs: Inputs) -> Result<u64, CompileError> {
        let compiled = compile(inputs, Some(&self.compiled))?;
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

    /// Publishes the same configuration with other learnt routes, in order of prefixes.
    ///
    /// # Errors
    /// See [`compile`]; the published generation stays as it is.
    pub fn set_learnt(&mut self, learnt: Vec<Learnt>) -> Result<u64, CompileError> {
        self.publish(Inputs { learnt: Arc::new(learnt), ..self.inputs().clone() })
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
