//! Layer 7: connections as futures on the core's own executor. Bytes come in through a stream, HTTP is framed strictly, a
//! route is found, an upstream is picked, and what is forwarded can be understood in one way only.

pub mod access;
mod alarm;
mod answer;
pub mod app;
pub mod cluster;
mod date;
mod exchange;
pub mod exec;
mod facts;
mod flow;
pub mod gateway;
pub mod http1;
pub mod metrics;
mod pace;
pub mod platform;
mod pool;
pub mod proxy;
pub mod reason;
mod relay;
pub mod route;
mod scratch;
pub mod session;
pub mod stream;
pub mod table;
pub mod tls;
mod tunnel;

#[cfg(test)]
mod tests;
