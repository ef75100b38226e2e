//! The threads that move packets: one per core, pinned, and restarted should it panic.

use core::fmt;
use core::time::Duration;
use std::{
    cell::RefCell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use crate::lines::Lines;
use tidegate_dataplane::{
    clock::Clock,
    frame::{Arena, ArenaError},
    io::{Device, Port, PortError, PortInfo, affinity, park::Waker},
    l4::{Secrets, Stats as TcpStats, TcpOptions},
    l7::app::{App, Host},
    stats::CoreStats,
    sync::{snapshot::Subscription, spsc::Consumer},
    tables::Tables,
    worker::{
        HostLink, Spec, Worker,
        handover::{self, Links, Notice},
        idle::Idle,
    },
};

/// Pause before a core that panicked starts again: a fault that returns at once must not fill the log.
const RESTART_DELAY: Duration = Duration::from_millis(200);

/// What all cores have in common.
#[derive(Clone, Debug)]
pub struct Plan {
    /// CPU of each core.
    pub cpus: Vec<usize>,
    /// Frames per core.
    pub frames: usize,
    /// Bytes per frame.
    pub frame_size: usize,
    /// Waiting for packets.
    pub idle: Idle,
    /// TCP, per core.
    pub tcp: TcpOptions,
    /// Keys of the process.
    pub secrets: Secrets,
    /// Ways to the kernel.
    pub hosts: Vec<HostLink>,
}

/// What can be seen of a running core from outside.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The CPU it is pinned to.
    pub cpu: usize,
    /// Its counters.
    pub stats: Arc<CoreStats>,
    /// Counters of its TCP.
    pub tcp: Arc<TcpStats>,
}

/// Why the cores could not be started.
#[derive(Debug)]
pub enum StartError {
    /// The thread could not be pinned.
    Pin {
        /// The CPU.
        cpu: usize,
        /// The kernel's answer.
        error: io::Error,
    },
    /// No frame memory.
    Arena(ArenaError),
    /// A port.
    Port(PortError),
    /// No thread, or no file descriptor for its waker.
    Thread(io::Error),
    /// The core panicked while starting; the message is in the log.
    Panicked {
        /// The CPU.
        cpu: usize,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin { cpu, error } => {
                write!(
                    f,
                    "cannot bind a core to CPU {cpu}: {error}: list only CPUs of `nproc --all` in runtime.cores that this process may use"
                )
            }
            Self::Arena(error) => error.fmt(f),
            Self::Port(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "cannot start a thread for a core: {error}"),
            Self::Panicked { cpu } => {
                write!(f, "the core on CPU {cpu} panicked while starting: see the message above, and report it")
            }
        }
    }
}

impl core::error::Error for StartError {}

/// The running cores. They stop when the tables say so; then [`Cores::join`] returns.
#[derive(Debug)]
pub struct Cores {
    threads: Vec<JoinHandle<()>>,
    observed: Vec<Observed>,
    devices: Arc<Mutex<Vec<Device>>>,
    notices: Vec<Consumer<Notice>>,
    lines: Arc<Lines>,
}

impl Cores {
    /// The way to ask them.
    pub fn lines(&self) -> &Arc<Lines> {
        &self.lines
    }

    /// What the cores have noticed since the last call.
    pub fn notices(&mut self) -> Vec<Notice> {
        let rings = self.notices.iter_mut();
        rings.flat_map(|ring| std::iter::from_fn(|| ring.pop_with(|notice| *notice))).collect()
    }

    /// What can be seen of each core.
    pub fn observed(&self) -> &[Observed] {
        &self.observed
    }

    /// The open devices, for what is changed while they run.
    pub fn devices(&self) -> &Arc<Mutex<Vec<Device>>> {
        &self.devices
    }

    /// Waits until all cores have left their loops, then closes the devices.
    pub fn join(self) {
        for thread in self.threads {
            // A core's own panics were caught; one outside of them was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Everything a core thread needs to make a worker, again and again.
struct Core {
    number: usize,
    plan: Plan,
    clock: Clock,
    devices: Arc<Mutex<Vec<Device>>>,
    subscription: Subscription<Tables>,
    waker: Arc<Waker>,
    observed: Observed,
}

/// Starts one thread per CPU of the plan and waits until each has attached its ports. `app` makes what runs on a core's
/// connections; `keep` is made once per core on its thread and survives restarts (an access-log ring, say).
///
/// # Errors
/// The first core that could not start; those that did are stopped by the caller publishing `Phase::Stop`.
pub fn start<A: App, K>(
    plan: &Plan,
    devices: Vec<Device>,
    subscribe: impl Fn() -> Subscription<Tables>,
    mut keep: impl FnMut(usize) -> K,
    app: impl Fn(&Host, &Rc<RefCell<K>>) -> A + Clone + Send + 'static,
) -> Result<Cores, StartError>
where
    K: Send + 'static,
{
    let clock = Clock::new();
    let ports = devices.len();
    let devices = Arc::new(Mutex::new(devices));
    let wakers: Vec<_> =
        plan.cpus.iter().map(|_| Waker::new().map(Arc::new)).collect::<Result<_, _>>().map_err(StartError::Thread)?;
    let mut links = handover::mesh(&wakers, plan.frame_size);
    let (started, ready) = mpsc::channel();
    let notices = links.iter_mut().map(Links::notices).collect();
    let lines = lines(plan, &mut links, &wakers, &clock)?;
    let mut cores = Cores { threads: Vec::new(), observed: Vec::new(), devices: Arc::clone(&devices), notices, lines };
    for (number, (links, waker)) in links.into_iter().zip(wakers).enumerate() {
        let cpu = plan.cpus[number];
        let observed = Observed { cpu, stats: Arc::new(CoreStats::new(ports)), tcp: Arc::default() };
        cores.observed.push(observed.clone());
        let core = Core {
            number,
            plan: plan.clone(),
            clock: clock.clone(),
            devices: Arc::clone(&devices),
            subscription: subscribe(),
            waker,
            observed,
        };
        let (kept, app, started) = (keep(number), app.clone(), started.clone());
        let thread = thread::Builder::new()
            .name(format!("core-{number}"))
            .spawn(move || core.live(links, kept, &app, &started))
            .map_err(StartError::Thread)?;
        cores.threads.push(thread);
    }
    drop(started);
    for _ in 0..plan.cpus.len() {
        ready.recv().unwrap_or(Err(StartError::Panicked { cpu: plan.cpus[0] }))?;
    }
    Ok(cores)
}

fn lines(plan: &Plan, links: &mut [Links], wakers: &[Arc<Waker>], clock: &Clock) -> Result<Arc<Lines>, StartError> {
    let cpus = plan.cpus.iter().map(|cpu| u16::try_from(*cpu).unwrap_or(u16::MAX));
    let lines = cpus.zip(links).zip(wakers).map(|((cpu, links), waker)| (cpu, links.desk(Arc::clone(waker))));
    let lines = lines.collect();
    // Any will do; a plan without cores has none.
    let waker = wakers.first().map_or_else(|| Waker::new().map(Arc::new), |waker| Ok(Arc::clone(waker)));
    Ok(Arc::new(Lines::new(lines, waker.map_err(StartError::Thread)?, clock.clone())))
}

impl Core {
    /// The thread: pin, then run workers until one returns by order. `started` hears once how the first one began.
    fn live<A: App, K>(
        self,
        links: Links,
        kept: K,
        app: &impl Fn(&Host, &Rc<RefCell<K>>) -> A,
        started: &mpsc::Sender<Result<(), StartError>>,
    ) {
        let cpu = self.observed.cpu;
        if let Err(error) = affinity::pin(cpu) {
            let _ = started.send(Err(StartError::Pin { cpu, error }));
            return;
        }
        let links = Rc::new(RefCell::new(links));
        let kept = Rc::new(RefCell::new(kept));
        let mut first = true;
        loop {
            // What outlives an unwinding worker is counters, rings and `kept`, all of which are consistent between calls.
            let life = catch_unwind(AssertUnwindSafe(|| {
                let mut worker = match self.worker(Rc::clone(&links), |host| app(host, &kept)) {
                    Ok(worker) => worker,
                    Err(error) => return Err(error),
                };
                if core::mem::take(&mut first) {
                    let _ = started.send(Ok(()));
                }
                worker.run();
                Ok(())
            }));
            match life {
                Ok(Ok(())) => return,
                Ok(Err(error)) if first => {
                    let _ = started.send(Err(error));
                    return;
                }
                Ok(Err(error)) => tracing::error!(core = self.number, %error, "cannot restart the core; trying again"),
                Err(_) if first => {
                    let _ = started.send(Err(StartError::Panicked { cpu }));
                    return;
                }
                Err(_) => {
                    tracing::error!(core = self.number, cpu, "core panicked; its connections are lost; restarting it");
                }
            }
            self.observed.stats.restarts.add(1);
            thread::sleep(RESTART_DELAY);
        }
    }

    fn worker<A: App>(&self, links: Rc<RefCell<Links>>, app: impl FnOnce(&Host) -> A) -> Result<Worker<A>, StartError> {
        let arena = Arena::new(self.plan.frames, self.plan.frame_size).map_err(StartError::Arena)?;
        let ports = self.attach(&arena).map_err(StartError::Port)?;
        let mut tcp = self.plan.tcp.clone();
        tcp.core = (self.number, self.plan.cpus.len());
        let now = self.clock.now();
        let spec = Spec {
            core: self.number,
            clock: self.clock.clone(),
            now,
            arena,
            ports,
            reader: self.subscription.reader(),
            links,
            waker: Arc::clone(&self.waker),
            idle: self.plan.idle,
            tcp,
            secrets: self.plan.secrets,
            stats: Arc::clone(&self.observed.stats),
            tcp_stats: Arc::clone(&self.observed.tcp),
            seed: self.plan.secrets.flows.0.wrapping_add(self.number as u64) ^ now.as_nanos(),
        };
        Ok(Worker::new(spec, app).with_host_links(&self.plan.hosts))
    }

    fn attach(&self, arena: &Arena) -> Result<Vec<(Port, PortInfo)>, PortError> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices
            .iter_mut()
            .map(|device| {
                let info = device.info().clone();
                Ok((device.queue(self.number as u16)?.attach(arena)?, info))
            })
            .collect()
    }
}
