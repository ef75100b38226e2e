//! Carrying out what the management thread asks, between two turns.

use super::{
    Worker, watched,
    way::{Course, Way},
};
use crate::{
    batch::Egress,
    clock::Instant,
    l7::app::App,
    meta::{Flags, Meta},
    see::order::{Letter, Order, Rehearsal},
    tables::Generation,
};

/// Orders per turn: bounds its length.
const PER_TURN: usize = 4;
/// Packets that are made, and not sent, on behalf of one that does not exist.
const REHEARSED: usize = 64;

impl<A: App> Worker<A> {
    /// Carries out orders, if there are any. Returns how many.
    #[inline]
    pub(super) fn orders(&mut self, generation: &Generation, now: Instant) -> usize {
        let mut done = 0;
        while done < PER_TURN {
            let order = self.links.borrow_mut().order();
            let Some(mut letter) = order else { break };
            self.carry_out(&mut letter, generation, now);
            self.links.borrow_mut().answer(letter);
            done += 1;
        }
        done
    }

    #[cold]
    fn carry_out(&mut self, letter: &mut Letter, generation: &Generation, now: Instant) {
        match &mut letter.order {
            Order::Neighbors(census) => census.next = self.link.copy_neighbors(census.from, &mut census.found),
            Order::Rehearse(rehearsal) => self.rehearse(rehearsal, generation, now),
            Order::Hang(watch) => {
                *watch = watch.take().and_then(|watch| self.watches.hang(letter.number, watch).err());
            }
            Order::TakeDown(number, watch) => *watch = self.watches.take_down(*number),
        }
    }

    /// On copies: nothing of this core's is written to but free frames, and they come back.
    fn rehearse(&mut self, rehearsal: &mut Rehearsal, generation: &Generation, now: Instant) {
        let (mut link, mut net, mut hosts) = (self.link.rehearsal(), self.net.rehearsal(), self.hosts.clone());
        let Rehearsal { packet, port, handed, record, stats, links } = rehearsal;
        let mut egress = Egress::new(REHEARSED);
        let mut way = Way {
            generation,
            core: self.host.core,
            now,
            clock: &self.clock,
            arena: &self.arena,
            egress: &mut egress,
            stats,
            link: &mut link,
            net: &mut net,
            links,
            hosts: &mut hosts,
            tcp: &self.host.tcp,
            joinery: &mut self.joinery,
            capabilities: self.ports.common_capabilities(),
        };
        let meta = Meta { port: *port, ..Meta::default() };
        let (course, meta) = match handed {
            Some(meta) => (Course::Mail, Meta { flags: meta.flags | Flags::HANDED_OVER, ..*meta }),
            None => (Course::Wire, meta),
        };
        watched::rehearse(&mut way, packet, course, meta, record);
    }
}
