//! One packet's way: what it was after each stage, and what came of it.

use core::net::IpAddr;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::Facts;
use crate::{
    clock::Instant,
    l2::Neighbor,
    l4::Fate,
    meta::{Meta, Network, PortId},
    stats::Stage,
    tables::Tables,
    verdict::Verdict,
};

/// Bytes of a packet that are kept: enough for Ethernet with two tags, IPv6 with some extension headers, and TCP.
pub const HEAD: usize = 128;
/// Stages of one way.
pub const STEPS: usize = 24;
/// Packets made on behalf of one.
pub const MADE: usize = 4;

/// The beginning of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    bytes: [u8; HEAD],
    kept: u8,
    /// Bytes of the whole packet.
    pub length: u32,
}

impl Head {
    /// No packet.
    pub const NONE: Self = Self { bytes: [0; HEAD], kept: 0, length: 0 };

    /// Of a packet.
    pub fn of(packet: &[u8]) -> Self {
        let kept = packet.len().min(HEAD);
        let mut head = Self { bytes: [0; HEAD], kept: kept as u8, length: packet.len() as u32 };
        head.bytes[..kept].copy_from_slice(&packet[..kept]);
        head
    }

    /// What was kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.kept)]
    }
}

/// Where a packet began its way on this core.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Origin {
    /// A port on a wire.
    #[default]
    Wire,
    /// Another core, which does not own its flow.
    Core,
    /// This host.
    Host,
    /// This host's kernel.
    Kernel,
}

/// What a stage made of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The stage.
    pub stage: Stage,
    /// Ticks of the time-stamp counter; the packet was alone in its batch.
    pub cycles: u64,
    /// Where it stood then.
    pub verdict: Verdict,
    /// What was known about it then.
    pub meta: Meta,
    /// What it looked like then; `None` when as before, or when its frame had been taken.
    pub head: Option<Head>,
}

/// A packet that a stage made on behalf of another: an answer, an error, a question to a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Made {
    /// Its beginning.
    pub head: Head,
    /// The network whose header it begins with; [`Network::Other`] when it begins with Ethernet's.
    pub network: Network,
    /// The port it leaves by, if that is known already.
    pub port: Option<PortId>,
}

/// A packet's way through one core.
#[derive(Clone, Debug)]
pub struct Record {
    /// The time of the turn.
    pub at: Instant,
    /// The core.
    pub core: usize,
    /// The tables that the stages used.
    pub tables: Option<Arc<Tables>>,
    /// Their number.
    pub generation: u64,
    /// Where it began.
    pub origin: Origin,
    /// Where it came in.
    pub port: PortId,
    /// What it looked like at first.
    pub head: Head,
    /// It had no Ethernet header then: this host had made it.
    pub bare: bool,
    /// What was known about it at first.
    pub meta: Meta,
    /// Stage by stage.
    pub steps: ArrayVec<Step, STEPS>,
    /// Where it stood at first.
    pub stood: Verdict,
    /// Where it stood at the end.
    pub verdict: Verdict,
    /// The neighbour it goes to or waits for, as it was known then.
    pub neighbor: Option<Neighbor>,
    /// The address that was asked for it: the next hop's or, on the link, its destination.
    pub target: Option<IpAddr>,
    /// It leaves by a bridge, which knew the member that its station is behind.
    pub station_known: bool,
    /// What TCP made of it.
    pub segment: Option<Fate>,
    /// The core it was handed over to.
    pub handed_to: Option<usize>,
    /// What was made on its behalf.
    pub made: ArrayVec<Made, MADE>,
}

impl Record {
    /// Nothing yet.
    pub fn empty() -> Self {
        Self {
            at: Instant::ZERO,
            core: 0,
            tables: None,
            generation: 0,
            origin: Origin::Wire,
            port: PortId(0),
            head: Head::NONE,
            bare: false,
            meta: Meta::default(),
            steps: ArrayVec::new_const(),
            stood: Verdict::Continue,
            verdict: Verdict::Continue,
            neighbor: None,
            target: None,
            station_known: false,
            segment: None,
            handed_to: None,
            made: ArrayVec::new_const(),
        }
    }

    /// What the packet said of itself at first.
    pub fn facts(&self) -> Facts {
        Facts::of(self.head.bytes(), self.bare.then_some(self.meta.network))
    }

    /// Where it was to go when its route was looked up: an answer made in its place goes elsewhere than it did.
    pub fn routed_to(&self) -> Option<IpAddr> {
        let before = self.steps.iter().take_while(|step| step.stage != Stage::L3Route);
        let last = before.filter_map(|step| Some((step.head?, self.bare && step.meta.l3 == 0))).last();
        let (head, bare) = last.unwrap_or((self.head, self.bare));
        Facts::of(head.bytes(), bare.then_some(self.meta.network)).addresses.map(|(_, destination)| destination)
    }
}
