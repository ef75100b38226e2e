//! What must hold during and after a run.

use core::time::Duration;

use tidegate_dataplane::{clock::Instant, l4::End};

use crate::{
    ledger::{Entry, Ledger, Outcome, Shared},
    net::Who,
    plan::{Ask, Change, Fault, Method, Pace, Scenario, Session, Weather, Work},
    scenario::START,
    world::World,
};

/// How long after the last session everything must be over.
pub(crate) fn cool_down(weather: Weather) -> Duration {
    match weather {
        // FIN-WAIT, the pool's idle time, TIME-WAIT.
        Weather::Calm => Duration::from_secs(45),
        // A lost reset is only noticed by a time-out.
        Weather::Rough | Weather::Storm => Duration::from_secs(240),
    }
}

/// By when a session must be over.
pub(crate) fn deadline(scenario: &Scenario, session: &Session) -> Instant {
    let (base, factor, per_fault) = match scenario.weather {
        Weather::Calm => (5, 2, 5),
        Weather::Rough => (40, 4, 100),
        Weather::Storm => (400, 4, 200),
    };
    let lanes = scenario.client_lanes.iter().chain(&scenario.origin_lanes).flatten();
    let rate = lanes.clone().map(|lane| lane.rate).filter(|rate| *rate > 0).min();
    let trip: Duration = lanes.clone().map(|lane| lane.delay + lane.jitter).max().unwrap_or_default() * 8;
    let outage: Duration = lanes.flat_map(|lane| &lane.down).map(|(from, to)| *to - *from).sum();
    let move_time = |bytes: u64| {
        // Slow start, small buffers and, at worst, one small window per round trip.
        let windows = trip * (bytes / 4_000 + 12) as u32;
        windows + rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 * 16.0 / rate as f64))
    };
    let (mut time, mut faults) = (Duration::ZERO, 0);
    let all: u64 = scenario.sessions.iter().map(|session| bytes(scenario, session)).sum();
    // The sessions share the lanes.
    time += move_time(all);
    match &session.work {
        Work::Http { asks, .. } => {
            for ask in asks.iter().map(|id| &scenario.asks[*id]) {
                time += ask_time(ask) + trip * 4;
                faults += u32::from(ask.fault != Fault::None || scenario.weather == Weather::Storm);
            }
        }
        Work::Echo { len, client_writes, client_reads, origin_reads, fault, .. } => {
            time += [client_writes, client_reads, origin_reads].map(|pace| pace.delay(*len)).iter().sum::<Duration>();
            faults += u32::from(*fault != Fault::None);
        }
    }
    session.start + Duration::from_secs(base) + (time + outage) * factor + Duration::from_secs(per_fault) * faults
}

fn bytes(scenario: &Scenario, session: &Session) -> u64 {
    match &session.work {
        Work::Http { asks, .. } => {
            asks.iter().map(|id| scenario.asks[*id].request.len + scenario.asks[*id].response.len).sum()
        }
        Work::Echo { len, .. } => 2 * len,
    }
}

fn ask_time(ask: &Ask) -> Duration {
    let up: Duration = [ask.client_writes, ask.origin_reads].map(|pace: Pace| pace.delay(ask.request.len)).iter().sum();
    let down: Duration = [ask.client_reads, ask.origin_writes].map(|pace| pace.delay(ask.response.len)).iter().sum();
    ask.pause + ask.think + up + down
}

/// Judges how every request and session ended.
pub(crate) fn outcomes(shared: &Shared) {
    let scenario = &*shared.scenario;
    let mut complaints = Vec::new();
    {
        let ledger = shared.ledger.borrow();
        for session in 0..scenario.sessions.len() {
            if let Some(complaint) = session_complaint(scenario, &ledger, session) {
                complaints.push(complaint);
            }
        }
        for (id, ask) in scenario.asks.iter().enumerate() {
            if let Some(Entry { outcome, at }) = &ledger.asks[id]
                && !acceptable(scenario, id, ask, outcome, *at)
            {
                complaints.push((*at, format!("ask {id} ended with {outcome:?}")));
            }
        }
    }
    complaints.into_iter().for_each(|(at, complaint)| shared.violation(at, complaint));
}

fn session_complaint(scenario: &Scenario, ledger: &Ledger, number: usize) -> Option<(Instant, String)> {
    let session = &scenario.sessions[number];
    let Some(Entry { outcome, at }) = &ledger.sessions[number] else {
        return Some((deadline(scenario, session), format!("session {number} stands still")));
    };
    if let Work::Http { asks, .. } = &session.work {
        let open = asks.iter().find(|id| ledger.asks[**id].is_none())?;
        return Some((*at, format!("ask {open} of session {number} has no end")));
    }
    let Work::Echo { fault, .. } = session.work else { return None };
    let fine = match outcome {
        Outcome::Whole => true,
        Outcome::GaveUp => matches!(fault, Fault::ClientAbortsReading(_) | Fault::ClientAbortsSending(_)),
        Outcome::Closed | Outcome::Broken(_) if fault != Fault::None => true,
        // Three lost answers in a row to ARP or ND, and the router says so.
        Outcome::NotOpened(End::Unreachable) => scenario.weather != Weather::Calm,
        // A handshake that ends when nobody accepts any more.
        Outcome::NotOpened(_) | Outcome::Broken(End::Reset) | Outcome::Closed if refuses(scenario) => true,
        Outcome::NotOpened(_) => scenario.weather == Weather::Storm,
        Outcome::Closed => false,
        _ => scenario.weather == Weather::Storm,
    };
    (!fine).then(|| (*at, format!("echo session {number} ended with {outcome:?}")))
}

fn refuses(scenario: &Scenario) -> bool {
    scenario.changes.iter().any(|(_, change)| matches!(change, Change::Refuse(..)))
}

/// Whether a request may end so.
fn acceptable(scenario: &Scenario, id: usize, ask: &Ask, outcome: &Outcome, at: Instant) -> bool {
    let storm = scenario.weather == Weather::Storm;
    let draining = scenario.drains_at().is_some_and(|drain| at >= drain);
    let in_session = |session: &&Session| matches!(&session.work, Work::Http { asks, .. } if asks.contains(&id));
    let session = scenario.sessions.iter().find(in_session);
    let client_gives_up = session.is_some_and(|session| match &session.work {
        Work::Http { asks, .. } => asks.iter().any(|id| {
            matches!(scenario.asks[*id].fault, Fault::ClientAbortsReading(_) | Fault::ClientAbortsSending(_))
        }),
        Work::Echo { .. } => false,
    });
    // The reset that cuts one answer short may take with it answers before it that the client has not read.
    let cut_behind = session.is_some_and(|session| match &session.work {
        Work::Http { asks, pipeline, .. } => {
            *pipeline > 1
                && asks
                    .iter()
                    .any(|id| matches!(scenario.asks[*id].fault, Fault::OriginAborts(_) | Fault::OriginTruncates(_)))
        }
        Work::Echo { .. } => false,
    });
    match outcome {
        Outcome::Whole => true,
        Outcome::GaveUp => client_gives_up,
        Outcome::Page(_, reason) => match reason.as_str() {
            "upstream_reset" => {
                matches!(ask.fault, Fault::OriginResets | Fault::OriginAborts(_) | Fault::OriginTruncates(_))
                    || scenario.closes_idle()
                    || refuses(scenario)
                    || storm
            }
            "upstream_connect_refused" => refuses(scenario),
            "upstream_connect_timeout" | "upstream_timeout" | "upstream_connect_unreachable" => storm,
            "body_timeout" | "header_timeout" => storm,
            _ => false,
        },
        Outcome::Closed | Outcome::Broken(_) => {
            storm
                || draining
                || cut_behind
                || matches!(ask.fault, Fault::OriginAborts(_) | Fault::OriginTruncates(_))
                || (ask.method == Method::Upgrade && ask.fault != Fault::None)
        }
        Outcome::NotOpened(_) => storm || draining,
    }
}

/// What must be left when everything is over: nothing.
pub(crate) fn leftovers(world: &World) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, seat) in world.seats.iter().enumerate() {
        let host = seat.core.host();
        let who = if seat.who == Who::Gateway { format!("gateway core {number}") } else { format!("{:?}", seat.who) };
        let tasks = host.exec.live_tasks();
        if tasks != seat.permanent {
            complaints.push(format!("{who}: {tasks} tasks instead of {}", seat.permanent));
        }
        let connections = host.tcp.connections();
        if connections > 0 {
            complaints.push(format!("{who}: {connections} connections"));
        }
        let arena = seat.core.arena();
        if arena.available() != arena.capacity() {
            complaints.push(format!("{who}: {} frames not home", arena.capacity() - arena.available()));
        }
        let stats = host.tcp.stats();
        for (name, gauge) in [
            ("live", &stats.live),
            ("idle", &stats.idle),
            ("half_open", &stats.half_open),
            ("time_wait", &stats.time_wait),
        ] {
            if gauge.value() != 0 {
                complaints.push(format!("{who}: tcp {name} is {}", gauge.value()));
            }
        }
        let Some(http) = &seat.http else { continue };
        for (name, gauge) in [
            ("open connections", &http.open_connections),
            ("active requests", &http.active_requests),
            ("idle connections in the pool", &http.pool_idle),
            ("open tunnels", &http.open_tunnels),
        ] {
            if gauge.value() != 0 {
                complaints.push(format!("{who}: {} {name}", gauge.value()));
            }
        }
    }
    complaints
}

/// Runs a world to its end and judges it.
pub(crate) fn run(world: &mut World) {
    let shared = world.shared.clone();
    let scenario = &*shared.scenario;
    let by = scenario.sessions.iter().map(|session| deadline(scenario, session)).max().unwrap_or(START);
    let over = |shared: &Shared| shared.ledger.borrow().sessions.iter().all(Option::is_some);
    while !over(&shared) && world.step(by) {}
    outcomes(&shared);
    let last = world.now;
    let until = last + cool_down(scenario.weather);
    let mut look = last + Duration::from_secs(1);
    loop {
        while world.step(look.min(until)) {}
        let left = leftovers(world);
        if left.is_empty() && world.wires.next_arrival().is_none() {
            break;
        }
        if look >= until {
            left.into_iter().for_each(|complaint| shared.violation(until, complaint));
            break;
        }
        look += Duration::from_secs(1);
    }
    generations(world);
}

/// Nobody holds an old generation.
fn generations(world: &mut World) {
    for _ in 0..1_000_000 {
        if world.gateway.reclaim() == 0 {
            return;
        }
        // Another thread may be in the middle of a look at its own tables, and the epoch is common to all.
        std::thread::yield_now();
    }
    let held = world.gateway.reclaim();
    world.shared.violation(world.now, format!("{held} old generations of tables are still held"));
}
