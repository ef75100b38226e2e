//! Seeing packets: what operators ask of a running core, and how it answers without a lock and at no cost while nobody asks.
//!
//! The management thread writes [`order`]s into a ring of the core and finds them, carried out, in another. An order may hang a
//! [`watch`] up: a capture, which copies packets at the ends of their way, or a trace, which also looks at them between the stages. While
//! one hangs, batches take a second copy of the pipeline; otherwise that is one comparison per batch.

pub mod facts; // what can be asked of a packet's bytes
pub mod filter; // which packets somebody wants to see
pub mod capture; // copies of packets
pub mod record; // one packet's way, stage by stage
pub mod watch; // what hangs in a core
pub mod order; // what a core is asked

pub use capture::{Capture, Counts, Packet, Point, Points};
pub use facts::Facts;
pub use filter::{End, Filter, Op, Test};
pub use order::{Census, Desk, Letter, Order};
pub use record::{Head, Origin, Record, Step};
pub use watch::{Trace, Watch, Watches};
