//! The data plane of Tidegate: everything a packet can touch, in packet order.
//!
//! A core runs to completion: [`worker`] takes the tables of the current generation, receives a batch, passes it through the
//! stages, runs the sessions that became ready, and sends. Nothing here reads files, spawns threads or knows the configuration's format.

pub mod clock; // time as an argument
pub mod random; // numbers that nobody needs to be unable to guess
pub mod frame; // packet memory and its owner
pub mod meta; // what is known about a packet beside its bytes
pub mod verdict; // where a packet stands, and why packets are lost
pub mod batch; // packets that go through the stages together
pub mod stats; // what a core counts
pub mod sync; // what cores share: rings, the snapshot cell, counters
pub mod io; // ports: memory, pcap, TAP, AF_XDP, DPDK
pub mod wheel; // timers, set and fired in constant time
pub mod l2; // Ethernet, ARP, neighbours
pub mod l3; // IP: checks, routes, forwarding, ICMP
pub mod l4; // TCP
pub mod l7; // streams and sessions: futures on the core's own executor
pub mod tables; // one generation of what the configuration decides
pub mod see; // captures, traces, and what else operators ask of a running core
pub mod worker; // the poll loop
