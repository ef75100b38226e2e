//! What happened: written by the actors, judged at the end.

use std::{cell::RefCell, rc::Rc};

use tidegate_dataplane::{clock::Instant, l4::End};

use crate::{plan::Scenario, talk::Trouble};

/// How a request, or an echo session, ended for its client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Complete and right.
    Whole,
    /// The gateway answered itself: status and reason.
    Page(u16, String),
    /// The connection was closed in order before the answer was complete, as the client could tell.
    Closed,
    /// The connection broke.
    Broken(End),
    /// No connection could be opened.
    NotOpened(End),
    /// The client itself gave up, as planned.
    GaveUp,
}

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) outcome: Outcome,
    pub(crate) at: Instant,
}

/// Notes of one run.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By request.
    pub(crate) asks: Vec<Option<Entry>>,
    /// By session; set when it is over. For HTTP sessions the outcome says nothing.
    pub(crate) sessions: Vec<Option<Entry>>,
    /// How often origins saw each request's head.
    pub(crate) seen: Vec<u32>,
    /// What may never happen, and when it did.
    pub(crate) violations: Vec<(Instant, String)>,
    /// Bytes of content that were checked at clients.
    pub(crate) checked: u64,
}

/// What the actors of one run share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) scenario: Rc<Scenario>,
    pub(crate) ledger: Rc<RefCell<Ledger>>,
}

impl Shared {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let ledger = Ledger {
            asks: vec![None; scenario.asks.len()],
            sessions: vec![None; scenario.sessions.len()],
            seen: vec![0; scenario.asks.len()],
            ..Ledger::default()
        };
        Self { scenario: Rc::new(scenario), ledger: Rc::new(RefCell::new(ledger)) }
    }

    pub(crate) fn violation(&self, at: Instant, what: String) {
        let mut ledger = self.ledger.borrow_mut();
        // The first ones tell; a thousand of them only hide it.
        if ledger.violations.len() < 20 {
            ledger.violations.push((at, what));
        }
    }

    /// Notes a trouble that is a violation.
    pub(crate) fn report(&self, at: Instant, who: &str, trouble: &Trouble) {
        if let Trouble::Wrong(what) = trouble {
            self.violation(at, format!("{who}: {what}"));
        }
    }

    pub(crate) fn ask_ended(&self, at: Instant, id: usize, outcome: Outcome) {
        let mut ledger = self.ledger.borrow_mut();
        if matches!(outcome, Outcome::Whole) {
            ledger.checked += self.scenario.asks[id].response.len;
        }
        ledger.asks[id] = Some(Entry { outcome, at });
    }

    pub(crate) fn session_ended(&self, at: Instant, number: usize, outcome: Outcome) {
        self.ledger.borrow_mut().sessions[number] = Some(Entry { outcome, at });
    }
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Closed | Trouble::Wrong(_) => Self::Closed,
            Trouble::Broken(end) => Self::Broken(end),
        }
    }
}
