//! Hierarchical timer wheel: insert, cancel and fire in constant time, a hundred thousand timers per core.
//!
//! A timer lies at the level of the highest 6-bit digit in which its tick differs from the current one, in the slot that
//! this digit names. So everything in a lower level is due before anything in a higher one, slots never wrap round, and the
//! next event is the lowest set bit of the lowest non-empty level. Eight levels of 64 slots cover all of `u64` nanoseconds,
//! hence there is no horizon to clamp to. A timer is moved at most once per level on its way down.

use crate::clock::Instant;

/// log2 of the tick in nanoseconds: 2^18 ns = 262 µs, a power of two so that a tick is a shift.
const TICK_SHIFT: u32 = 18;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// 46 bits of ticks in digits of 6.
const LEVELS: usize = (64 - TICK_SHIFT).div_ceil(DIGIT_BITS) as usize;
/// The slot of timers that were already due when they were inserted or cascaded.
const DUE: u16 = (LEVELS * SLOTS) as u16;
/// The slot of a node on the free list.
const FREE: u16 = u16::MAX;
const NIL: u32 = u32::MAX;

/// Longest time by which a timer fires after its deadline when `advance` is called often enough, in nanoseconds.
pub const RESOLUTION_NANOS: u64 = 1 << TICK_SHIFT;

/// Names one timer. Stale names (fired, cancelled) are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

/// Timers of one core, each carrying a `T`.
#[derive(Debug)]
pub struct Wheel<T> {
    /// All ticks up to and including this one have been processed.
    tick: u64,
    nodes: Vec<Node<T>>,
    free: u32,
    live: usize,
    /// First node of each slot's circular list, or `NIL`; the last entry is the due list.
    heads: [u32; LEVELS * SLOTS + 1],
    /// Bit per non-empty slot.
    occupied: [u64; LEVELS],
}

#[derive(Debug)]
struct Node<T> {
    /// First tick at which the deadline has passed.
    tick: u64,
    prev: u32,
    next: u32,
    generation: u32,
    slot: u16,
    item: Option<T>,
}

impl<T> Wheel<T> {
    /// An empty wheel whose time is `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            tick: now.as_nanos() >> TICK_SHIFT,
            nodes: Vec::new(),
            free: NIL,
            live: 0,
            heads: [NIL; LEVELS * SLOTS + 1],
            occupied: [0; LEVELS],
        }
    }

    /// Timers that have neither fired nor been cancelled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether no timer is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Sets a timer that fires in the first `advance` at least one resolution after `at`, never before `at`. A deadline
    /// that has already passed fires in the next `advance`.
    ///
    /// # Panics
    /// With 2^32 - 1 live timers, which no core has the memory for.
    pub fn insert(&mut self, at: Instant, item: T) -> TimerId {
        let tick = at.as_nanos().div_ceil(1 << TICK_SHIFT);
        let index = self.allocate(tick, item);
        self.link(index);
        self.live += 1;
        TimerId { index, generation: self.nodes[index as usize].generation }
    }

    /// Removes a timer and gives its item back; `None` if it has fired or was cancelled.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.node(id)?;
        self.unlink(id.index);
        self.release(id.index)
    }

    /// The item of a live timer, to change it in place.
    pub fn item_mut(&mut self, id: TimerId) -> Option<&mut T> {
        self.node(id)?;
        self.nodes[id.index as usize].item.as_mut()
    }

    /// Moves time to `now` and hands every timer that is due to `fire`, in order of their ticks. A `now` in the past fires
    /// only what was already due.
    pub fn advance(&mut self, now: Instant, mut fire: impl FnMut(T)) {
        let target = (now.as_nanos() >> TICK_SHIFT).max(self.tick);
        loop {
            while let Some(item) = self.pop(DUE) {
                fire(item);
            }
            match self.next_event() {
                Some((tick, slot)) if tick <= target => {
                    self.tick = tick;
                    self.cascade(slot);
                }
                _ => break,
            }
        }
        self.tick = target;
    }

    /// When `advance` next has something to do: never after the earliest timer can fire, but before it while that lies
    /// far ahead. Always later than the last `advance` unless a timer is already due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.heads[usize::from(DUE)] != NIL {
            return Some(Instant::from_nanos(self.tick << TICK_SHIFT));
        }
        self.next_event().map(|(tick, _)| Instant::from_nanos(tick.saturating_mul(1 << TICK_SHIFT)))
    }

    /// Start tick and index of the first non-empty slot.
    fn next_event(&self) -> Option<(u64, u16)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let digit = u64::from(self.occupied[level].trailing_zeros());
        let shift = level as u32 * DIGIT_BITS;
        let above = self.tick >> shift >> DIGIT_BITS << DIGIT_BITS;
        Some(((above | digit) << shift, (level * SLOTS) as u16 + digit as u16))
    }

    /// Distributes the timers of a slot that starts at the current tick over the levels below and the due list.
    fn cascade(&mut self, slot: u16) {
        let first = self.heads[usize::from(slot)];
        self.clear(slot);
        let mut index = first;
        loop {
            let next = self.nodes[index as usize].next;
            self.link(index);
            if next == first {
                return;
            }
            index = next;
        }
    }

    fn pop(&mut self, slot: u16) -> Option<T> {
        let index = self.heads[usize::from(slot)];
        if index == NIL {
            return None;
        }
        self.unlink(index);
        self.release(index)
    }

    /// Appends a node to the slot of its tick, relative to the current one.
    fn link(&mut self, index: u32) {
        let slot = self.slot_of(self.nodes[index as usize].tick);
        let head = self.heads[usize::from(slot)];
        let prev = if head == NIL {
            self.heads[usize::from(slot)] = index;
            if slot != DUE {
                self.occupied[usize::from(slot) / SLOTS] |= 1 << (usize::from(slot) % SLOTS);
            }
            index
        } else {
            let last = self.nodes[head as usize].prev;
            self.nodes[last as usize].next = index;
            self.nodes[head as usize].prev = index;
            last
        };
        let node = &mut self.nodes[index as usize];
        node.slot = slot;
        node.prev = prev;
        node.next = if head == NIL { index } else { head };
    }

    fn unlink(&mut self, index: u32) {
        let Node { prev, next, slot, .. } = self.nodes[index as usize];
        if next == index {
            self.clear(slot);
            return;
        }
        self.nodes[prev as usize].next = next;
        self.nodes[next as usize].prev = prev;
        if self.heads[usize::from(slot)] == index {
            self.heads[usize::from(slot)] = next;
        }
    }

    fn clear(&mut self, slot: u16) {
        self.heads[usize::from(slot)] = NIL;
        if slot != DUE {
            self.occupied[usize::from(slot) / SLOTS] &= !(1 << (usize::from(slot) % SLOTS));
        }
    }

    fn slot_of(&self, tick: u64) -> u16 {
        if tick <= self.tick {
            return DUE;
        }
        let level = (tick ^ self.tick).ilog2() / DIGIT_BITS;
        let digit = (tick >> (level * DIGIT_BITS)) as usize % SLOTS;
        (level as usize * SLOTS + digit) as u16
    }

    fn node(&self, id: TimerId) -> Option<&Node<T>> {
        self.nodes.get(id.index as usize).filter(|node| node.generation == id.generation && node.slot != FREE)
    }

    fn allocate(&mut self, tick: u64, item: T) -> u32 {
        if self.free == NIL {
            let index =
                u32::try_from(self.nodes.len()).ok().filter(|&index| index != NIL).expect("fewer than 2^32 timers");
            self.nodes.push(Node { tick, prev: NIL, next: NIL, generation: 0, slot: FREE, item: Some(item) });
            return index;
        }
        let index = self.free;
        let node = &mut self.nodes[index as usize];
        self.free = node.next;
        node.tick = tick;
        node.item = Some(item);
        index
    }

    /// Puts an unlinked node on the free list.
    fn release(&mut self, index: u32) -> Option<T> {
        self.live -= 1;
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.slot = FREE;
        node.next = self.free;
        self.free = index;
        node.item.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const MS: u64 = 1_000_000;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Cancel(usize),
        Advance(u64),
        JumpToDeadline,
    }

    fn delay() -> impl Strategy<Value = u64> {
        // From "already past" through every level up to the end of time.
        prop_oneof![
            2 => Just(0),
            6 => 0..20 * MS,
            6 => 0..3_000 * MS,
            3 => 0..4_000_000 * MS,
            1 => any::<u64>(),
            1 => Just(u64::MAX),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => delay().prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::Cancel),
            3 => (0..500 * MS).prop_map(Step::Advance),
            1 => (0..5_000_000 * MS).prop_map(Step::Advance),
            2 => Just(Step::JumpToDeadline),
        ]
    }

    struct Model {
        wheel: Wheel<u32>,
        now: u64,
        /// item -> (deadline, id)
        oracle: BTreeMap<u32, (u64, TimerId)>,
        gone: Vec<TimerId>,
        inserted: u32,
    }

    impl Model {
        fn new(now: u64) -> Self {
            let wheel = Wheel::new(Instant::from_nanos(now));
            Self { wheel, now, oracle: BTreeMap::new(), gone: Vec::new(), inserted: 0 }
        }

        fn insert(&mut self, at: u64) {
            let id = self.wheel.insert(Instant::from_nanos(at), self.inserted);
            self.oracle.insert(self.inserted, (at, id));
            self.inserted += 1;
        }

        fn advance(&mut self, to: u64) {
            self.now = self.now.max(to);
            let (oracle, gone) = (&mut self.oracle, &mut self.gone);
            let now = self.now;
            let mut last = 0;
            self.wheel.advance(Instant::from_nanos(now), |item| {
                let (at, id) = oracle.remove(&item).expect("fires once");
                assert!(at <= now, "fired {} ns early", at - now);
                let tick = at.div_ceil(RESOLUTION_NANOS);
                assert!(tick >= last, "out of order");
                last = tick;
                gone.push(id);
            });
            for (at, _) in self.oracle.values() {
                assert!(
                    u128::from(*at) + u128::from(RESOLUTION_NANOS) > u128::from(now),
                    "late: due at {at}, now {now}"
                );
            }
        }

        fn check(&self) {
            assert_eq!(self.wheel.len(), self.oracle.len());
            let next = self.wheel.next_deadline().map(Instant::as_nanos);
            let earliest = self.oracle.values().map(|(at, _)| *at).min();
            assert_eq!(next.is_some(), earliest.is_some());
            if let (Some(next), Some(earliest)) = (next, earliest) {
                // The tick in which the earliest timer fires is the latest acceptable answer.
                let tick = earliest.div_ceil(RESOLUTION_NANOS).saturating_mul(RESOLUTION_NANOS);
                assert!(next <= tick.max(self.now), "next_deadline {next} is after {tick}");
            }
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(start in 0..u64::MAX / 2, steps in prop::collection::vec(step(), 1..200)) {
            let mut model = Model::new(start);
            for step in steps {
                match step {
                    Step::Insert(delay) => model.insert(model.now.saturating_add(delay)),
                    Step::Cancel(nth) if !model.oracle.is_empty() => {
                        let item = *model.oracle.keys().nth(nth % model.oracle.len()).expect("in range");
                        let (_, id) = model.oracle.remove(&item).expect("listed");
                        assert_eq!(model.wheel.item_mut(id).copied(), Some(item));
                        assert_eq!(model.wheel.cancel(id), Some(item));
                        model.gone.push(id);
                    }
                    Step::Cancel(_) => {}
                    Step::Advance(by) => model.advance(model.now.saturating_add(by)),
                    Step::JumpToDeadline => {
                        if let Some(at) = model.wheel.next_deadline() {
                            model.advance(at.as_nanos());
                        }
                    }
                }
                model.check();
            }
            for id in &model.gone {
                prop_assert_eq!(model.wheel.cancel(*id), None);
            }
        }

        #[test]
        fn following_next_deadline_fires_everything_on_time(delays in prop::collection::vec(0..4_000_000 * MS, 1..60)) {
            let mut model = Model::new(12_345);
            delays.iter().for_each(|delay| model.insert(12_345 + delay));
            let mut hops = 0;
            while let Some(at) = model.wheel.next_deadline() {
                assert!(at.as_nanos() > model.now || hops == 0, "no progress");
                model.advance(at.as_nanos());
                hops += 1;
            }
            assert!(model.oracle.is_empty());
            assert!(hops <= delays.len() * LEVELS + 1);
        }
    }

    #[test]
    fn a_past_deadline_fires_in_the_next_advance_even_without_progress() {
        let now = Instant::from_nanos(5_000 * MS);
        let mut wheel = Wheel::new(now);
        wheel.insert(Instant::ZERO, 'a');
        assert!(wheel.next_deadline().expect("set") <= now);
        let mut fired = Vec::new();
        wheel.advance(now, |item| fired.push(item));
        assert_eq!(fired, ['a']);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn nodes_are_reused_and_old_names_do_not_reach_the_new_timer() {
        let mut wheel = Wheel::new(Instant::ZERO);
        let old = wheel.insert(Instant::from_nanos(MS), 1);
        assert_eq!(wheel.cancel(old), Some(1));
        let new = wheel.insert(Instant::from_nanos(MS), 2);
        assert_eq!(wheel.nodes.len(), 1);
        assert_eq!(wheel.cancel(old), None);
        assert_eq!(wheel.cancel(new), Some(2));
    }

    #[test]
    fn a_timer_stays_small() {
        assert!(size_of::<Node<u32>>() <= 32);
    }
}
