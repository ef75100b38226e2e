//! From a seed to a plan.

use core::time::Duration;

use tidegate_dataplane::clock::Instant;

use crate::{
    dice::Dice,
    plan::{Ask, Change, Content, Fault, Framing, Method, Pace, Scenario, Session, Stack, Weather, Work},
    wire::Impairment,
};

/// When the first session may start: virtual time does not begin at zero, so that an uninitialised instant shows.
pub(crate) const START: Instant = Instant::from_millis(1_000_000);

/// The plan of `seed`.
pub(crate) fn generate(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed);
    let weather = match dice.below(10) {
        0..=3 => Weather::Calm,
        4..=7 => Weather::Rough,
        _ => Weather::Storm,
    };
    let clients = dice.between(1, 3) as usize;
    let origins = dice.between(1, 3) as usize;
    let lanes = |dice: &mut Dice, n: usize| (0..n).map(|_| lanes(dice, weather)).collect();
    let mut scenario = Scenario {
        seed,
        weather,
        cores: if dice.one_in(4) { 2 } else { 1 },
        rss: dice.one_in(2),
        mtu: [dice.pick(&[1500, 1500, 1500, 1280]), dice.pick(&[1500, 1500, 1500, 1280])],
        upstream_v6: dice.one_in(3),
        gateway: stack(&mut dice),
        client: stack(&mut dice),
        origin: stack(&mut dice),
        client_lanes: lanes(&mut dice, clients),
        origin_lanes: lanes(&mut dice, origins),
        clusters: [clusters(&mut dice, origins), clusters(&mut dice, origins)],
        pool: dice.pick(&[0, 1, 2, 8]),
        pool_idle: dice.millis(500, 3_000),
        asks: Vec::new(),
        sessions: Vec::new(),
        changes: Vec::new(),
    };
    let traits = Traits::roll(&mut dice, weather);
    for _ in 0..dice.between(1, 5) {
        let session = session(&mut dice, &traits, &mut scenario);
        scenario.sessions.push(session);
    }
    let changes = changes(&mut dice, &scenario);
    scenario.changes = changes;
    scenario
}

/// What kind of trouble a whole run has: one thing at a time is easier to understand, and all at once finds what that hides.
struct Traits {
    /// Faults per 10,000 requests.
    faults: u32,
    /// Unusual paces per 10,000 choices.
    paces: u32,
    closes_idle: bool,
    /// Echo sessions per 10,000.
    echo: u32,
    upgrades: u32,
    largest: u64,
}

impl Traits {
    fn roll(dice: &mut Dice, weather: Weather) -> Self {
        let large = match weather {
            Weather::Calm => 1 << 20,
            Weather::Rough => 1 << 18,
            Weather::Storm => 1 << 16,
        };
        Self {
            faults: dice.pick(&[0, 0, 500, 3_000]),
            paces: dice.pick(&[0, 500, 3_000]),
            closes_idle: dice.one_in(6),
            echo: dice.pick(&[0, 2_000, 2_000, 10_000]),
            upgrades: dice.pick(&[0, 500, 3_000]),
            largest: if dice.one_in(3) { large } else { 16 << 10 },
        }
    }
}

fn stack(dice: &mut Dice) -> Stack {
    Stack {
        frames: dice.pick(&[128, 256, 512, 2048]),
        receive_buffer: dice.pick(&[8 << 10, 64 << 10, 1 << 20]),
        send_buffer: dice.pick(&[8 << 10, 64 << 10, 1 << 20]),
        cookies: dice.one_in(6),
        dehydrate_after: dice.pick(&[Duration::from_millis(20), Duration::from_millis(1_500)]),
        reno: dice.one_in(4),
    }
}

fn lanes(dice: &mut Dice, weather: Weather) -> [Impairment; 2] {
    let delay = match dice.below(3) {
        0 => dice.micros(5, 200),
        1 => dice.micros(200, 5_000),
        _ => dice.millis(5, 60),
    };
    [lane(dice, weather, delay), lane(dice, weather, delay)]
}

fn lane(dice: &mut Dice, weather: Weather, delay: Duration) -> Impairment {
    let mut lane = Impairment { delay, ..Impairment::default() };
    if weather == Weather::Calm {
        return lane;
    }
    let storm = weather == Weather::Storm;
    let (loss, corrupt, outage) = if storm { (1_500, 500, 20_000) } else { (200, 100, 2_000) };
    if dice.one_in(2) {
        lane.loss = dice.between(1, loss) as u32;
        lane.burst = if storm && dice.one_in(2) { dice.between(1_000, 6_000) as u32 } else { 0 };
    }
    if dice.one_in(3) {
        lane.jitter = dice.micros(1, 1 + delay.as_micros() as u64);
    }
    if dice.one_in(3) {
        lane.reorder = dice.between(10, 3_000) as u32;
    }
    if dice.one_in(3) {
        lane.duplicate = dice.between(10, 2_000) as u32;
    }
    if dice.one_in(3) {
        lane.corrupt = dice.between(1, corrupt) as u32;
    }
    if dice.one_in(4) {
        lane.rate = dice.pick(&[1, 5, 20, 100]) * 1_000_000;
        lane.queue = dice.between(10, 100) * 1_500;
    }
    if dice.one_in(5) {
        let from = START + dice.millis(0, 3_000);
        lane.down.push((from, from + dice.millis(10, outage)));
    }
    lane
}

fn clusters(dice: &mut Dice, origins: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..origins).filter(|_| dice.one_in(2)).collect();
    if chosen.is_empty() {
        chosen.push(dice.below(origins as u64) as usize);
    }
    chosen
}

fn pace(dice: &mut Dice, traits: &Traits, len: u64) -> Pace {
    if !dice.chance(traits.paces) {
        return Pace::Eager;
    }
    if dice.one_in(2) {
        // At most forty rests, so that a slow reader of a large body takes seconds and not hours.
        Pace::Slow { piece: dice.between(1, 4_096).max(len / 40), rest: dice.millis(1, 100) }
    } else {
        Pace::Stall { after: dice.below(len + 1), pause: dice.millis(10, 8_000) }
    }
}

fn session(dice: &mut Dice, traits: &Traits, scenario: &mut Scenario) -> Session {
    let client = dice.below(scenario.client_lanes.len() as u64) as usize;
    let start = START + if dice.one_in(3) { Duration::ZERO } else { dice.millis(0, 3_000) };
    let work = if dice.chance(traits.echo) { echo(dice, traits, scenario) } else { http(dice, traits, scenario) };
    Session { client, start, v6: dice.one_in(2), work }
}

fn echo(dice: &mut Dice, traits: &Traits, scenario: &Scenario) -> Work {
    let len = dice.skewed(traits.largest);
    let fault = match dice.below(3) {
        _ if !dice.chance(traits.faults) => Fault::None,
        0 => Fault::ClientAbortsSending(dice.below(len + 1)),
        1 => Fault::ClientAbortsReading(dice.below(len + 1)),
        _ => Fault::OriginAborts(dice.below(len + 1)),
    };
    Work::Echo {
        origin: dice.below(scenario.origin_lanes.len() as u64) as usize,
        len,
        client_writes: pace(dice, traits, len),
        client_reads: pace(dice, traits, len),
        origin_reads: pace(dice, traits, len),
        fault,
    }
}

fn http(dice: &mut Dice, traits: &Traits, scenario: &mut Scenario) -> Work {
    let count = if dice.one_in(3) { 1 } else { dice.between(1, 8) };
    let asks: Vec<usize> = (0..count)
        .map(|_| {
            let ask = ask(dice, traits);
            scenario.asks.push(ask);
            scenario.asks.len() - 1
        })
        .collect();
    let upgrades = asks.iter().any(|id| scenario.asks[*id].method == Method::Upgrade);
    let pipeline = if dice.one_in(3) && !upgrades { dice.between(1, 8) as usize } else { 1 };
    Work::Http { asks, pipeline, half_close: !upgrades && dice.one_in(4) }
}

fn ask(dice: &mut Dice, traits: &Traits) -> Ask {
    let method = match dice.below(8) {
        _ if dice.chance(traits.upgrades) => Method::Upgrade,
        0 => Method::Head,
        1..=3 => Method::Post,
        _ => Method::Get,
    };
    let has_content = matches!(method, Method::Post | Method::Upgrade);
    let up = if has_content { dice.skewed(traits.largest) } else { 0 };
    let down = dice.skewed(traits.largest);
    let request = Content { framing: dice.pick(&[Framing::Length, Framing::Chunked]), len: up };
    let framing = match dice.below(8) {
        0 => Framing::Close,
        1..=3 => Framing::Chunked,
        _ => Framing::Length,
    };
    Ask {
        method,
        route: dice.pick(&['a', 'b']),
        request,
        response: Content { framing, len: down },
        expect: method == Method::Post && dice.one_in(6),
        early: method == Method::Post && dice.one_in(8),
        pause: if dice.one_in(4) { dice.millis(1, 2_000) } else { Duration::ZERO },
        think: if dice.one_in(4) { dice.millis(1, 1_000) } else { Duration::ZERO },
        client_writes: pace(dice, traits, up),
        client_reads: pace(dice, traits, down),
        origin_writes: pace(dice, traits, down),
        origin_reads: pace(dice, traits, up),
        fault: fault(dice, traits, method, up, down),
    }
}

fn fault(dice: &mut Dice, traits: &Traits, method: Method, up: u64, down: u64) -> Fault {
    if traits.closes_idle && method != Method::Upgrade && dice.one_in(3) {
        return Fault::OriginClosesAfter;
    }
    if !dice.chance(traits.faults) {
        return Fault::None;
    }
    match dice.below(5) {
        0 if up > 0 => Fault::ClientAbortsSending(dice.below(up + 1)),
        1 if method != Method::Head => Fault::ClientAbortsReading(dice.below(down + 1)),
        2 if method != Method::Head && down > 0 => Fault::OriginAborts(dice.below(down)),
        3 if method != Method::Head && down > 0 => Fault::OriginTruncates(dice.below(down)),
        _ => Fault::OriginResets,
    }
}

fn changes(dice: &mut Dice, scenario: &Scenario) -> Vec<(Instant, Change)> {
    let origins = scenario.origin_lanes.len();
    let mut changes = Vec::new();
    if dice.one_in(2) {
        for _ in 0..dice.between(1, 6) {
            let at = START + dice.millis(0, 5_000);
            changes.push((at, Change::Clusters(clusters(dice, origins), clusters(dice, origins))));
        }
    }
    if dice.one_in(6) {
        let origin = dice.below(origins as u64) as usize;
        let at = START + dice.millis(0, 3_000);
        changes.push((at, Change::Refuse(origin, true)));
        changes.push((at + dice.millis(1, 3_000), Change::Refuse(origin, false)));
    }
    if dice.one_in(12) {
        changes.push((START + dice.millis(10, 5_000), Change::Drain));
    }
    changes.sort_by_key(|(at, _)| *at);
    changes
}
