//! The command line of `show`.

use std::net::IpAddr;

use clap::{Args, Subcommand, ValueEnum};

use super::{At, Interval};

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// What to show.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What there is to show.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Ports: driver, addresses, what went through them, and addresses that another station disputes.
    Ports(Ports),
    /// Neighbours: who is known on the links, and where each entry stands (RFC 4861 §7.3.2).
    #[command(name = "neighbours", alias = "neighbors")]
    Neighbors(Neighbors),
    /// Routes, as the data plane uses them.
    Routes(Routes),
    /// Rules of policy routing, in order, and what each has decided.
    Policies(Policies),
    /// Losses by reason, and what each reason means.
    Drops(Drops),
    /// Cores: load, and the cycles of each stage.
    Cores(Cores),
}

/// What all of them have in common.
#[derive(Debug, Args)]
pub(crate) struct View {
    /// The gateway.
    #[command(flatten)]
    pub(crate) at: At,
    /// Print one JSON document (one a line with --watch).
    #[arg(long)]
    pub(crate) json: bool,
    /// Show it again every so many seconds (0.1 to 3600), until Ctrl-C.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2", value_parser = Interval::parse)]
    pub(crate) watch: Option<Interval>,
}

/// Arguments of `show ports`.
#[derive(Debug, Args)]
pub(crate) struct Ports {
    /// How.
    #[command(flatten)]
    pub(crate) view: View,
    /// Only this port.
    #[arg(long, value_name = "NAME")]
    pub(crate) port: Option<String>,
    /// Only ports whose link is in this state.
    #[arg(long, value_enum)]
    pub(crate) link: Option<Link>,
    /// Packets and bytes per second instead of since the start.
    #[arg(long)]
    pub(crate) rates: bool,
}

/// The state of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Link {
    /// Packets can pass.
    Up,
    /// There is nothing at the other end of the wire, or it is down.
    NoCarrier,
    /// The interface was set down.
    Down,
    /// The device was deleted or moved away; the gateway must be restarted to open another.
    Gone,
}

/// Arguments of `show neighbours`.
#[derive(Debug, Args)]
pub(crate) struct Neighbors {
    /// How.
    #[command(flatten)]
    pub(crate) view: View,
    /// Only those in this routing domain (`main` is the main one), or `all`, each with the name of its domain.
    #[arg(long, value_name = "NAME|all")]
    pub(crate) vrf: Option<String>,
    /// Only those on this interface.
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Only those whose entry stands there.
    #[arg(long, value_enum)]
    pub(crate) state: Option<State>,
}

/// Where a neighbour's entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// Given by the configuration.
    Static,
    /// Confirmed lately.
    Reachable,
    /// Used without confirmation, to be asked soon.
    Delay,
    /// Being asked.
    Probe,
    /// Known, not confirmed lately and not used since.
    Stale,
    /// Asked, not answered yet.
    Incomplete,
    /// One of several next hops, which has ceased to answer.
    Silent,
}

/// Arguments of `show routes`.
#[derive(Debug, Args)]
pub(crate) struct Routes {
    /// How.
    #[command(flatten)]
    pub(crate) view: View,
    /// Only routes to this prefix and to parts of it.
    #[arg(long, value_name = "PREFIX", group = "destination")]
    pub(crate) to: Option<String>,
    /// Only the route to exactly this prefix.
    #[arg(long, value_name = "PREFIX", group = "destination")]
    pub(crate) exact: Option<String>,
    /// Only the route that packets to this address take: the longest prefix that it is in.
    #[arg(long, value_name = "ADDRESS", group = "destination")]
    pub(crate) longest: Option<IpAddr>,
    /// The routes of this routing domain, or of `all`, each with the name of its domain; without it, of the main one.
    #[arg(long, value_name = "NAME|all")]
    pub(crate) vrf: Option<String>,
    /// Only routes that leave by this interface.
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Only routes by this router.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) via: Option<IpAddr>,
    /// Only routes from there.
    #[arg(long, value_enum)]
    pub(crate) source: Option<Source>,
    /// Show at most so many, and count the rest; 0 shows all.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: u64,
}

/// Where a route is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The configuration file.
    Static,
    /// A routing daemon, by way of the kernel.
    Kernel,
    /// The prefix of one of our addresses.
    Connected,
    /// One of our addresses.
    Local,
}

/// Arguments of `show policies`.
#[derive(Debug, Args)]
pub(crate) struct Policies {
    /// How.
    #[command(flatten)]
    pub(crate) view: View,
    /// Only the rule of this name.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only rules for this routing domain; `main` is the main one, `all` are all of them.
    #[arg(long, value_name = "NAME|all")]
    pub(crate) vrf: Option<String>,
    /// Per second in place of totals: since the picture before or, for a single one, over a second.
    #[arg(long)]
    pub(crate) rates: bool,
}

/// Arguments of `show drops`.
#[derive(Debug, Args)]
pub(crate) struct Drops {
    /// How.
    #[command(flatten)]
    pub(crate) view: View,
    /// Only these reasons; `tcp_*` stands for all that begin like this.
    #[arg(long, value_name = "REASON", value_delimiter = ',')]
    pub(crate) reason: Vec<String>,
    /// Only reasons that have occurred.
    #[arg(long)]
    pub(crate) nonzero: bool,
    /// Packets per second as well, over one second or the interval of --watch.
    #[arg(long)]
    pub(crate) rates: bool,
}

/// Arguments of `show cores`.
#[derive(Debug, Args)]
pub(crate) struct Cores {
    /// How.
    #[command(flatten)]
    pub(crate) view: View,
    /// Only the core on this CPU.
    #[arg(long, value_name = "CPU")]
    pub(crate) cpu: Option<u16>,
}
