//! Sessions as transcripts: what the client sends, what the upstream sees, what comes back, on virtual time.

mod framing;
mod origin;
mod splits;
mod timing;
mod transcript;
mod tunnels;
mod upstreams;
