//! From a record to an established smoltcp socket.
//!
//! smoltcp can only reach ESTABLISHED by its own handshake, so the handshake is played to it: a fresh socket listens, receives
//! a SYN made up from the record, answers (nobody hears it), and receives the ACK. Its initial sequence number is drawn
//! from its generator, a linear congruential step with an output permutation; both can be run backwards, so the seed is chosen
//! such that the number drawn is the one needed. The time between the played SYN and ACK is the measured round trip, so that the socket's
//! timer, which only probes closed windows here, knows it. Congestion control is not the socket's either: it is told windows that end
//! where [`congestion`](super::congestion) says.

use core::time::Duration;

use smoltcp::{
    iface::{Config, Interface, SocketSet},
    socket::tcp,
    time::Instant as SocketInstant,
    wire::HardwareAddress,
};

use crate::clock::Instant;

use super::{
    flow::Flow,
    live::Live,
    options::TcpOptions,
    record::Record,
    segment::{Header, MAX_CONTROL, SynOptions, flag},
    seq::Seq,
    wire::{CLOCK_SCALE, Discard, Track, Wire, capabilities, socket_time},
};

/// Round-trip time assumed while none was measured.
const DEFAULT_RTT: Duration = Duration::from_millis(20);
/// Longest delay of an acknowledgement of less than two segments. RFC 1122 §4.2.3.2 allows 500 ms; a proxy should not add latency.
const ACK_DELAY: Duration = Duration::from_millis(20);

/// That time on smoltcp's clock.
pub(super) const fn ack_delay() -> smoltcp::time::Duration {
    smoltcp::time::Duration::from_micros(ACK_DELAY.as_micros() as u64 * CLOCK_SCALE)
}

/// Makes an interface that accepts packets for any address. Connections share it: it holds no state of theirs. Super-segments of up
/// to `super_segment` octets leave through it, if that is not 0.
pub(super) fn interface(mtu: usize, super_segment: usize, seed: u64) -> Interface {
    struct Shape(usize, usize);
    impl smoltcp::phy::Device for Shape {
        type RxToken<'t> = super::wire::Arrived<'t>;
        type TxToken<'t> = super::wire::Lent<'t, Discard>;
        fn receive(&mut self, _: SocketInstant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
            None
        }
        fn transmit(&mut self, _: SocketInstant) -> Option<Self::TxToken<'_>> {
            None
        }
        fn capabilities(&self) -> smoltcp::phy::DeviceCapabilities {
            capabilities(self.0, self.1)
        }
    }
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut Shape(mtu, super_segment), SocketInstant::ZERO);
    interface.set_any_ip(true);
    interface
}

/// Takes `live`, whose socket is closed, to ESTABLISHED as `record` says.
pub(super) fn hydrate(live: &mut Live, flow: Flow, record: Record, options: &TcpOptions, now: Instant) {
    let isn = record.snd_nxt.minus(1);
    live.restart(record, options.congestion, now);
    set_up(live.socket(), flow);
    let (told, shift) = (live.told, record.peer_shift.map(|_| live.told_shift()));
    let mut play = Play {
        interface: interface(usize::from(options.mtu), 0, seed_for(isn)),
        discard: Discard([0; 128]),
        track: live.track,
        sockets: &mut live.sockets,
        mtu: usize::from(options.mtu),
    };
    // The peer's segments run from its side to ours.
    let from =
        Flow { local: flow.remote, remote: flow.local, local_port: flow.remote_port, remote_port: flow.local_port };
    let rtt = if record.rtt_us == 0 { DEFAULT_RTT } else { Duration::from_micros(u64::from(record.rtt_us)) };
    let start = socket_time(now);
    let started = start - smoltcp::time::Duration::from_micros(rtt.as_micros() as u64 * CLOCK_SCALE);
    let options = SynOptions { mss: Some(record.mss), shift, sack: record.sack };
    let blank = Header::ack(from, record.rcv_nxt, isn.plus(1), u16::MAX);
    play.arrive(started, &Header { seq: record.rcv_nxt.minus(1), ack: None, flags: flag::SYN, options, ..blank });
    play.answer(started);
    let current = Header { window: told, ..blank };
    play.arrive(start, &current);
    // An octet from before the window makes the socket restate its window in scale; the window of its SYN-ACK was not, and it
    // would believe to have offered more than its buffer holds.
    play.arrive(start, &Header { seq: record.rcv_nxt.minus(1), garbage: true, ..current });
    debug_assert_eq!(live.socket().state(), tcp::State::Established);
    debug_assert_eq!(live.socket().send_queue(), 0);
}

fn set_up(socket: &mut tcp::Socket<'static>, flow: Flow) {
    socket.abort();
    socket.set_congestion_control(tcp::CongestionControl::None);
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(Some(ack_delay()));
    let listening = socket.listen(flow.local_port);
    debug_assert_eq!(listening, Ok(()), "an aborted socket can listen, and ports are not 0");
}

/// A stage on which the peer's part is read to a socket.
struct Play<'a> {
    interface: Interface,
    discard: Discard,
    track: Track,
    sockets: &'a mut SocketSet<'static>,
    mtu: usize,
}

impl Play<'_> {
    fn arrive(&mut self, at: SocketInstant, header: &Header) {
        let mut packet = [0; MAX_CONTROL];
        let packet = &mut packet[..header.len()];
        header.write(packet, false);
        let mut wire = Wire { packet: Some(packet), sink: &mut self.discard, track: &mut self.track, mtu: self.mtu };
        self.interface.poll_ingress_single(at, &mut wire, self.sockets);
    }

    fn answer(&mut self, at: SocketInstant) {
        let mut wire = Wire { packet: None, sink: &mut self.discard, track: &mut self.track, mtu: self.mtu };
        self.interface.poll_egress(at, &mut wire, self.sockets);
    }
}

/// Multiplier and increment of smoltcp's generator (`smoltcp/src/rand.rs`).
const MULTIPLIER: u64 = 0xbb2e_fcec_3c39_611d;
const INCREMENT: u64 = 0x7590_ef39;
/// Inverse of [`MULTIPLIER`] modulo 2^64, by Newton's iteration.
const INVERSE: u64 = {
    let mut inverse: u64 = 1;
    let mut round = 0;
    while round < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(MULTIPLIER.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
};

const fn step_back(state: u64) -> u64 {
    state.wrapping_sub(INCREMENT).wrapping_mul(INVERSE)
}

const fn output(state: u64) -> u32 {
    (state >> (29 - (state >> 61))) as u32
}

/// The seed with which an interface hands out `isn` as its first sequence number. An interface draws once when it is made
/// (an IPv4 identification, drawn again while it is 0), then once per handshake.
fn seed_for(isn: Seq) -> u64 {
    // With the three high bits 0 the output is bits 29 to 60 of the state; the low bits are free.
    let mut state = u64::from(isn.0) << 29;
    loop {
        let before = step_back(state);
        let drawn = output(before);
        if (drawn ^ (drawn >> 16)) as u16 != 0 {
            return step_back(before);
        }
        state += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_is_one() {
        assert_eq!(MULTIPLIER.wrapping_mul(INVERSE), 1);
    }
}
