//! Connections to endpoints that wait for their next request, of one core. Last in, first out: the most recently used one is the least
//! likely to have been closed meanwhile, and the surplus ages at the bottom.

use core::task::Context;
use core::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::cluster::EndpointId;
use super::stream::ByteStream;
use crate::clock::Instant;

/// Waiting connections by endpoint.
#[derive(Debug)]
pub(super) struct Pool<U> {
    waiting: HashMap<EndpointId, Vec<Waiting<U>>, FixedState>,
    count: usize,
}

#[derive(Debug)]
struct Waiting<U> {
    stream: U,
    until: Instant,
}

impl<U> Default for Pool<U> {
    fn default() -> Self {
        Pool { waiting: HashMap::default(), count: 0 }
    }
}

impl<U: ByteStream> Pool<U> {
    /// Takes a connection that is still good: not expired, not closed, and silent. One on which something arrived between requests
    /// is out of step and never used again.
    pub(super) fn take(&mut self, endpoint: EndpointId, now: Instant, cx: &mut Context<'_>) -> Option<U> {
        let stack = self.waiting.get_mut(&endpoint)?;
        while let Some(mut waiting) = stack.pop() {
            self.count -= 1;
            let open = now < waiting.until && !waiting.stream.peer_gone();
            if open && waiting.stream.poll_fill(cx).is_pending() {
                return Some(waiting.stream);
            }
        }
        None
    }

    /// Keeps a connection for the next request, for at most `idle`; beyond `most` of one endpoint the oldest is closed.
    pub(super) fn put(&mut self, endpoint: EndpointId, stream: U, now: Instant, idle: Duration, most: usize) {
        if most == 0 || idle.is_zero() || stream.peer_gone() {
            return;
        }
        let stack = self.waiting.entry(endpoint).or_default();
        if stack.len() >= most {
            stack.remove(0);
            self.count -= 1;
        }
        stack.push(Waiting { stream, until: now + idle });
        self.count += 1;
    }

    /// Closes what has expired or was closed by its endpoint. A stack keeps its memory: while all of an endpoint's connections are
    /// in use it is empty, and would have to grow anew each time.
    pub(super) fn sweep(&mut self, now: Instant) {
        let keep = |waiting: &mut Waiting<U>| now < waiting.until && !waiting.stream.peer_gone();
        self.waiting.values_mut().for_each(|stack| stack.retain_mut(keep));
        self.recount();
    }

    /// Closes connections to endpoints that are no more.
    pub(super) fn keep_endpoints(&mut self, exists: impl Fn(EndpointId) -> bool) {
        self.waiting.retain(|endpoint, _| exists(*endpoint));
        self.recount();
    }

    fn recount(&mut self) {
        self.count = self.waiting.values().map(Vec::len).sum();
    }

    /// Closes all.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.count = 0;
    }

    /// Connections waiting.
    pub(super) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use core::task::Waker;

    use super::*;
    use crate::l7::stream::{Duplex, duplex};

    const ID: EndpointId = EndpointId(1);
    const IDLE: Duration = Duration::from_secs(5);

    fn take(pool: &mut Pool<Duplex>, now: Instant) -> Option<Duplex> {
        pool.take(ID, now, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_silent_open_and_fresh_connections_come_back() {
        let mut pool = Pool::default();
        let mut peers: Vec<_> = (0..4)
            .map(|n| {
                let (ours, theirs) = duplex(64);
                pool.put(ID, ours, Instant::from_millis(n), IDLE, 8);
                theirs
            })
            .collect();
        assert_eq!(pool.len(), 4);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(peers[3].poll_write(cx, &[b"408"]).is_ready());
        peers[2].abort();
        let newest_good = take(&mut pool, Instant::from_millis(10));
        assert!(newest_good.is_some());
        assert_eq!(pool.len(), 1);
        assert!(take(&mut pool, Instant::from_millis(6000)).is_none());
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn bounded_by_count_age_and_endpoint() {
        let mut pool = Pool::default();
        let mut peers = Vec::new();
        for n in 0..3 {
            let (ours, theirs) = duplex(64);
            pool.put(ID, ours, Instant::from_millis(n * 1000), IDLE, 2);
            peers.push(theirs);
        }
        assert_eq!(pool.len(), 2);
        assert!(peers[0].peer_gone());
        pool.sweep(Instant::from_millis(6500));
        assert_eq!(pool.len(), 1);
        pool.keep_endpoints(|id| id != ID);
        assert_eq!(pool.len(), 0);
    }
}
