//! The records and leaves of the IPv6 trie in memory: made, copied, and given back when no version has them.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;

use super::{
    fib6::{Entry6, RECORD, Record, STRIDE, Words, decode, encode},
    pool::{Held, Pool, Versions},
    rib6::value_at,
};
use crate::io::heap::Cells;

/// Leaves of the smallest place: a few cost no more than one.
const LEAVES: u32 = 4;
/// Least room for records; what is not used costs nothing.
const ROOM: usize = 64 << 10;

/// Hop of each value of a branch, and the record of those that lead further.
pub(super) type Values = ([u32; 64], Box<[Option<Record>; 64]>);

/// The records being written and those that published versions have.
#[derive(Debug)]
pub(super) struct Records {
    records: Cells<Words>,
    leaves: Cells<AtomicU32>,
    record_places: Pool,
    leaf_places: Pool,
    pub(super) versions: Versions,
}

impl Records {
    /// Room for what so many prefixes need, several times.
    pub(super) fn new(prefixes: usize) -> Self {
        let room = ROOM + 4 * prefixes;
        Self {
            records: Cells::zeros(room),
            leaves: Cells::zeros(room * LEAVES as usize),
            record_places: Pool::new(room),
            leaf_places: Pool::new(room),
            versions: Versions::new(),
        }
    }

    pub(super) fn records(&self) -> &Cells<Words> {
        &self.records
    }

    pub(super) fn leaves(&self) -> &Cells<AtomicU32> {
        &self.leaves
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.record_places.used() * size_of::<Words>() + self.leaf_places.used() * LEAVES as usize * size_of::<u32>()
    }

    /// See [`Versions::publish`]; takes back what only forgotten versions had.
    pub(super) fn publish(&mut self) -> Arc<Held> {
        let held = self.versions.publish();
        self.versions.forget();
        self.record_places.reclaim(&self.versions);
        self.leaf_places.reclaim(&self.versions);
        held
    }

    /// The record that an entry names.
    pub(super) fn read(&self, entry: u32) -> Record {
        decode(&self.records[(entry & !RECORD) as usize])
    }

    /// Puts a record into a place of its own; the entry that names it. `None` when there is no room.
    pub(super) fn place(&mut self, record: Record) -> Option<u32> {
        let at = self.record_places.take(1, &self.versions)?;
        encode(record, &self.records[at as usize]);
        Some(RECORD | at)
    }

    /// Puts a record in the place of the one that `entry` names, or into another if a version has that.
    pub(super) fn replace(&mut self, entry: u32, record: Record) -> Option<u32> {
        let at = entry & !RECORD;
        if self.record_places.is_new(at, &self.versions) {
            encode(record, &self.records[at as usize]);
            return Some(entry);
        }
        self.record_places.retire(at, 1, &self.versions);
        self.place(record)
    }

    /// The branch with another record as its child in a place.
    pub(super) fn with_child(&mut self, branch: Record, place: u32, child: Record) -> Option<Record> {
        let Record::Branch { children, runs, first_child, first_leaf, depth } = branch else { return Some(branch) };
        let mut to = first_child;
        if !self.record_places.is_new(first_child, &self.versions) {
            let count = children.count_ones();
            to = self.record_places.take(count, &self.versions)?;
            for at in 0..count {
                encode(self.read(first_child + at), &self.records[(to + at) as usize]);
            }
            self.record_places.retire(first_child, count, &self.versions);
        }
        encode(child, &self.records[(to + place) as usize]);
        Some(Record::Branch { children, runs, first_child: to, first_leaf, depth })
    }

    /// What a branch says for each value; it is retired, its children are not.
    pub(super) fn open(&mut self, branch: Record) -> Values {
        let (mut leaves, mut records) = ([0; 64], Box::new([None; 64]));
        let Record::Branch { children, runs, first_child, first_leaf, .. } = branch else { return (leaves, records) };
        let (mut leaf, mut child) = (first_leaf, first_child);
        let mut hop = 0;
        for value in 0..64 {
            if children >> value & 1 == 1 {
                records[value] = Some(self.read(child));
                child += 1;
                continue;
            }
            if runs >> value & 1 == 1 {
                hop = self.leaves[leaf as usize].load(Relaxed);
                leaf += 1;
            }
            leaves[value] = hop;
        }
        self.retire_branch(branch);
        (leaves, records)
    }

    /// A branch that says this. The leaf of a value that has a child does not count.
    pub(super) fn branch(&mut self, values: &[u32; 64], below: &[Option<Record>; 64], depth: u8) -> Option<Record> {
        let (mut children, mut runs, mut leaves, mut last) = (0u64, 0u64, [0; 64], None);
        for (value, leaf) in values.iter().enumerate() {
            if below[value].is_some() {
                children |= 1 << value;
            } else if last != Some(*leaf) {
                leaves[runs.count_ones() as usize] = *leaf;
                runs |= 1 << value;
                last = Some(*leaf);
            }
        }
        let first_leaf = match runs.count_ones() {
            0 => 0,
            count => {
                let at = self.leaf_places.take(count.div_ceil(LEAVES), &self.versions)? * LEAVES;
                for (cell, leaf) in self.leaves[at as usize..].iter().zip(&leaves[..count as usize]) {
                    cell.store(*leaf, Relaxed);
                }
                at
            }
        };
        let first_child = match children.count_ones() {
            0 => 0,
            count => {
                let at = self.record_places.take(count, &self.versions)?;
                for (words, record) in self.records[at as usize..].iter().zip(below.iter().flatten()) {
                    encode(*record, words);
                }
                at
            }
        };
        Some(Record::Branch { children, runs, first_child, first_leaf, depth })
    }

    /// The record for prefixes that are longer than `depth` and equal up to there: sorted, at least one. Where none of them applies,
    /// `inherited` does.
    pub(super) fn of(&mut self, group: &[Entry6], depth: u32, inherited: u32) -> Option<Record> {
        let ((first, hop), last) = (group.first()?, group.last()?);
        let prefix = first.addr().to_bits();
        // They are sorted: what the first and the last have in common, all have.
        let common = (prefix ^ last.0.addr().to_bits()).leading_zeros().min(u32::from(first.prefix_len()));
        let shortest = group.iter().map(|(net, _)| u32::from(net.prefix_len())).min().unwrap_or(128);
        let common = common.min(shortest);
        if group.len() > 1 && common < depth + STRIDE {
            return self.branch_of(group, depth, inherited);
        }
        let own = if u32::from(first.prefix_len()) == common { *hop } else { inherited };
        let longer = group.partition_point(|(net, _)| u32::from(net.prefix_len()) <= common);
        let within = if longer < group.len() {
            let below = self.of(&group[longer..], common, own)?;
            self.place(below)?
        } else {
            own
        };
        Some(Record::Shared { prefix, len: common as u8, within, beside: inherited })
    }

    fn branch_of(&mut self, group: &[Entry6], depth: u32, inherited: u32) -> Option<Record> {
        let (mut values, mut below) = ([inherited; 64], Box::new([None; 64]));
        let end = depth + STRIDE;
        for (net, hop) in group.iter().filter(|(net, _)| u32::from(net.prefix_len()) <= end) {
            let value = value_at(*net, depth);
            values[value..value + (1 << (end - u32::from(net.prefix_len())))].fill(*hop);
        }
        for part in group.chunk_by(|(a, _), (b, _)| value_at(*a, depth) == value_at(*b, depth)) {
            // Sorted by length where they begin alike: the short ones are first.
            let longer = part.partition_point(|(net, _)| u32::from(net.prefix_len()) <= end);
            if let Some((first, _)) = part.get(longer) {
                let value = value_at(*first, depth);
                below[value] = Some(self.of(&part[longer..], end, values[value])?);
            }
        }
        self.branch(&values, &below, depth as u8)
    }

    /// The record that an entry names, if it does, and all below are no longer in use.
    pub(super) fn free(&mut self, entry: u32) {
        if entry & RECORD != 0 {
            self.free_below(self.read(entry));
            self.record_places.retire(entry & !RECORD, 1, &self.versions);
        }
    }

    /// What a record leads to is no longer in use.
    pub(super) fn free_below(&mut self, record: Record) {
        match record {
            Record::Shared { within, .. } => self.free(within),
            Record::Branch { children, first_child, .. } => {
                for at in 0..children.count_ones() {
                    self.free_below(self.read(first_child + at));
                }
                self.retire_branch(record);
            }
        }
    }

    fn retire_branch(&mut self, branch: Record) {
        let Record::Branch { children, runs, first_child, first_leaf, .. } = branch else { return };
        if children != 0 {
            self.record_places.retire(first_child, children.count_ones(), &self.versions);
        }
        if runs != 0 {
            self.leaf_places.retire(first_leaf / LEAVES, runs.count_ones().div_ceil(LEAVES), &self.versions);
        }
    }
}
