//! Numbers a peer must not be able to guess: initial sequence numbers and SYN cookies.

use siphasher::sip::SipHasher13;

use crate::clock::Instant;

use super::{
    flow::Flow,
    options::Secrets,
    segment::{Segment, SynOptions},
    seq::Seq,
};

/// Length of the time slot that a cookie carries, in nanoseconds: 64 s (RFC 4987 appendix A).
const SLOT_NANOS: u64 = 64_000_000_000;
/// Slots that a cookie stays valid after its own: the handshake may take between 64 and 128 s.
const VALID_SLOTS: u64 = 1;
/// Longest time between sending a cookie and its last valid answer.
pub(super) const COOKIE_LIFETIME: core::time::Duration =
    core::time::Duration::from_nanos(SLOT_NANOS * (VALID_SLOTS + 1));
/// Maximum segment sizes that a cookie can carry: common path MTUs, rounded down to.
const MSS_V4: [u16; 8] = [536, 1024, 1220, 1360, 1400, 1440, 1452, 1460];
const MSS_V6: [u16; 8] = [1220, 1280, 1300, 1360, 1400, 1420, 1432, 1440];

/// Makes initial sequence numbers and cookies.
pub(super) struct Numbers {
    sequence: SipHasher13,
    cookies: SipHasher13,
}

impl Numbers {
    pub(super) fn new(secrets: &Secrets) -> Self {
        let hasher = |key: (u64, u64)| SipHasher13::new_with_keys(key.0, key.1);
        Self { sequence: hasher(secrets.sequence), cookies: hasher(secrets.cookies) }
    }

    /// RFC 6528 §3: a clock that ticks every 4 µs plus a keyed hash of the flow, so that a flow's numbers rise over its
    /// incarnations while those of other flows say nothing about them.
    pub(super) fn initial(&self, flow: &Flow, now: Instant) -> Seq {
        Seq((self.sequence.hash(&flow.bytes()) as u32).wrapping_add((now.as_nanos() / 4_000) as u32))
    }

    /// Where the ports of a destination begin, which nobody else can foresee; from there on they are taken in turn, so that one
    /// comes back as late as possible (RFC 6056 §3.3.3, algorithm 3). The other end may hold its last user in TIME-WAIT, and a
    /// connection that was short and fast has used more sequence numbers than the clock behind [`Numbers::initial`] has gone on.
    pub(super) fn port_offset(&self, flow: &Flow) -> u32 {
        (self.sequence.hash(&flow.bytes()) >> 32) as u32
    }

    /// The sequence number of a SYN-ACK that stands for the state that is not kept:
    /// 5 bits of time slot, 3 bits of MSS index, 24 bits of keyed hash.
    pub(super) fn cookie(&self, syn: &Segment, now: Instant) -> Seq {
        let slot = now.as_nanos() / SLOT_NANOS;
        let wanted = syn.options.mss.unwrap_or(0);
        let sizes = if syn.flow.local.is_ipv4() { &MSS_V4 } else { &MSS_V6 };
        let index = sizes.iter().rposition(|&mss| mss <= wanted).unwrap_or(0) as u32;
        self.sealed(&syn.flow, syn.seq, slot, index)
    }

    /// The MSS behind a cookie, if `ack` answers one of ours that has not expired.
    pub(super) fn open(&self, ack: &Segment, now: Instant) -> Option<SynOptions> {
        let cookie = ack.ack.minus(1);
        let index = (cookie.0 >> 24) & 7;
        let slot_now = now.as_nanos() / SLOT_NANOS;
        let age = slot_now.wrapping_sub(u64::from(cookie.0 >> 27)) & 31;
        if age > VALID_SLOTS || age > slot_now {
            return None;
        }
        let sizes = if ack.flow.local.is_ipv4() { &MSS_V4 } else { &MSS_V6 };
        (self.sealed(&ack.flow, ack.seq.minus(1), slot_now - age, index) == cookie).then(|| SynOptions {
            mss: Some(sizes[index as usize]),
            shift: None,
            sack: false,
        })
    }

    fn sealed(&self, flow: &Flow, peer_isn: Seq, slot: u64, index: u32) -> Seq {
        let mut bytes = [0; 52];
        bytes[..36].copy_from_slice(&flow.bytes());
        bytes[36..40].copy_from_slice(&peer_isn.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&slot.to_le_bytes());
        bytes[48..].copy_from_slice(&index.to_le_bytes());
        let hash = self.cookies.hash(&bytes) as u32 & 0x00ff_ffff;
        Seq((slot as u32 & 31) << 27 | index << 24 | hash)
    }
}

#[cfg(test)]
mod tests {
    use core::{net::IpAddr, time::Duration};

    use super::*;
    use crate::l4::segment::flag;

    fn numbers() -> Numbers {
        Numbers::new(&Secrets { flows: (1, 2), sequence: (3, 4), cookies: (5, 6) })
    }

    fn syn(port: u16, mss: u16) -> Segment {
        let flow = Flow {
            local: IpAddr::from([10, 0, 0, 1]),
            remote: IpAddr::from([10, 0, 0, 2]),
            local_port: 80,
            remote_port: port,
        };
        let options = SynOptions { mss: Some(mss), shift: Some(7), sack: true };
        Segment { flow, seq: Seq(77), ack: Seq(0), flags: flag::SYN, window: 1, len: 0, tcp_at: 20, options }
    }

    fn answer(syn: &Segment, cookie: Seq) -> Segment {
        Segment { seq: syn.seq.plus(1), ack: cookie.plus(1), flags: flag::ACK, ..*syn }
    }

    #[test]
    fn a_flow_s_numbers_rise_and_others_are_unrelated() {
        let numbers = numbers();
        let start = Instant::from_millis(1_000);
        let one = numbers.initial(&syn(1000, 1460).flow, start);
        let later = numbers.initial(&syn(1000, 1460).flow, start + Duration::from_millis(4));
        assert_eq!(later.since(one), 1000);
        // What nmap's SP measures: the spread of differences between ports, which must look random.
        let mut isns: Vec<u32> = (0..64).map(|p| numbers.initial(&syn(2000 + p, 1460).flow, start).0).collect();
        let differences: Vec<u32> = isns.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
        let gcd = differences.iter().fold(0, |a, &b| {
            let (mut a, mut b) = (a, b);
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        });
        assert_eq!(gcd, 1);
        isns.sort_unstable();
        assert!(isns.windows(2).map(|w| w[1] - w[0]).max() > Some(1 << 26), "bunched: {isns:?}");
    }

    #[test]
    fn a_cookie_opens_for_its_flow_and_its_time_only() {
        let numbers = numbers();
        let sent = Instant::from_millis(64_000 * 40 + 1);
        for (offered, kept) in [(1460, 1460), (1500, 1460), (1459, 1452), (100, 536)] {
            let syn = syn(1000, offered);
            let ack = answer(&syn, numbers.cookie(&syn, sent));
            let options = numbers.open(&ack, sent + Duration::from_secs(63)).expect("own cookie");
            assert_eq!((options.mss, options.shift), (Some(kept), None));
            assert!(numbers.open(&ack, sent + Duration::from_secs(64)).is_some(), "valid in the next slot");
            assert!(numbers.open(&ack, sent + Duration::from_secs(128)).is_none(), "expired");
            assert!(numbers.open(&ack, Instant::from_millis(5)).is_none(), "from the future");
            let other = answer(&self::syn(1001, offered), ack.ack.minus(1));
            assert!(numbers.open(&other, sent).is_none(), "another flow's cookie");
            assert!(numbers.open(&Segment { ack: ack.ack.plus(1), ..ack }, sent).is_none(), "altered");
        }
    }
}
