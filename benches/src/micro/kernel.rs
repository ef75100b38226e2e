//! What a kernel is, and how it runs under callgrind.
//!
//! Callgrind collects only inside a function named on its command line ([`Counted::function`]), and at the [`boundary`] writes
//! down what it has and starts from zero. A kernel is made and run until it is warm, then comes the boundary, then what counts.

use core::hint::black_box;

/// One thing to be counted.
pub(crate) struct Kernel {
    /// Its name: component, then what is done.
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) unit: &'static str,
    /// Operations per call.
    pub(crate) per_call: u32,
    /// What is counted.
    pub(crate) counted: Counted,
    /// Makes it; nothing of this is counted.
    pub(crate) make: fn() -> Box<dyn Work>,
}

/// What callgrind collects in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// [`Work::run`].
    Run,
    /// Turns of the core within it: what its peers do is not counted.
    Turns,
}

impl Counted {
    /// The function, as callgrind names it.
    pub(crate) const fn function(self) -> &'static str {
        match self {
            Self::Run => "*micro::kernel::counted*",
            Self::Turns => "*far::Rig<A>::turn*",
        }
    }
}

/// Where callgrind's counts begin anew.
pub(crate) const BOUNDARY: &str = "*micro::kernel::boundary*";

/// A piece of work that can be done again and again.
pub(crate) trait Work {
    /// What must be there before each call.
    fn prepare(&mut self) {}
    /// The work.
    fn run(&mut self);
}

/// Work that needs no preparation.
pub(crate) struct Plain<F>(pub(crate) F);

impl<F: FnMut()> Work for Plain<F> {
    fn run(&mut self) {
        (self.0)();
    }
}

/// Work on a state that has to be set up for each call.
pub(crate) struct Prepared<S> {
    pub(crate) state: S,
    pub(crate) prepare: fn(&mut S),
    pub(crate) run: fn(&mut S),
}

impl<S> Work for Prepared<S> {
    fn prepare(&mut self) {
        (self.prepare)(&mut self.state);
    }
    fn run(&mut self) {
        (self.run)(&mut self.state);
    }
}

/// Runs a kernel in this process, for callgrind to watch.
pub(crate) fn run(kernel: &Kernel, calls: u32) {
    let mut work = (kernel.make)();
    let mut times = |calls: u32| {
        for _ in 0..calls {
            work.prepare();
            match kernel.counted {
                Counted::Run => counted(&mut *work),
                Counted::Turns => work.run(),
            }
        }
    };
    times(calls);
    boundary();
    times(calls);
}

/// Callgrind knows a function by its name, so it must be one, and must not end in a jump to what it calls.
#[inline(never)]
fn counted(work: &mut dyn Work) {
    work.run();
    black_box(());
}

#[inline(never)]
fn boundary() {
    black_box(());
}
