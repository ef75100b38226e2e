//! What can go wrong with one piece of work, by name: every failure is counted as one of these.

use tidegate_dataplane::{
    l4::{ConnectError, End},
    l7::stream::StreamError,
};

macro_rules! failures {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal,)+) => {
        /// Why a piece of work failed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Failure { $($(#[doc = $doc])+ $name,)+ }

        impl Failure {
            /// All of them in order: `ALL[failure as usize] == failure`.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in reports.
            pub(crate) const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

failures! {
    /// The server refused a connection, or could not be reached.
    Refused = "refused",
    /// No local port, or no connection, is left here: more addresses are needed.
    Exhausted = "exhausted",
    /// The server reset the connection.
    Reset = "reset",
    /// The server closed the connection before its answer was whole.
    Closed = "closed",
    /// There was no answer in time.
    Timeout = "timeout",
    /// TLS failed: an alert, a certificate, a record.
    Tls = "tls",
    /// A handshake that was to resume a session was a full one.
    NotResumed = "not_resumed",
    /// What came was not HTTP/1.1.
    Malformed = "malformed",
    /// The status was not 200.
    Status = "status",
    /// The content had another length than it must have, or than the answer before had.
    Length = "length",
    /// The content was not what it must be.
    Content = "content",
    /// It was due and could not even begin before the end.
    Unsent = "unsent",
    /// A connection that was to stay open was closed by the server, or said something nobody had asked for.
    Lost = "lost",
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Reset => Self::Reset,
            StreamError::TimedOut => Self::Timeout,
            StreamError::Closed => Self::Closed,
            StreamError::Tls(tidegate_dataplane::l7::tls::TlsError::HandshakeTimeout) => Self::Timeout,
            StreamError::Tls(_) => Self::Tls,
        }
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        match end {
            End::Refused | End::Unreachable => Self::Refused,
            End::Reset => Self::Reset,
            End::TimedOut => Self::Timeout,
            End::Finished | End::Aborted => Self::Closed,
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::BadAddress => Self::Refused,
            ConnectError::ConnectionLimit | ConnectError::NoPort => Self::Exhausted,
        }
    }
}
