//! TCP: flows found by our own table, handshakes and rest kept as small records, smoltcp for whoever has data under way.
//!
//! A connection is *hydrated* into a smoltcp socket when it has something to send or receive and *dehydrated* into a record
//! when it is quiet: a hundred thousand idle connections cost some tens of megabytes, and the cost of a segment does not
//! depend on their number. Reading order: [`segment`], [`tcp`], [`handshake`], [`established`], [`drive`], [`live`], [`hydrate`].

mod accept; // what is acceptable
mod congestion; // how much may be under way
mod conn; // states, slab
mod drive; // output of a turn
mod early; // selective acknowledgements
mod emit; // what is sent in a turn
mod established; // segments of open connections
mod fate; // what becomes of a segment
mod flow; // five-tuples and their owners
mod handshake; // SYNs
mod hydrate; // record to socket
mod isn; // sequence numbers and cookies
mod join; // segments that belong together
mod keepalive; // is the peer still there?
mod live; // a connection with a socket
mod options; // settings
mod path; // how long packets may be on their way
mod pool; // sockets and buffers
mod record; // connections without a socket
mod repair; // what is lost, and how much may be sent meanwhile
mod resend; // how a socket is made to send again
mod scoreboard; // what the peer has of what is under way
mod segment; // the wire format
mod seq; // sequence arithmetic
mod silence; // what it means
mod sink; // where segments go
mod stats; // counters
mod stream; // what users hold
mod tcp; // one core's TCP
mod window; // the user's side of a socket
mod wire; // the one-frame device

#[cfg(test)]
mod tests;

pub use fate::{Fate, Standing};
pub use flow::{Flow, FlowTable, owner};
pub use handshake::ConnectError;
pub use join::{Joint, Part};
pub use options::{Congestion, Secrets, SynCookies, TcpOptions};
pub use record::End;
pub use sink::{Capabilities, SegmentSink, Sent};
pub use stats::Stats;
pub use stream::{TcpHandle, TcpStream};
pub use tcp::{Listen, Outcome};
