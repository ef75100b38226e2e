//! A batch's way through the stages, in packet order: the same list for packets that are only moved and for those that somebody
//! watches. A [`Probe`] looks at the batch after each stage; for what nobody watches that is the [`Meter`] alone.

use super::{handover::Links, host::Hosts, meter::Meter, owner, segments};
use crate::{
    batch::{Batch, Egress},
    clock::{Clock, Instant},
    frame::Arena,
    io::Capabilities,
    l2::{self, Turn},
    l3,
    l4::TcpHandle,
    meta::InterfaceId,
    stats::{CoreStats, Stage},
    tables::{Generation, Tables},
    verdict::DropReason,
};

/// Looks at a batch after each stage.
pub(super) trait Probe {
    /// `stage` has handled `packets` packets of `batch`.
    fn after(&mut self, stage: Stage, packets: usize, batch: &Batch);

    /// TCP comes next. Returns whether it does, or has been done.
    #[inline(always)]
    fn segments(&mut self, _: &TcpHandle, _: Instant, _: &Tables, _: &mut Batch) -> bool {
        true
    }
}

impl Probe for Meter {
    #[inline]
    fn after(&mut self, stage: Stage, packets: usize, _: &Batch) {
        self.lap(stage, packets);
    }
}

/// Where a batch comes from, and with that which stages it passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Course {
    /// From a port on a wire: all stages.
    Wire,
    /// From another core.
    Mail,
    /// From this host itself.
    Own,
    /// From this host's kernel, for the link of this interface.
    Kernel(InterfaceId),
}

/// What the stages of one core work with.
pub(super) struct Way<'a> {
    pub(super) generation: &'a Generation,
    pub(super) core: usize,
    pub(super) now: Instant,
    pub(super) clock: &'a Clock,
    pub(super) arena: &'a Arena,
    pub(super) egress: &'a mut Egress,
    pub(super) stats: &'a CoreStats,
    pub(super) link: &'a mut l2::State,
    pub(super) net: &'a mut l3::State,
    pub(super) links: &'a mut Links,
    pub(super) hosts: &'a mut Hosts,
    pub(super) tcp: &'a TcpHandle,
    pub(super) joinery: &'a mut segments::Joinery,
    /// What every port on a wire can do.
    pub(super) capabilities: Capabilities,
}

impl Way<'_> {
    /// Takes a batch along its course, up to the ports.
    #[inline(always)]
    pub(super) fn go<P: Probe>(&mut self, course: Course, batch: &mut Batch, probe: &mut P) {
        match course {
            Course::Wire => {
                self.arrive(batch, probe);
                self.transit(batch, probe);
            }
            Course::Mail => self.mail(batch, probe),
            Course::Own => self.transit(batch, probe),
            Course::Kernel(interface) => {
                let Self { generation, now, arena, egress, stats, link, .. } = self;
                let table = generation.l3.link();
                Hosts::send(table, interface, batch);
                l2::bridge::send(table, link, &mut Turn { now: *now, arena, egress, stats }, batch);
                probe.after(Stage::Host, batch.len(), batch);
            }
        }
    }

    /// From a port up to the routes: is it ours, what does it ask of us.
    #[inline]
    fn arrive<P: Probe>(&mut self, batch: &mut Batch, probe: &mut P) {
        let n = batch.len();
        let Self { generation, now, arena, egress, stats, link, net, links, hosts, .. } = self;
        let table = &*generation.l3;
        let mut turn = Turn { now: *now, arena, egress, stats };
        l2::parse::run(table.link(), stats, batch);
        probe.after(Stage::L2Parse, n, batch);
        if !table.link().bridges().is_empty() {
            l2::bridge::receive(table.link(), link, &mut turn, batch);
            owner::share_stations(links, turn.arena, turn.stats, link);
            probe.after(Stage::Bridge, n, batch);
        }
        hosts.mark(batch);
        owner::share_neighbor_messages(links, stats, batch);
        l2::input::run(table.link(), link, &mut turn, batch);
        probe.after(Stage::L2Input, n, batch);
        let ours = l3::input::run(table, net, &mut turn, batch);
        probe.after(Stage::L3Input, n, batch);
        // A router's batch is mostly in transit from end to end: what is for this host is not looked for where there is nothing.
        if ours {
            hosts.keep(table, batch);
            l3::local::run(table, net, link, &mut turn, batch);
            probe.after(Stage::L3Local, n, batch);
            if owner::hand_over(links, stats, self.core, batch) {
                probe.after(Stage::Handover, n, batch);
            }
        }
        self.deliver(ours, batch, probe);
    }

    /// From route to the Ethernet header: what is forwarded, and what this host sends.
    #[inline]
    fn transit<P: Probe>(&mut self, batch: &mut Batch, probe: &mut P) {
        let n = batch.len();
        let Self { generation, now, arena, egress, stats, link, net, .. } = self;
        let table = &*generation.l3;
        let mut turn = Turn { now: *now, arena, egress, stats };
        if table.has_policies() {
            l3::policy::run(table, stats, batch);
            probe.after(Stage::L3Policy, n, batch);
        }
        l3::route::run(table, net, &mut turn, batch);
        probe.after(Stage::L3Route, n, batch);
        l3::forward::run(table, net, &mut turn, batch);
        if table.limits_segments() {
            l3::clamp::run(table, batch);
        }
        probe.after(Stage::L3Forward, n, batch);
        if l2::output::run(table.link(), link, &mut turn, batch) {
            l3::route::refuse_own(table, net, &mut turn, batch);
        }
        probe.after(Stage::L2Output, n, batch);
        if !table.link().bridges().is_empty() {
            l2::bridge::send(table.link(), link, &mut turn, batch);
            probe.after(Stage::Bridge, n, batch);
        }
    }

    /// From another core: neighbour messages are learnt, segments go to TCP.
    #[inline]
    fn mail<P: Probe>(&mut self, batch: &mut Batch, probe: &mut P) {
        let Self { generation, now, arena, egress, stats, link, net, .. } = self;
        let table = &*generation.l3;
        owner::receive(table, net, link, &mut Turn { now: *now, arena, egress, stats }, batch);
        self.deliver(true, batch, probe);
    }

    /// What is for this host: segments go to TCP if there may be `any`, and what nobody here serves to the kernel.
    #[inline(always)]
    fn deliver<P: Probe>(&mut self, any: bool, batch: &mut Batch, probe: &mut P) {
        let Self { generation, now, arena, egress, stats, hosts, joinery, .. } = self;
        if any {
            let mut segments = 0;
            if probe.segments(self.tcp, *now, generation, batch) {
                let mut sink = segments::Sink::new(arena, egress, &mut joinery.scratch, self.capabilities);
                segments = segments::input(self.tcp, *now, generation, batch, &mut joinery.joint, &mut sink);
                stats.drops(DropReason::NoFrame).add(sink.lost());
            }
            probe.after(Stage::Tcp, segments, batch);
        }
        let claimed = hosts.claim(generation.l3.link(), *now, batch);
        if claimed > 0 {
            probe.after(Stage::Host, claimed, batch);
        }
    }
}
