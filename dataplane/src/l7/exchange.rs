//! One request: where it goes, who answers it, what the client gets.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

use arrayvec::ArrayVec;

use super::answer;
use super::cluster::{Cluster, Endpoint};
use super::date::HttpDate;
use super::facts::{Facts, Next};
use super::flow::{Carriage, FlowError};
use super::http1::encode::{self, Outgoing};
use super::http1::forwarded::request_id;
use super::http1::{Body, RequestHead};
use super::pace::Pace;
use super::platform::Platform;
use super::reason::Reason;
use super::relay::{Relay, State};
use super::scratch::Scratch;
use super::session::{Gauge, Session};
use super::stream::ByteStream;
use super::table::{Listener, Rule, Table};
use super::tunnel;
use crate::clock::Instant;

/// One request and what is needed to answer it.
pub(super) struct Exchange<'e, 't, S, P: Platform> {
    pub(super) session: &'e mut Session<S, P>,
    pub(super) scratch: &'e mut Scratch,
    pub(super) facts: &'e mut Facts<'t>,
    pub(super) tables: &'t Table,
    pub(super) listener: &'t Listener,
    /// The connection that carries it, from the moment there is one.
    pub(super) upstream: Option<P::Upstream>,
    /// It is under way at an endpoint: from when it is sent there until all of the response has been passed on.
    pub(super) at_endpoint: Option<Gauge<'t>>,
}

/// Where a request goes.
struct Call<'t> {
    rule: &'t Rule,
    cluster: &'t Cluster,
    deadline: Option<Instant>,
    upgrade: bool,
}

impl<'t, S: ByteStream, P: Platform> Exchange<'_, 't, S, P> {
    /// Serves the request in `scratch`. `current`: the listener still exists, so the connection may go on.
    pub(super) async fn run(&mut self, current: bool) -> Next {
        self.facts.understood = true;
        let may_keep_alive =
            current && self.scratch.request.keeps_alive() && !self.session.proxy.platform.is_draining();
        if self.scratch.request.max_forwards == Some(0) {
            return self.answer_options(may_keep_alive).await;
        }
        let call = match self.route() {
            Ok(call) => call,
            Err(reason) => return self.answer(reason, may_keep_alive).await,
        };
        self.begin(&call);
        let client = &mut self.session.client;
        let upward = &mut self.scratch.upward;
        if let Err(error) = poll_fn(|cx| Poll::Ready(upward.prime(cx, client))).await {
            let reason = if let FlowError::Refused(reason) = error { reason } else { Reason::ClientClosed };
            return self.answer(reason, false).await;
        }
        match self.attempt(&call).await {
            Ok(endpoint) => self.deliver(&call, endpoint, may_keep_alive).await,
            Err(reason) => self.answer(reason, may_keep_alive).await,
        }
    }

    fn route(&mut self) -> Result<Call<'t>, Reason> {
        let scratch = &mut *self.scratch;
        let (head, request) = (scratch.request_bytes.bytes(), &scratch.request);
        if matches!(request.body, Body::Length(length) if length > self.listener.limits.body_bytes) {
            return Err(Reason::BodyTooLarge);
        }
        let host = match request.host.of_head(head) {
            [] => self.session.default_host.as_bytes(),
            host => host,
        };
        let path = request.path.of_head(head);
        let rule = self.tables.rule(self.listener, host, path, &mut scratch.path).ok_or(Reason::RouteNotFound)?;
        self.facts.rule = Some(rule);
        let cluster = self.tables.cluster(rule, self.session.proxy.draw()).ok_or(Reason::NoBackend)?;
        self.facts.cluster = Some(cluster);
        let timeout = rule.request_timeout.or(self.listener.timeouts.request);
        let is_websocket = |protocol: &[u8]| protocol.eq_ignore_ascii_case(b"websocket");
        Ok(Call {
            rule,
            cluster,
            deadline: timeout.map(|timeout| self.facts.started + timeout),
            upgrade: self.listener.websocket && request.upgrade.is_some_and(|span| is_websocket(span.of_head(head))),
        })
    }

    /// Writes the head that the upstream will get.
    fn begin(&mut self, call: &Call<'_>) {
        let session = &*self.session;
        let scratch = &mut *self.scratch;
        let (head, request) = (scratch.request_bytes.bytes(), &scratch.request);
        let fresh = u128::from(session.proxy.draw()) << 64 | u128::from(session.proxy.draw());
        self.facts.id = request_id(head, request, session.peer.trusted, fresh);
        scratch.upward.begin(&Carriage {
            body: request.body,
            chunked_out: request.body == Body::Chunked,
            limit: self.listener.limits.body_bytes,
            trailer_limit: self.listener.limits.trailer_bytes,
            replayable: request.method.is_idempotent(),
        });
        let hop = Outgoing {
            peer: &session.peer,
            forwarded: self.listener.forwarded,
            request_id: &self.facts.id,
            default_host: session.default_host.as_bytes(),
            upgrade: call.upgrade,
        };
        encode::request(head, request, &hop, scratch.upward.out());
    }

    /// Finds an endpoint that begins to answer. A request is sent again only if that cannot make it count twice.
    async fn attempt(&mut self, call: &Call<'t>) -> Result<&'t Endpoint, Reason> {
        let retry = call.rule.retry;
        let most = usize::from(retry.attempts);
        let mut tried = ArrayVec::<usize, MAX_TRIES>::new();
        let mut fresh_only = false;
        loop {
            let proxy = &self.session.proxy;
            let index = call.cluster.pick(proxy.core, proxy.now(), &tried).ok_or(Reason::NoEndpoint)?;
            let endpoint: &'t Endpoint = &call.cluster.endpoints[index];
            let seen = endpoint.seen.of(proxy.core);
            self.facts.endpoint = Some(endpoint.address);
            let pooled = match fresh_only {
                true => None,
                false => poll_fn(|cx| Poll::Ready(proxy.take_pooled(endpoint, cx))).await,
            };
            let reused = pooled.is_some();
            proxy.stats.pool_hits.add(u64::from(reused));
            self.facts.reused = reused;
            self.upstream = pooled;
            let connected = match reused {
                true => Ok(()),
                false => self.open(call, endpoint).await,
            };
            let again_elsewhere = tried.len() < most && !tried.is_full();
            match connected {
                Ok(()) => match self.send(call, endpoint).await {
                    Ok(true) => return Ok(endpoint),
                    Ok(false) => {
                        let harmless = self.scratch.request.method.is_idempotent() && self.scratch.upward.rewind();
                        if harmless && reused {
                            // It was closed while it waited in the pool: says nothing about the endpoint.
                            fresh_only = true;
                        } else {
                            seen.failures.add(1);
                            if !harmless || !again_elsewhere || !retry.on_reset {
                                return Err(Reason::UpstreamReset);
                            }
                            tried.push(index);
                        }
                    }
                    Err(reason) => {
                        seen.failures.add(u64::from(reason.blames_upstream()));
                        return Err(reason);
                    }
                },
                Err(reason) => {
                    if !reason.blames_upstream() || !again_elsewhere || !retry.on_connect_failure {
                        return Err(reason);
                    }
                    tried.push(index);
                }
            }
            self.facts.retries += 1;
            self.session.proxy.stats.retries.add(1);
        }
    }

    /// Opens a connection in the time allowed.
    async fn open(&mut self, call: &Call<'_>, endpoint: &Endpoint) -> Result<(), Reason> {
        let Session { proxy, alarm, .. } = &mut *self.session;
        let limit = proxy.now() + call.cluster.connect_timeout;
        let until = call.deadline.map_or(limit, |deadline| deadline.min(limit));
        let mut connecting = pin!(proxy.platform.connect(call.cluster, endpoint));
        let opened = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(opened) => Poll::Ready(opened.map_err(|error| error.reason())),
            Poll::Pending if !alarm.passed(cx, Some(until)) => Poll::Pending,
            Poll::Pending if until < limit => Poll::Ready(Err(Reason::RequestTimeout)),
            Poll::Pending => Poll::Ready(Err(Reason::UpstreamConnectTimeout)),
        });
        let opened = opened.await;
        let seen = endpoint.seen.of(proxy.core);
        match opened {
            Ok(upstream) => {
                self.upstream = Some(upstream);
                proxy.stats.upstream_connects.add(1);
                seen.connects.add(1);
                seen.mark_alive();
                Ok(())
            }
            Err(reason) => {
                proxy.stats.upstream_connect_failures.add(1);
                if reason.blames_upstream() {
                    seen.mark_failed(proxy.now());
                }
                Err(reason)
            }
        }
    }

    /// Sends the request and waits for the response's head. False: the connection ended before a byte of it.
    async fn send(&mut self, call: &Call<'_>, endpoint: &'t Endpoint) -> Result<bool, Reason> {
        let timeouts = &self.listener.timeouts;
        let seen = endpoint.seen.of(self.session.proxy.core);
        seen.requests.add(1);
        self.at_endpoint = Some(Gauge::new(&seen.active));
        self.scratch.response_bytes.clear();
        self.scratch.state = State::new(timeouts.idle, timeouts.min_rate);
        let head = match self.relay(call) {
            Some(mut relay) => poll_fn(|cx| relay.poll_head(cx)).await,
            None => Ok(false),
        };
        if head != Ok(true) {
            self.at_endpoint = None;
            self.cut_upstream();
        }
        head
    }

    /// Part of a request must not look like a whole one.
    fn cut_upstream(&mut self) {
        if let Some(mut upstream) = self.upstream.take() {
            upstream.abort();
        }
    }

    fn relay<'r>(&'r mut self, call: &Call<'_>) -> Option<Relay<'r, S, P::Upstream>> {
        let Session { client, proxy, alarm, .. } = &mut *self.session;
        let (upstream, executor) = (self.upstream.as_mut()?, &proxy.executor);
        Some(Relay { client, upstream, scratch: self.scratch, alarm, executor, deadline: call.deadline })
    }

    /// Gives the client the response.
    async fn deliver(&mut self, call: &Call<'t>, endpoint: &'t Endpoint, may_keep_alive: bool) -> Next {
        let seen = endpoint.seen.of(self.session.proxy.core);
        let proxy = &*self.session.proxy;
        let (status, date) = (self.scratch.response.status, proxy.date());
        self.facts.first_byte = Some(proxy.now());
        if status == 101 {
            return self.switch(call, &date).await;
        }
        // Draining may have begun while the upstream was thinking.
        let may_keep_alive = may_keep_alive && !proxy.platform.is_draining();
        let via = self.listener.forwarded.via;
        let Some(mut relay) = self.relay(call) else { return Next::Abort };
        let keep_alive = relay.begin_response(may_keep_alive, via, &date);
        let delivered = poll_fn(|cx| relay.poll_response(cx)).await;
        match delivered {
            Ok(()) => {
                self.facts.status = status;
                let reusable = self.scratch.state.request_sent() && self.scratch.response.keeps_alive();
                if let Some(upstream) = self.upstream.take().filter(|_| reusable) {
                    self.session.proxy.put_pooled(call.cluster, endpoint, upstream);
                }
                if keep_alive { Next::KeepAlive } else { Next::Close }
            }
            Err(reason) => {
                self.cut_upstream();
                seen.failures.add(u64::from(reason.blames_upstream()));
                self.break_off(reason, status).await
            }
        }
    }

    /// The response cannot be completed: another takes its place if none of it has left, else the client must notice.
    async fn break_off(&mut self, reason: Reason, status: u16) -> Next {
        let answer = if reason == Reason::UpstreamTruncated { Reason::UpstreamReset } else { reason };
        if answer.status() != 0 && self.scratch.downward.retract() {
            return self.answer(answer, false).await;
        }
        self.facts.reason = reason;
        self.facts.status = status;
        // What was sent without a length would look complete if it ended with a close.
        Next::Abort
    }

    /// Turns the exchange into a tunnel, if that is what the client asked for (RFC 9110 §7.8).
    async fn switch(&mut self, call: &Call<'t>, date: &HttpDate) -> Next {
        let scratch = &*self.scratch;
        let offered = scratch.request.upgrade.map(|span| span.of_head(scratch.request_bytes.bytes()));
        let chosen = scratch.response.upgrade.map(|span| span.of_head(scratch.response_bytes.bytes()));
        let agreed = matches!((offered, chosen), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b));
        if !call.upgrade || !agreed || !scratch.state.request_sent() {
            self.cut_upstream();
            return self.answer(Reason::UpstreamUpgradeUnexpected, false).await;
        }
        let stats = std::sync::Arc::clone(&self.session.proxy.stats);
        let _open = Gauge::new(&stats.open_tunnels);
        self.facts.status = 101;
        self.facts.upgraded = true;
        let via = self.listener.forwarded.via;
        let pace = Pace::new(self.listener.timeouts.idle, 0);
        let Some(mut relay) = self.relay(call) else { return Next::Abort };
        relay.begin_response(true, via, date);
        match tunnel::run(relay, pace).await {
            Ok(()) => Next::Close,
            Err(reason) => {
                self.facts.reason = reason;
                Next::Abort
            }
        }
    }

    /// Answers a request whose head was not understood.
    pub(super) async fn refuse(&mut self, reason: Reason) -> Next {
        self.answer(reason, false).await
    }

    /// Sends an error page.
    async fn answer(&mut self, reason: Reason, may_keep_alive: bool) -> Next {
        self.facts.reason = reason;
        self.facts.status = if reason == Reason::ClientClosed { 499 } else { reason.status() };
        if reason.status() == 0 {
            return Next::Abort;
        }
        let request = self.facts.understood.then_some(&self.scratch.request);
        // Content that is still to come would be taken for the next request.
        let keep_alive = may_keep_alive && request.is_some_and(|request: &RequestHead| request.body.is_empty());
        let date = self.session.proxy.date();
        answer::error(reason, request, keep_alive, &date, self.scratch.downward.out());
        self.flush_answer(keep_alive).await
    }

    async fn answer_options(&mut self, keep_alive: bool) -> Next {
        self.facts.status = 204;
        let keep_alive = keep_alive && self.scratch.request.body.is_empty();
        let date = self.session.proxy.date();
        answer::options(&self.scratch.request, keep_alive, &date, self.scratch.downward.out());
        self.flush_answer(keep_alive).await
    }

    async fn flush_answer(&mut self, keep_alive: bool) -> Next {
        let Session { client, alarm, proxy, .. } = &mut *self.session;
        let downward = &mut self.scratch.downward;
        let until = proxy.now() + self.listener.timeouts.idle;
        poll_fn(|cx| match downward.poll_out(cx, client) {
            Poll::Ready(Ok(())) if keep_alive => Poll::Ready(Next::KeepAlive),
            Poll::Ready(Ok(())) => Poll::Ready(Next::Close),
            Poll::Ready(Err(_)) => Poll::Ready(Next::Abort),
            Poll::Pending if alarm.passed(cx, Some(until)) => Poll::Ready(Next::Abort),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

/// Most endpoints tried for one request, whatever the route says.
const MAX_TRIES: usize = 8;
