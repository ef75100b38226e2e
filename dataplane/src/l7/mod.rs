//! Layer 7: connections as futures on the core's own executor. Bytes come in through a stream, HTTP is framed strictly, a
//! route is found, an upstream is picked, and what is forwarded can be understood in one way only.

pub mod cluster;
pub mod app;
pub mod exec;
pub mod http1;
pub mod reason;
pub mod route;
pub mod stream;
pub mod table;
pub mod tls;
