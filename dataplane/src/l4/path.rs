//! How long packets may be on the way to a peer: path MTU discovery (RFC 1191, RFC 8201).
//!
//! A router that cannot pass a packet on reports it and names the MTU of the link ahead. The report is believed only if it quotes
//! an octet that is under way (RFC 5927 §7.2): who does not see the connection has to guess it. It then holds for all connections to
//! the peer for ten minutes (RFC 1191 §6.3), after which a new one tries the full length again.
//!
//! What the connection had under way is sent again at once, in shorter segments: the reports say that it is lost.

use core::{net::IpAddr, time::Duration};
use std::collections::BTreeMap;

use smoltcp::iface::Interface;

use crate::clock::Instant;

use super::{
    conn::State,
    flow::Flow,
    hydrate::interface,
    segment::{IPV4_HEADER, IPV6_HEADER, TCP_HEADER},
    seq::Seq,
    stream::TcpHandle,
    tcp::{Core, Tcp},
};

/// Shortest path MTU that is believed over IPv4, as in Linux: RFC 791's 68 bytes would make eleven packets of one. Over IPv6 no link
/// has less than 1280 (RFC 8200 §5).
const LEAST_V4: u16 = 552;
const LEAST_V6: u16 = 1280;
/// How long a report holds (RFC 1191 §6.3).
const LIFETIME: Duration = Duration::from_secs(600);
/// Peers remembered: 10,000 would cost half a megabyte, and narrow paths are few.
const LIMIT: usize = 1_024;

/// Octets of IP and TCP headers without options.
const fn headers(address: IpAddr) -> u16 {
    (TCP_HEADER + if address.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER }) as u16
}

/// What is known about paths.
#[derive(Default, Debug)]
pub(super) struct Paths(BTreeMap<IpAddr, (u16, Instant)>);

impl Paths {
    /// Longest packet that gets to `peer`, in bytes; `None` if nobody has complained.
    #[inline]
    fn mtu(&self, peer: IpAddr, now: Instant) -> Option<u16> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&peer).filter(|(_, until)| now < *until).map(|(mtu, _)| *mtu)
    }

    /// Remembers a report. When there are too many the oldest is forgotten.
    fn learn(&mut self, peer: IpAddr, mtu: u16, now: Instant) {
        if self.0.len() >= LIMIT && !self.0.contains_key(&peer) {
            self.0.retain(|_, (_, until)| now < *until);
            let oldest = self.0.iter().min_by_key(|(_, (_, until))| *until).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= LIMIT) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(peer, (mtu, now + LIFETIME));
    }
}

/// What packets leave by.
pub(super) struct Way {
    /// Longest packet, in bytes.
    pub(super) mtu: usize,
    /// Makes super-segments where the port takes them.
    pub(super) bulk: Interface,
    /// Makes one segment at a time.
    pub(super) single: Interface,
}

impl Way {
    pub(super) fn new(mtu: usize, super_segment: usize) -> Self {
        Self { mtu, bulk: interface(mtu, super_segment, 0), single: interface(mtu, 0, 0) }
    }
}

impl Core {
    /// Octets per segment to `peer`, whatever it takes itself.
    pub(super) fn path_mss(&self, peer: IpAddr) -> u16 {
        let own = self.own_mss(peer.is_ipv4());
        self.paths.mtu(peer, self.now).map_or(own, |mtu| own.min(mtu - headers(peer)))
    }

    /// What packets of at most `mtu` bytes leave by; 0 is no limit but the port's.
    #[inline]
    pub(super) fn way(&mut self, mtu: u16) -> &mut Way {
        if mtu == 0 {
            return &mut self.way;
        }
        // Few paths are narrow, and most of those alike: one is enough, made anew for another.
        let made = self.narrow.take().filter(|way| way.mtu == usize::from(mtu));
        self.narrow.insert(made.unwrap_or_else(|| Way::new(usize::from(mtu), self.super_segment)))
    }
}

impl Tcp {
    /// A router on the way to `flow`'s peer says that a packet was longer than the `mtu` bytes of the link ahead. `seq` is the number
    /// in the quoted segment. True if it is believed and news.
    fn too_big(&mut self, flow: &Flow, seq: u32, mtu: u16) -> bool {
        let mtu = mtu.max(if flow.remote.is_ipv4() { LEAST_V4 } else { LEAST_V6 });
        let Some(index) = self.conns.find(flow) else { return false };
        let core = &mut self.core;
        let conn = self.conns.at(index);
        let State::Live(live) = &mut conn.state else { return false };
        let under_way = !Seq(seq).before(live.acknowledged()) && Seq(seq).before(live.track.snd_max);
        let mss = mtu - headers(flow.remote);
        if !under_way || mss >= live.record.mss {
            return false;
        }
        live.record.mss = mss;
        live.narrow = mtu;
        live.repair.cut(live.track.snd_max);
        core.paths.learn(flow.remote, mtu, core.now);
        core.stats.path_mtu_reductions.add(1);
        core.touch(conn, index);
        true
    }
}

impl TcpHandle {
    /// An ICMP error says that a segment of `flow`, with this sequence number, was longer than the `mtu` bytes of a link. True if it
    /// is believed and news.
    pub fn too_big(&self, flow: &Flow, seq: u32, mtu: u16) -> bool {
        self.enter(|tcp| tcp.too_big(flow, seq, mtu))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> IpAddr {
        core::net::Ipv4Addr::from_bits(0x0a00_0000 + number as u32).into()
    }

    #[test]
    fn a_report_holds_for_ten_minutes() {
        let (mut paths, start) = (Paths::default(), Instant::from_millis(5));
        paths.learn(peer(1), 1280, start);
        assert_eq!(paths.mtu(peer(1), start + (LIFETIME - Duration::from_secs(1))), Some(1280));
        assert_eq!(paths.mtu(peer(1), start + LIFETIME), None);
        assert_eq!(paths.mtu(peer(2), start), None);
    }

    #[test]
    fn the_oldest_report_makes_room() {
        let mut paths = Paths::default();
        for number in 0..LIMIT + 10 {
            paths.learn(peer(number), 1280, Instant::from_millis(number as u64));
        }
        assert_eq!(paths.0.len(), LIMIT);
        let now = Instant::from_millis(LIMIT as u64 + 10);
        assert_eq!(paths.mtu(peer(9), now), None);
        assert_eq!(paths.mtu(peer(10), now), Some(1280));
        assert_eq!(paths.mtu(peer(LIMIT + 9), now), Some(1280));
        // Those that are over go together.
        paths.learn(peer(0), 1400, now + LIFETIME);
        assert_eq!(paths.0.len(), 1);
    }
}
