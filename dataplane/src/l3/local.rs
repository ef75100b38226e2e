//! What is for this host and not TCP: ICMP, neighbour discovery, and the refusal of what nobody serves.
//!
//! TCP segments, and ICMP errors about our TCP flows (see [`icmp::quoted_flow`]), stay `Deliver` for `l4`.

use super::{
    State, Table, extension,
    icmp::{self, Unreachable},
    icmp4, icmp6, join,
};
use crate::{
    batch::Batch,
    frame::Frame,
    l2::{self, Turn},
    meta::{Flags, Meta, Network, VrfId},
    verdict::{DropReason, Verdict},
};

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
/// "No next header" (RFC 8200 §4.7): there is nothing to deliver.
const NOTHING: u8 = 59;

/// Handles every packet for this host that is not TCP.
#[inline]
pub fn run(table: &Table, state: &mut State, link: &mut l2::State, turn: &mut Turn<'_>, batch: &mut Batch) {
    join::run(table, state, turn, batch);
    batch.each(Verdict::Deliver, |frame, meta| {
        if meta.protocol == TCP
            && !meta.flags.intersects(Flags::FRAGMENT | Flags::LINK_BROADCAST | Flags::LINK_MULTICAST | Flags::ANYCAST)
            // Listeners and connections are in the main domain: an address of another is not theirs, though it may be the same.
            && meta.vrf == VrfId::MAIN
        {
            return Verdict::Deliver;
        }
        deliver(table, state, link, turn, frame, meta)
    });
}

fn deliver(
    table: &Table,
    state: &mut State,
    link: &mut l2::State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
) -> Verdict {
    if meta.flags.contains(Flags::FRAGMENT) {
        return Verdict::Drop(DropReason::FragmentForHost);
    }
    match (meta.network, meta.protocol) {
        (Network::Ipv4, ICMP) => icmp4::receive(table, state, turn, frame, meta),
        (Network::Ipv6, icmp6::PROTOCOL) => icmp6::receive(table, state, link, turn, frame, meta),
        (Network::Ipv6, NOTHING) => Verdict::Consumed,
        // The kernel may serve it, and refuses it otherwise.
        _ if meta.flags.contains(Flags::HOST_PATH) => Verdict::Drop(DropReason::NoListener),
        // TCP to a group is passed over in silence (RFC 1122 §4.2.3.10), and so is one to an anycast address: the next segment
        // may reach another router.
        (_, TCP) => Verdict::Drop(DropReason::NoListener),
        (_, UDP) => {
            icmp::unreachable(table, state, turn, frame, meta, Unreachable::Port);
            Verdict::Drop(DropReason::NoListener)
        }
        (Network::Ipv6, _) => {
            // RFC 8200 §4: an unknown next header is a parameter problem, code 1, that points at the field which names it.
            if let Ok(pointer) = extension::walk(frame, &mut Meta { ..*meta }) {
                let fault = extension::Fault::Problem { code: 1, pointer, even_to_groups: false };
                icmp::parameter_problem(table, state, turn, frame, meta, fault);
            }
            Verdict::Drop(DropReason::NoListener)
        }
        _ => {
            icmp::unreachable(table, state, turn, frame, meta, Unreachable::Protocol);
            Verdict::Drop(DropReason::NoListener)
        }
    }
}
