//! A load generator on our own data plane: a client that is faster than what it measures, on any port that the product has.
//!
//! Reading order: [`run`], then [`course`] for how a run proceeds, [`work`] for what a connection does, [`exchange`] for a request and
//! its answer. Generator and origin are two stations with a core each in the sense of the data plane; both are turned by one
//! thread, so that they share a processor and the program under test has the other.

mod course; // opening, working, ending
mod dial; // connections
mod exchange; // a request and its answer
mod failure; // what can go wrong, by name
mod options; // the command line
mod outcome; // the line of JSON
mod pace; // when work is due
mod tally; // what has happened
mod work; // what a connection does

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::{fs, io, path::PathBuf, rc::Rc};

use tidegate_dataplane::{
    clock::Clock,
    l4::TcpStream,
    l7::{
        app::{App, Host},
        tls::ClientTls,
    },
};

use crate::{
    origin::Origin,
    station::{
        self, Attachment, Plan, SetUpError, Socket, Station, Stop, Wire,
        tls::{self, PairFiles, TlsFault},
    },
};
use course::Course;
use dial::{Dial, Plain, Secure};
use exchange::Ask;
use options::Mode;
use outcome::{Outcome, Spent};

pub(crate) use options::Options;

/// Connections in the making at a time.
const OPENING: usize = 128;
/// What failed must have had the time to.
const PATIENCE: Duration = Duration::from_secs(1);
/// Ports of an address, of which each makes one connection to a target.
const PORTS: usize = 64_512;
/// How long connections are given to close after the end.
const FAREWELL: Duration = Duration::from_millis(300);
/// Why a load did not run, or ran badly.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// A port did not open, or could not be used.
    SetUp(SetUpError),
    /// No address of ours has the family of a target.
    NoWay,
    /// There are no ports for so many connections.
    NoPorts { asked: u32, most: usize },
    /// Nothing was done in the time that counts, and nothing failed: that is no figure.
    NothingDone,
    /// The result could not be written.
    Write(PathBuf, io::Error),
    /// There were failures: the figures are those of a broken run.
    Failures(u64),
    /// On memory ports there is nobody else to connect to.
    NoOrigin,
    /// Sessions are resumed with TLS only.
    NoTls,
    /// It was told to stop; the figures are those up to then.
    Stopped,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetUp(error) => error.fmt(f),
            Self::NoWay => f.write_str("no address of --address is of the family of a target of --to"),
            Self::NoPorts { asked, most } => write!(
                f,
                "--connections {asked}: at most {most}, an address has {PORTS} ports towards each target; name more by --address"
            ),
            Self::NothingDone => {
                f.write_str("nothing was done in the seconds that count, and nothing failed: give it more --seconds")
            }
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::Failures(count) => write!(f, "{count} failures"),
            Self::NoTls => f.write_str("--mode resume needs --tls"),
            Self::Stopped => f.write_str("stopped before the end"),
            Self::NoOrigin => f.write_str("--port memory is a wire to an origin of its own: leave --origin out"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<TlsFault> for LoadError {
    fn from(error: TlsFault) -> Self {
        Self::SetUp(error.into())
    }
}

impl From<SetUpError> for LoadError {
    fn from(error: SetUpError) -> Self {
        Self::SetUp(error)
    }
}

/// Nobody connects to a generator.
struct Generator;

impl App for Generator {
    fn accept(&mut self, _: &Host, mut stream: TcpStream) {
        stream.abort();
    }
}

/// Runs a load and prints what came of it.
///
/// # Errors
/// It could not run, or there were failures.
pub(crate) fn run(options: &Options) -> Result<(), LoadError> {
    let stop = Stop::on_signals().map_err(SetUpError::System)?;
    let outcome = measure(options, || stop.is_set())?;
    if outcome.is_empty() && options.works() && !stop.is_set() {
        return Err(LoadError::NothingDone);
    }
    report(options, &outcome)?;
    if stop.is_set() { Err(LoadError::Stopped) } else { Ok(()) }
}

/// Runs until its end, or until `stop` says so.
fn measure(options: &Options, stop: impl Fn() -> bool) -> Result<Outcome, LoadError> {
    let ways = ways(options);
    let most = ways.len() * PORTS;
    if most == 0 {
        return Err(LoadError::NoWay);
    }
    if options.connections as usize > most {
        return Err(LoadError::NoPorts { asked: options.connections, most });
    }
    options.seating.pin()?;
    let clock = Clock::new();
    let (socket, origin) = attach(options)?;
    let mut origin =
        origin.map(|(socket, plan)| Station::new(&clock, socket, "origin", plan, |_| Origin::new())).transpose()?;
    if let Some(origin) = &mut origin {
        origin.stall(options.at_origin.stalls());
    }
    let plan = Plan {
        addresses: options.address.0.clone(),
        gateways: options.seating.gateway.clone(),
        listeners: Vec::new(),
        tcp: station::tcp(options.connections as usize),
    };
    let mut generator = Station::new(&clock, socket, "load", plan, |_| Generator)?;
    let host = generator.worker.host().clone();
    let course = Course::new(course(options), host.exec.clone());
    let plain = Plain::new(host.clone(), ways, options.timeout);
    match secure(options)? {
        None if options.mode == Mode::Resume => return Err(LoadError::NoTls),
        None => spawn(options, &host, &course, plain),
        Some(tls) => {
            let resumed = if options.mode == Mode::Resume { options.connections as usize } else { 0 };
            spawn(options, &host, &course, Secure::new(plain, tls, resumed));
        }
    }
    Ok(drive(options, &clock, &course, stop, (&mut generator, origin.as_mut())))
}

/// From each address of ours to each target of its family.
fn ways(options: &Options) -> Vec<(IpAddr, SocketAddr)> {
    let addresses = options.address.0.iter().map(|address| address.addr());
    let pairs = addresses.flat_map(|address| options.to.iter().map(move |target| (address, *target)));
    pairs.filter(|(address, target)| address.is_ipv4() == target.is_ipv4()).collect()
}

fn report(options: &Options, outcome: &Outcome) -> Result<(), LoadError> {
    eprintln!("{}", outcome.text());
    match &options.json {
        None => println!("{}", outcome.line()),
        Some(path) => {
            fs::write(path, outcome.line() + "\n").map_err(|error| LoadError::Write(path.clone(), error))?;
        }
    }
    match outcome.errors() {
        0 => Ok(()),
        errors => Err(LoadError::Failures(errors)),
    }
}

fn course(options: &Options) -> course::Plan {
    course::Plan {
        connections: options.connections as usize,
        opening: OPENING,
        rate: options.rate,
        rest: options.rest,
        linger: options.mode == Mode::Idle,
        warmup: options.warmup,
        length: options.seconds,
        patience: if options.works() { 2 * options.timeout + PATIENCE } else { Duration::ZERO },
    }
}

/// What a station is to be, and the port it is to be at.
type Seat = (Socket, Plan);

fn attach(options: &Options) -> Result<(Socket, Option<Seat>), LoadError> {
    let plan = |addresses| -> Result<Plan, LoadError> {
        let (gateways, listeners) = (options.seating.gateway.clone(), options.at_origin.listeners()?);
        Ok(Plan { addresses, gateways, listeners, tcp: station::tcp(options.connections as usize) })
    };
    if options.port == Wire::Memory {
        if options.origin.is_some() {
            return Err(LoadError::NoOrigin);
        }
        let (near, far) = Socket::pair();
        // On the link of the first address.
        let len = options.address.0.first().map_or(24, |address| address.prefix_len());
        let addresses = options.to.iter().filter_map(|to| ipnet::IpNet::new(to.ip(), len).ok()).collect();
        return Ok((near, Some((far, plan(addresses)?))));
    }
    let mut specs = vec![options.seating.port(&options.port, "load")];
    specs.extend(options.origin.iter().map(|origin| options.seating.port(&origin.wire, "origin")));
    let mut sockets = Socket::open(&mut options.seating.drivers(), &specs)?.into_iter();
    let (Some(near), far) = (sockets.next(), sockets.next()) else { return Err(LoadError::NoWay) };
    let seat = far.zip(options.origin.as_ref());
    let seat =
        seat.map(|(socket, Attachment { addresses, .. })| Ok::<_, LoadError>((socket, plan(addresses.clone())?)));
    Ok((near, seat.transpose()?))
}

/// TLS towards the targets, if there is to be any.
fn secure(options: &Options) -> Result<Option<ClientTls>, LoadError> {
    let Some(ca) = options.ca.as_deref().filter(|_| options.tls) else { return Ok(None) };
    let name = options.server_name.clone().or_else(|| options.to.first().map(|to| to.ip().to_string()));
    let pair = options.certificate.as_deref().zip(options.key.as_deref());
    let pair = pair.map(|(certificate, key)| PairFiles { certificate, key });
    Ok(Some(tls::client(&name.unwrap_or_default(), ca, pair)?))
}

/// Starts the connections.
fn spawn<D: Dial>(options: &Options, host: &Host, course: &Rc<Course>, dial: D) {
    let path = options.path.as_deref().unwrap_or(options.mode.path(options.upload.is_some()));
    let named = options.host.clone().or_else(|| options.to.first().map(ToString::to_string)).unwrap_or_default();
    let close = options.mode == Mode::New;
    let ask = Rc::new(Ask::new(&named, path, options.upload, close, !options.any_content, options.timeout));
    let dial = Rc::new(dial);
    for number in 0..options.connections {
        let (course, dial, ask) = (Rc::clone(course), Rc::clone(&dial), Rc::clone(&ask));
        match options.mode {
            Mode::Keepalive | Mode::Bulk => host.exec.spawn(work::keep_alive(number, course, dial, ask)),
            Mode::New => host.exec.spawn(work::renew(number, course, dial, ask)),
            Mode::Handshake => host.exec.spawn(work::shake_hands(number, course, dial, ask, false)),
            Mode::Resume => host.exec.spawn(work::shake_hands(number, course, dial, ask, true)),
            Mode::Idle => host.exec.spawn(work::hold(number, course, dial, ask)),
        };
    }
}

/// Turns both stations until the run is over.
fn drive(
    options: &Options,
    clock: &Clock,
    course: &Course,
    stop: impl Fn() -> bool,
    (generator, mut origin): (&mut Station<Generator>, Option<&mut Station<Origin>>),
) -> Outcome {
    let (mut before, mut after) = (None, None);
    let mut told = options.mode != Mode::Idle;
    loop {
        let now = clock.now();
        if stop() {
            course.cut(now);
        }
        if !course.advance(now) {
            break;
        }
        turn(generator, origin.as_deref_mut());
        let spent = || spent(clock, generator, origin.as_deref());
        match course.tally.borrow().window() {
            Some(_) if !told => {
                eprintln!("{} connections are open", course.tally.borrow().held);
                told = true;
            }
            Some(window) if before.is_none() && now >= window.from => before = Some(spent()),
            Some(window) if after.is_none() && now >= window.until => after = Some(spent()),
            _ => {}
        }
    }
    // The last piece of work may be done before the window ends, or the turn in which it does.
    let after = after.or_else(|| Some(spent(clock, generator, origin.as_deref())));
    let held = course.tally.borrow().held;
    if !options.rest.is_zero() {
        eprintln!("{held} connections are silent again");
        let end = clock.now() + options.rest;
        turn_until(generator, origin.as_deref_mut(), || clock.now() >= end || stop());
    }
    farewell(clock, generator, origin);
    let tally = course.tally.borrow();
    let mut outcome = Outcome::new(&tally, options.mode.unit());
    if options.mode == Mode::Idle {
        outcome.higher("held", "connections", held as f64);
    }
    if let (Some(before), Some(after)) = (before, after) {
        outcome.cost(&before, &after, tally.done);
    }
    outcome
}

fn spent(clock: &Clock, generator: &Station<Generator>, origin: Option<&Station<Origin>>) -> Spent {
    let (generator, origin) = (generator.busy_cycles(), origin.map(Station::busy_cycles));
    Spent { at: clock.cycles(), generator, origin }
}

/// Closes what is open, so that the server is not left with dead connections that meet those of the next run.
fn farewell(clock: &Clock, generator: &mut Station<Generator>, origin: Option<&mut Station<Origin>>) {
    generator.worker.host().exec.close();
    let (end, host) = (clock.now() + FAREWELL, generator.worker.host().clone());
    turn_until(generator, origin, || clock.now() >= end || host.tcp.connections() == 0);
}

fn turn_until(
    generator: &mut Station<Generator>,
    mut origin: Option<&mut Station<Origin>>,
    is_over: impl Fn() -> bool,
) {
    while !is_over() {
        turn(generator, origin.as_deref_mut());
    }
}

/// One turn of both, and a rest for the processor if there was nothing to do.
fn turn(generator: &mut Station<Generator>, origin: Option<&mut Station<Origin>>) {
    let busy = generator.turn();
    station::rest(origin.is_some_and(Station::turn) || busy);
}

#[cfg(test)]
mod tests;
