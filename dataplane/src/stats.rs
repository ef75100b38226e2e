//! What a core counts while it runs. Written by that core alone, read by the management thread at any time.

use crate::{
    meta::{InterfaceId, MAX_RULES},
    sync::counter::Counter,
    verdict::DropReason,
};

macro_rules! stages {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal,)+) => {
        /// The stages of a turn, in packet order. Cycles are taken once per stage and batch.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Stage { $($(#[doc = $doc])+ $name,)+ }

        impl Stage {
            /// All stages in order: `ALL[stage as usize] == stage`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word used in counters and traces.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

stages! {
    /// Ports to batch.
    Rx = "rx",
    /// Ethernet header to offsets.
    L2Parse = "l2_parse",
    /// From member to member of a bridge.
    Bridge = "l2_bridge",
    /// Address filter; ARP.
    L2Input = "l2_input",
    /// IP header checks; for us or in transit.
    L3Input = "l3_input",
    /// To the core that owns the flow.
    Handover = "handover",
    /// ICMP, ND and what nobody listens to.
    L3Local = "l3_local",
    /// TCP segments to connections.
    Tcp = "tcp",
    /// To and from the kernel, where a port has a host link.
    Host = "host",
    /// Which rule decides where a packet goes.
    L3Policy = "l3_policy",
    /// Longest-prefix match.
    L3Route = "l3_route",
    /// TTL, MTU, header rewrite.
    L3Forward = "l3_forward",
    /// Neighbour, Ethernet header.
    L2Output = "l2_output",
    /// Batch to ports.
    Tx = "tx",
    /// Timer wheels.
    Timers = "timers",
    /// Sessions.
    Tasks = "tasks",
    /// Segments that TCP wants to send.
    TcpOutput = "tcp_output",
}

/// Cycles and packets of one stage.
#[derive(Default, Debug)]
pub struct StageStats {
    /// Time-stamp counter ticks spent in the stage.
    pub cycles: Counter,
    /// Packets (for `tasks`: polls; for `timers`: expiries) that went through it.
    pub packets: Counter,
}

/// Traffic of one port on one core.
#[derive(Default, Debug)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: Counter,
    /// Bytes received, Ethernet header included, frame check sequence not.
    pub rx_bytes: Counter,
    /// Packets the driver reported as broken or could not deliver.
    pub rx_errors: Counter,
    /// 1 while nothing that is sent would leave: the link is down. Unlike all else here the management thread writes it, and the core
    /// looks at it once per turn.
    pub shut: Counter,
    /// Packets sent.
    pub tx_packets: Counter,
    /// Bytes sent.
    pub tx_bytes: Counter,
    /// Packets refused for good: the link is down, or the packet is not one the driver can send.
    pub tx_errors: Counter,
    /// Packets copied on their way out because their memory was not this port's.
    pub tx_copies: Counter,
}

/// Traffic of one interface that is not all of a port's, on one core.
#[derive(Default, Debug)]
pub struct InterfaceStats {
    /// Packets received.
    pub rx_packets: Counter,
    /// Bytes received, Ethernet header and tags included.
    pub rx_bytes: Counter,
    /// Packets sent.
    pub tx_packets: Counter,
    /// Bytes sent.
    pub tx_bytes: Counter,
}

/// What a rule of policy routing decided, on one core.
#[derive(Default, Debug)]
pub struct PolicyStats {
    /// Packets.
    pub packets: Counter,
    /// Their bytes, IP headers included.
    pub bytes: Counter,
}

/// All counters of one core.
#[derive(Debug)]
pub struct CoreStats {
    /// Turns of the poll loop, idle ones included; the heartbeat.
    pub turns: Counter,
    /// Turns that found nothing to do.
    pub idle_turns: Counter,
    /// Times the core went to sleep on its ports.
    pub sleeps: Counter,
    /// Generation of the tables this core runs on.
    pub generation: Counter,
    /// Packets passed to another core that owns their flow.
    pub handovers: Counter,
    /// Ticks spent in turns that had work; its share of `total_cycles` is the load.
    pub busy_cycles: Counter,
    /// Ticks since the core began, whatever it did: work, looking for work, sleep.
    pub total_cycles: Counter,
    /// Free frames in the arena (gauge).
    pub free_frames: Counter,
    /// Panics of this core that were contained; each restarted it.
    pub restarts: Counter,
    /// Stations that bridges know (gauge).
    pub bridge_stations: Counter,
    /// Stations that moved from one member of a bridge to another.
    pub bridge_moves: Counter,
    /// Frames of stations that a bridge did not learn, being at its limit.
    pub bridge_refused: Counter,
    drops: Box<[Counter]>,
    stages: Box<[StageStats]>,
    ports: Box<[PortStats]>,
    interfaces: Box<[InterfaceStats]>,
    policies: Box<[PolicyStats]>,
}

impl CoreStats {
    /// Counters for a core with `ports` ports.
    pub fn new(ports: usize) -> Self {
        Self {
            turns: Counter::new(),
            idle_turns: Counter::new(),
            sleeps: Counter::new(),
            generation: Counter::new(),
            handovers: Counter::new(),
            busy_cycles: Counter::new(),
            total_cycles: Counter::new(),
            free_frames: Counter::new(),
            restarts: Counter::new(),
            bridge_stations: Counter::new(),
            bridge_moves: Counter::new(),
            bridge_refused: Counter::new(),
            drops: (0..DropReason::COUNT).map(|_| Counter::new()).collect(),
            stages: Stage::ALL.iter().map(|_| StageStats::default()).collect(),
            ports: (0..ports).map(|_| PortStats::default()).collect(),
            interfaces: (0..InterfaceId::LIMIT).map(|_| InterfaceStats::default()).collect(),
            policies: (0..MAX_RULES).map(|_| PolicyStats::default()).collect(),
        }
    }

    /// Packets lost for `reason`.
    #[inline]
    pub fn drops(&self, reason: DropReason) -> &Counter {
        &self.drops[reason as usize]
    }

    /// Counters of a stage.
    #[inline]
    pub fn stage(&self, stage: Stage) -> &StageStats {
        &self.stages[stage as usize]
    }

    /// Counters of a port on this core.
    #[inline]
    pub fn port(&self, port: crate::meta::PortId) -> &PortStats {
        &self.ports[port.index()]
    }

    /// Counters of an interface that has tags or is a bridge; those of a port's untagged side stay 0.
    #[inline]
    pub fn interface(&self, interface: InterfaceId) -> &InterfaceStats {
        &self.interfaces[interface.index() % InterfaceId::LIMIT]
    }

    /// Counters of the rule whose number this is (see [`Rule::counter`](crate::l3::policy::Rule::counter)).
    #[inline]
    pub fn policy(&self, counter: u16) -> &PolicyStats {
        &self.policies[usize::from(counter) % MAX_RULES]
    }

    /// Counters of all ports on this core.
    pub fn ports(&self) -> &[PortStats] {
        &self.ports
    }
}
