//! A packet's way in words: what each stage decided and why, from what the core has recorded and the tables that it used.

mod packet; // what a packet is
mod bridge; // what a bridge makes of it
mod route; // where it is sent
mod stage; // what a stage decided
mod tell; // the whole way

use serde::{Deserialize, Serialize};

pub use tell::{Surroundings, tell};

/// A packet's way through one core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// When, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The core's number, from 0.
    pub core: usize,
    /// The number of the tables it used.
    pub generation: u64,
    /// Where the packet began: `wire`, `core` (another, which does not own its flow), `host` (this one), `kernel` (of this host).
    pub origin: String,
    /// The port it came in by.
    pub port: Option<String>,
    /// The packet.
    pub packet: Packet,
    /// Stage by stage.
    pub steps: Vec<Step>,
    /// What came of it.
    pub end: End,
    /// Packets that were made on its behalf.
    pub made: Vec<Packet>,
}

/// What a packet is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// In one line.
    pub text: String,
    /// Bytes, with the Ethernet header if it has one.
    pub length: u32,
    /// Station it is from.
    pub from_station: Option<String>,
    /// Station it is to.
    pub to_station: Option<String>,
    /// VLANs, outermost first.
    pub vlans: Vec<u16>,
    /// `IPv4`, `IPv6`, `ARP` or the EtherType.
    pub network: String,
    /// Address it is from.
    pub source: Option<String>,
    /// Address it is to.
    pub destination: Option<String>,
    /// TTL or hop limit.
    pub hops: Option<u8>,
    /// DSCP and ECN.
    pub traffic_class: Option<u8>,
    /// Transport protocol, by name if it has one.
    pub protocol: Option<String>,
    /// Port it is from.
    pub source_port: Option<u16>,
    /// Port it is to.
    pub destination_port: Option<u16>,
}

/// What a stage made of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The stage, as counters name it.
    pub stage: String,
    /// Ticks of the time-stamp counter, the packet alone in its batch.
    pub cycles: u64,
    /// Where it stood then: `continue`, `deliver`, `transmit`, `taken`, `consumed`, `drop`.
    pub verdict: String,
    /// What was decided and why.
    pub notes: Vec<String>,
    /// What was rewritten.
    pub changes: Vec<Change>,
}

/// A field that was rewritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub field: String,
    /// What it was.
    pub from: String,
    /// What it is.
    pub to: String,
}

/// What came of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// `sent`, `dropped`, `absorbed`, `waiting`, `handed-over`, or `lost` when the core had no memory to try it out.
    pub verdict: String,
    /// In a sentence.
    pub text: String,
    /// The port it leaves by.
    pub port: Option<String>,
    /// The ports by which a bridge sends copies of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
    /// Why it was dropped, as counters name it.
    pub reason: Option<String>,
    /// The rule of policy routing that decided where it goes.
    pub policy: Option<String>,
    /// The routing domain by whose prefixes it was routed, unless that is the main one.
    pub vrf: Option<String>,
    /// The prefix by which it was routed.
    pub prefix: Option<String>,
    /// The router, or the destination itself, that it was sent to.
    pub next_hop: Option<String>,
    /// The listener that serves it.
    pub listener: Option<String>,
    /// The core that owns its flow.
    pub core: Option<usize>,
    /// What to do about it, where something can be done.
    pub hint: Option<String>,
}
