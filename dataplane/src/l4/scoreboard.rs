//! What the peer has of the octets under way, and what has to be sent again (RFC 6675, and RFC 8985 for what is lost twice).

use core::time::Duration;

use crate::clock::Instant;

use super::seq::Seq;

/// Blocks remembered, and ranges sent again. Of a peer that tells of more the farthest are forgotten, and sent again if it comes to that.
const REMEMBERED: usize = 32;

/// Octets from the first point to before the second.
pub(super) type Block = (Seq, Seq);

/// A range that was sent again and is not known to have arrived.
#[derive(Clone, Copy, Default, Debug)]
struct Resend {
    block: Block,
    /// The highest point sent until then: what lies beyond was sent later.
    mark: Seq,
    at: Instant,
    /// Something that was sent later has arrived.
    overtaken: bool,
}

/// The octets from the first unacknowledged one, which callers know and call `una`.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Scoreboard {
    /// What the peer has beyond `una`: in order, apart from each other.
    held: [Block; REMEMBERED],
    held_count: u8,
    /// In the order in which they were sent.
    resends: [Resend; REMEMBERED],
    resend_count: u8,
    /// Whatever the peer does not have before it is lost.
    lost: Option<Seq>,
    /// Segments that have arrived without the peer saying which: it acknowledged the same again.
    anonymous: u32,
}

impl Scoreboard {
    /// Nothing is lost, and nothing has come early.
    #[inline]
    pub(super) fn is_clean(&self) -> bool {
        self.held_count == 0 && self.resend_count == 0 && self.lost.is_none() && self.anonymous == 0
    }

    /// Everything is as if nothing had been sent. The blocks are left where they lie.
    pub(super) fn clear(&mut self) {
        (self.held_count, self.resend_count, self.lost, self.anonymous) = (0, 0, None, 0);
    }

    fn held(&self) -> &[Block] {
        &self.held[..usize::from(self.held_count)]
    }

    fn resends(&self) -> &[Resend] {
        &self.resends[..usize::from(self.resend_count)]
    }

    /// The end of the farthest octets that the peer has.
    pub(super) fn farthest(&self) -> Option<Seq> {
        self.held().last().map(|block| block.1)
    }

    /// Everything before `una` has arrived; until now that was `before`. Tells how many octets of it are news.
    pub(super) fn acknowledge(&mut self, before: Seq, una: Seq) -> u32 {
        let known: u32 = self.held().iter().map(|&block| shared(block, (before, una))).sum();
        let mut kept = 0;
        for index in 0..usize::from(self.held_count) {
            let (start, end) = self.held[index];
            if end.after(una) {
                self.held[kept] = (start.max(una), end);
                kept += 1;
            }
        }
        self.held_count = kept as u8;
        self.lost = self.lost.filter(|lost| lost.after(una));
        self.settle(una);
        if una.after(before) {
            self.anonymous = 0;
        }
        (una.since(before).max(0) as u32).saturating_sub(known)
    }

    /// A segment has arrived, nobody knows which.
    pub(super) fn hold_any(&mut self) {
        self.anonymous = self.anonymous.saturating_add(1);
    }

    /// The peer has `block`, which lies beyond `una`. Tells how many octets of it are news.
    pub(super) fn hold(&mut self, una: Seq, block: Block) -> u32 {
        let known: u32 = self.held().iter().map(|&other| shared(other, block)).sum();
        let old = self.held;
        let (before, rest) =
            old[..usize::from(self.held_count)].split_at(self.held().partition_point(|b| b.1.before(block.0)));
        let (touched, behind) = rest.split_at(rest.partition_point(|b| !b.0.after(block.1)));
        let joined = touched.iter().fold(block, |(start, end), b| (start.min(b.0), end.max(b.1)));
        let mut count = before.len();
        for &block in core::iter::once(&joined).chain(behind) {
            if count < REMEMBERED {
                self.held[count] = block;
                count += 1;
            }
        }
        self.held_count = count as u8;
        self.settle(una);
        (block.1.since(block.0) as u32).saturating_sub(known)
    }

    /// Forgets resends that have arrived, and notes which of the others were overtaken.
    fn settle(&mut self, una: Seq) {
        let (held, held_count) = (&self.held, usize::from(self.held_count));
        let farthest = self.farthest().unwrap_or(una);
        let mut kept = 0;
        for index in 0..usize::from(self.resend_count) {
            let mut resend = self.resends[index];
            let (start, end) = resend.block;
            let has = |block: &Block| !start.before(block.0) && !end.after(block.1);
            if !end.after(una) || held[..held_count].iter().any(has) {
                self.resends[..kept].iter_mut().for_each(|earlier| earlier.overtaken = true);
                continue;
            }
            resend.overtaken |= farthest.after(resend.mark);
            self.resends[kept] = resend;
            kept += 1;
        }
        self.resend_count = kept as u8;
    }

    /// Concludes that octets from `una` to before `max` are lost: `threshold` segments of `mss` octets, or as many blocks, have arrived from beyond them (RFC 6675
    /// §4, IsLost).
    pub(super) fn infer(&mut self, (una, max): Block, mss: u32, threshold: u32) {
        if self.anonymous >= threshold {
            self.lose(una.plus(mss).min(max));
        }
        let mut beyond = 0;
        for (count, block) in (1..).zip(self.held().iter().rev()) {
            beyond += block.1.since(block.0) as u32;
            if beyond > (threshold - 1) * mss || count >= threshold {
                let point = block.0;
                return self.lose(point);
            }
        }
    }

    /// Everything before `point` that the peer does not have is lost.
    pub(super) fn lose(&mut self, point: Seq) {
        self.lost = Some(self.lost.map_or(point, |lost| lost.max(point)));
    }

    /// What was sent again and overtaken, longer than `patience` ago, is lost once more. True if there was any.
    pub(super) fn lose_again(&mut self, patience: Duration, now: Instant) -> bool {
        let mut kept = 0;
        for index in 0..usize::from(self.resend_count) {
            let resend = self.resends[index];
            if !resend.overtaken || now < resend.at + patience {
                self.resends[kept] = resend;
                kept += 1;
            }
        }
        core::mem::replace(&mut self.resend_count, kept as u8) as usize != kept
    }

    /// When [`Self::lose_again`] is to be asked again.
    pub(super) fn doubtful_until(&self, patience: Duration) -> Option<Instant> {
        self.resends().iter().filter(|resend| resend.overtaken).map(|resend| resend.at + patience).min()
    }

    /// All that was sent again is lost once more.
    pub(super) fn lose_resends(&mut self) {
        self.resend_count = 0;
    }

    /// The first range to send again; `None` too while no more can be remembered.
    pub(super) fn hole(&self, una: Seq) -> Option<Block> {
        let lost = self.lost?;
        if usize::from(self.resend_count) == REMEMBERED {
            return None;
        }
        let mut at = una;
        while at.before(lost) {
            // What covers this point, and where the next such thing begins.
            let mut end = lost;
            let mut past = None;
            for block in self.held().iter().chain(self.resends().iter().map(|resend| &resend.block)) {
                if !block.0.after(at) && block.1.after(at) {
                    past = Some(block.1);
                } else if block.0.after(at) {
                    end = end.min(block.0);
                }
            }
            match past {
                Some(past) => at = past,
                None => return Some((at, end)),
            }
        }
        None
    }

    /// `block` was sent again when `mark` was the highest point sent.
    pub(super) fn on_resent(&mut self, block: Block, mark: Seq, at: Instant) {
        let count = usize::from(self.resend_count);
        if let Some(last) = self.resends[..count].last_mut()
            && last.block.1 == block.0
            && last.mark == mark
            && !last.overtaken
        {
            (last.block.1, last.at) = (block.1, at);
        } else if count < REMEMBERED {
            self.resends[count] = Resend { block, mark, at, overtaken: false };
            self.resend_count += 1;
        }
    }

    /// Octets on their way (RFC 6675 §4, `pipe`): of those from `una` to `max`, what the peer does not have and is not lost, and what was
    /// sent again.
    pub(super) fn pipe(&self, una: Seq, max: Seq, mss: u32) -> u32 {
        let under_way = max.since(una).max(0) as u32;
        if self.is_clean() {
            return under_way;
        }
        let length = |block: &Block| block.1.since(block.0).max(0) as u32;
        let held: u32 = self.held().iter().map(length).sum();
        let lost = self.lost.map_or(0, |lost| {
            let within = |block: Block| shared(block, (una, lost));
            let held: u32 = self.held().iter().map(|&block| within(block)).sum();
            let again: u32 = self.resends().iter().map(|resend| within(resend.block)).sum();
            (lost.since(una).max(0) as u32).saturating_sub(held + again)
        });
        under_way.saturating_sub(held + lost).saturating_sub(self.anonymous.saturating_mul(mss))
    }
}

/// Octets that two blocks share.
fn shared(a: Block, b: Block) -> u32 {
    a.1.min(b.1).since(a.0.max(b.0)).max(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 100;
    const NOW: Instant = Instant::from_millis(5);

    fn at(n: u32) -> Seq {
        Seq(u32::MAX - 500).plus(n) // Everything here wraps.
    }

    fn block(start: u32, end: u32) -> Block {
        (at(start), at(end))
    }

    fn board(blocks: &[(u32, u32)]) -> Scoreboard {
        let mut board = Scoreboard::default();
        for &(start, end) in blocks {
            board.hold(at(0), block(start, end));
        }
        board.infer((at(0), at(1000)), MSS, 3);
        board
    }

    #[test]
    fn blocks_join_whatever_their_order() {
        let mut board = Scoreboard::default();
        assert_eq!(board.hold(at(0), block(500, 600)), 100);
        assert_eq!(board.hold(at(0), block(300, 400)), 100);
        assert_eq!(board.hold(at(0), block(300, 400)), 0, "told again");
        assert_eq!(board.hold(at(0), block(350, 550)), 100);
        assert_eq!(board.held(), [block(300, 600)]);
        assert_eq!(board.hold(at(0), block(800, 900)), 100);
        assert_eq!(board.hold(at(0), block(100, 1000)), 500);
        assert_eq!(board.held(), [block(100, 1000)]);
        assert_eq!(board.acknowledge(at(0), at(200)), 100, "the second hundred was known");
        assert_eq!((board.held(), board.farthest()), (&[block(200, 1000)][..], Some(at(1000))));
        assert_eq!(board.acknowledge(at(200), at(1100)), 100);
        assert!(board.is_clean());
    }

    #[test]
    fn three_segments_from_beyond_mean_a_loss() {
        assert_eq!(board(&[(100, 200)]).hole(at(0)), None);
        assert_eq!(board(&[(100, 300)]).hole(at(0)), None);
        assert_eq!(board(&[(100, 301)]).hole(at(0)), Some(block(0, 100)), "more than two segments");
        let board = board(&[(100, 110), (200, 210), (300, 310)]);
        assert_eq!(board.hole(at(0)), Some(block(0, 100)), "three pieces, however short");
        // The two holes behind have not been passed by as many.
        assert_eq!(board.pipe(at(0), at(1000), MSS), 1000 - 30 - 100);
    }

    #[test]
    fn each_hole_is_sent_once_and_those_lost_again_once_more() {
        let mut board = board(&[(100, 200), (300, 400), (500, 900)]);
        let patience = Duration::from_millis(10);
        let mut sent = Vec::new();
        while let Some(hole) = board.hole(at(0)) {
            board.on_resent(hole, at(1000), NOW);
            sent.push(hole);
        }
        assert_eq!(sent, [block(0, 100), block(200, 300), block(400, 500)]);
        assert_eq!(board.pipe(at(0), at(1000), MSS), 100 + 300);
        assert_eq!(board.doubtful_until(patience), None);
        // The second arrives: the first was sent before it.
        assert_eq!(board.hold(at(0), block(200, 300)), 100);
        assert_eq!(board.doubtful_until(patience), Some(NOW + patience));
        assert!(!board.lose_again(patience, NOW));
        assert!(board.lose_again(patience, NOW + patience));
        assert_eq!(board.hole(at(0)), Some(block(0, 100)));
        board.on_resent(block(0, 100), at(1000), NOW + patience);
        assert_eq!(board.hole(at(0)), None);
        // What was sent after the third arrives.
        board.hold(at(0), block(1000, 1100));
        assert!(board.lose_again(patience, NOW + patience));
        assert_eq!(board.hole(at(0)), Some(block(400, 500)));
        assert_eq!(board.acknowledge(at(0), at(1100)), 100 + 100 + 100);
        assert!(board.is_clean());
    }

    #[test]
    fn without_selective_acknowledgements_repeated_ones_count() {
        let mut board = Scoreboard::default();
        for _ in 0..3 {
            board.infer((at(0), at(1000)), MSS, 3);
            assert_eq!(board.hole(at(0)), None);
            board.hold_any();
        }
        board.infer((at(0), at(1000)), MSS, 3);
        assert_eq!(board.hole(at(0)), Some(block(0, 100)));
        assert_eq!(board.pipe(at(0), at(1000), MSS), 600);
        board.acknowledge(at(0), at(100));
        assert!(board.is_clean());
    }

    #[test]
    fn what_cannot_be_remembered_is_not_believed_and_sends_nothing_twice() {
        let mut board = Scoreboard::default();
        for index in 0..100 {
            board.hold(at(0), block(100 + index * 200, 200 + index * 200));
        }
        assert_eq!(board.held().len(), REMEMBERED);
        board.hold(at(0), block(50, 60));
        assert_eq!((board.held().len(), board.held()[0]), (REMEMBERED, block(50, 60)), "the farthest goes");
        board.lose(at(30_000));
        let mut sent = 0;
        while let Some(hole) = board.hole(at(0)) {
            board.on_resent((hole.0, hole.0.plus(10)), at(30_000), NOW);
            sent += 1;
            assert!(sent < 1_000, "it comes to an end");
        }
        assert_eq!(board.resends().len(), REMEMBERED);
        board.lose_resends();
        assert_eq!(board.hole(at(0)), Some(block(0, 50)));
    }
}
