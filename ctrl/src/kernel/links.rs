//! The state of the ports' links: the kernel tells of its interfaces, other drivers are asked.
//!
//! What is found goes three ways: to people (log, statistics), to the cores, which send nothing by a port that is shut, and to the
//! kernel's ends of host links, whose carrier is that of the ports below: a routing daemon sees the interface go down.

use std::future::{pending, poll_fn};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netlink_sys::{AsyncSocket as _, TokioSocket, protocols::NETLINK_ROUTE};
use tidegate_dataplane::io::{Device, LinkState};
use tidegate_dataplane::meta::PortId;

use super::socket::Questions;
use super::wire::{Message, Messages, Request, flag, kind, number};
use crate::config::Config;
use crate::config::model::Link;
use crate::telemetry::Telemetry;

/// News of links (`RTNLGRP_LINK`).
const GROUP: u32 = 1;
/// Room for a datagram: the kernel fills 32 KiB at most.
const DATAGRAM: usize = 64 * 1024;
/// Flags of an interface (`linux/if.h`): it was set up; its driver has a carrier.
const UP: u32 = 1;
const LOWER_UP: u32 = 0x1_0000;
/// Not about a bridge's view of the interface.
const AF_UNSPEC: u8 = 0;

/// The links of all ports, and of the ways to the kernel behind them.
pub struct Links {
    /// `None` when the kernel gives none; what it was asked at the start is then all that is known of its interfaces.
    socket: Option<TokioSocket>,
    buffer: Vec<u8>,
    /// By number.
    ports: Vec<Port>,
    devices: Arc<Mutex<Vec<Device>>>,
    telemetry: Arc<Telemetry>,
}

struct Port {
    name: String,
    /// The kernel's number for the interface of which it tells the state.
    interface: Option<u32>,
    state: LinkState,
    /// Of a way to the kernel: the ports whose carrier it shows.
    below: Vec<usize>,
    /// What it shows.
    carrier: bool,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("states", &self.states()).finish_non_exhaustive()
    }
}

impl Links {
    /// Starts listening, and asks for the state of each link. Needs a tokio runtime.
    pub fn open(devices: &Arc<Mutex<Vec<Device>>>, telemetry: &Arc<Telemetry>, config: &Config) -> Self {
        let socket = listening()
            .inspect_err(|error| tracing::error!("no link is watched: the kernel gives no netlink socket: {error}"));
        let port = |device: &Device| Port {
            name: device.name().to_owned(),
            interface: device.interface(),
            state: LinkState::Up,
            below: Vec::new(),
            carrier: true,
        };
        let mut links = Self {
            socket: socket.ok(),
            buffer: Vec::with_capacity(DATAGRAM),
            ports: lock(devices).iter().map(port).collect(),
            devices: Arc::clone(devices),
            telemetry: Arc::clone(telemetry),
        };
        links.ask();
        links.follow(config);
        links.look();
        links
    }

    /// Waits for news of the kernel, and takes them. May be dropped and called again.
    pub async fn changed(&mut self) {
        let Self { socket: Some(socket), buffer, .. } = self else { return pending().await };
        buffer.clear();
        let received = poll_fn(|cx| socket.poll_recv(cx, buffer)).await.map(drop);
        match received {
            Ok(()) => self.hear(),
            // More news than the socket holds.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.ask(),
            Err(error) => {
                tracing::error!("links are not watched any more: {error}");
                self.socket = None;
            }
        }
        self.show_carriers();
    }

    /// Asks the devices that know their links themselves.
    pub fn look(&mut self) {
        let states: Vec<_> = lock(&self.devices).iter().map(Device::link).collect();
        for (at, state) in states.into_iter().enumerate() {
            if let Some(state) = state {
                self.see(at, state);
            }
        }
        self.show_carriers();
    }

    /// Takes over which ports are below each way to the kernel.
    pub fn follow(&mut self, config: &Config) {
        for port in self.ports.iter_mut().skip(config.ports.len()) {
            let interface = port.name.strip_suffix(".host");
            let at = config.interfaces.iter().position(|own| Some(own.name.0.as_str()) == interface);
            port.below = at.map(|at| ports_of(config, at)).unwrap_or_default();
        }
        self.show_carriers();
    }

    /// The state of each link, by the port's number.
    pub fn states(&self) -> Vec<LinkState> {
        let state = |port: &Port| match port.state {
            LinkState::Up if !port.carrier => LinkState::NoCarrier,
            state => state,
        };
        self.ports.iter().map(state).collect()
    }

    /// Ports whose device has gone.
    pub fn lost(&self) -> impl Iterator<Item = &str> {
        self.ports.iter().filter(|port| port.state == LinkState::Gone).map(|port| port.name.as_str())
    }

    /// Asks the kernel about each of its interfaces.
    fn ask(&mut self) {
        let Ok(mut kernel) = Questions::open() else { return };
        for at in 0..self.ports.len() {
            let Some(interface) = self.ports[at].interface else { continue };
            let mut header = [0; 16];
            header[4..8].copy_from_slice(&interface.to_ne_bytes());
            let request = Request::new(kind::GET_LINK, flag::ACKNOWLEDGE, &header);
            match kernel.ask(request, |body| number(body, 8)) {
                Ok(flags) => self.see(at, state(flags.flatten().unwrap_or(0))),
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => self.see(at, LinkState::Gone),
                Err(error) => tracing::warn!(port = self.ports[at].name, "cannot ask for the link's state: {error}"),
            }
        }
    }

    fn hear(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        for (interface, state) in Messages(&buffer).filter_map(|message| news(&message)) {
            let places: Vec<_> =
                (0..self.ports.len()).filter(|at| self.ports[*at].interface == Some(interface)).collect();
            for at in places {
                self.see(at, state);
            }
        }
        self.buffer = buffer;
    }

    /// A link is in this state now.
    fn see(&mut self, at: usize, state: LinkState) {
        let port = &mut self.ports[at];
        // Should the number appear again, it is another interface, or this one without our sockets.
        if port.state == state || port.state == LinkState::Gone {
            return;
        }
        port.state = state;
        tell(&port.name, state);
        let shut = lock(&self.devices).get(at).is_some_and(|device| device.is_shut(state));
        let Ok(number) = u16::try_from(at) else { return };
        for core in &self.telemetry.cores {
            core.stats.port(PortId(number)).shut.set(shut.into());
        }
    }

    /// Gives the ways to the kernel the carrier of what is below them: of a bridge, that of any member.
    fn show_carriers(&mut self) {
        let up: Vec<bool> = self.ports.iter().map(|port| port.state == LinkState::Up).collect();
        for (at, port) in self.ports.iter_mut().enumerate() {
            let carrier = port.below.is_empty() || port.below.iter().any(|below| up[*below]);
            if carrier == port.carrier || port.state == LinkState::Gone {
                continue;
            }
            match lock(&self.devices).get(at).map_or(Ok(()), |device| device.set_carrier(carrier)) {
                Ok(()) => port.carrier = carrier,
                // It is tried again at the next look.
                Err(error) => tracing::debug!("{error}"),
            }
        }
    }
}

fn tell(port: &str, state: LinkState) {
    match state {
        LinkState::Up => tracing::info!(port, "link up"),
        LinkState::NoCarrier => tracing::warn!(port, "link down: no carrier"),
        LinkState::Down => tracing::warn!(port, "link down: the interface was set down"),
        LinkState::Gone => tracing::error!(
            port,
            "link down for good: the device has gone, and a new one of its name is not taken: restart the gateway when it is there"
        ),
    }
}

fn lock(devices: &Mutex<Vec<Device>>) -> MutexGuard<'_, Vec<Device>> {
    devices.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listening() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind_auto()?;
    socket.socket_mut().add_membership(GROUP)?;
    Ok(socket)
}

/// The ports that carry an interface's frames.
fn ports_of(config: &Config, at: usize) -> Vec<usize> {
    let direct = |at: usize| match &config.interfaces[at].link {
        Link::Port => Some(at),
        Link::Vlan { port, .. } => Some(port.index),
        Link::Loopback | Link::Bridge { .. } => None,
    };
    match &config.interfaces[at].link {
        Link::Bridge { members, .. } => members.iter().filter_map(|member| direct(member.index)).collect(),
        _ => direct(at).into_iter().collect(),
    }
}

/// The interface that a message is about, and the state of its link.
fn news(message: &Message<'_>) -> Option<(u32, LinkState)> {
    let (interface, flags) = (number(message.body, 4)?, number(message.body, 8)?);
    let state = match message.kind {
        kind::NEW_LINK => state(flags),
        kind::DELETE_LINK => LinkState::Gone,
        _ => return None,
    };
    (message.body.first() == Some(&AF_UNSPEC)).then_some((interface, state))
}

const fn state(flags: u32) -> LinkState {
    match (flags & UP != 0, flags & LOWER_UP != 0) {
        (false, _) => LinkState::Down,
        (true, false) => LinkState::NoCarrier,
        (true, true) => LinkState::Up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: u8, flags: u32) -> Vec<u8> {
        let mut header = [0; 16];
        header[0] = family;
        header[4..8].copy_from_slice(&7u32.to_ne_bytes());
        header[8..12].copy_from_slice(&flags.to_ne_bytes());
        Request::new(kind, 0, &header).numbered(1)
    }

    #[test]
    fn the_kernels_words_are_states() {
        let said = |kind, family, flags| Messages(&message(kind, family, flags)).find_map(|message| news(&message));
        assert_eq!(said(kind::NEW_LINK, AF_UNSPEC, UP | LOWER_UP), Some((7, LinkState::Up)));
        assert_eq!(said(kind::NEW_LINK, AF_UNSPEC, UP), Some((7, LinkState::NoCarrier)));
        assert_eq!(said(kind::NEW_LINK, AF_UNSPEC, LOWER_UP), Some((7, LinkState::Down)));
        assert_eq!(said(kind::DELETE_LINK, AF_UNSPEC, UP | LOWER_UP), Some((7, LinkState::Gone)));
        // It leaves a bridge, that is all.
        assert_eq!(said(kind::DELETE_LINK, 7, UP | LOWER_UP), None);
        assert_eq!(said(kind::NEW_ROUTE, AF_UNSPEC, UP), None);
    }
}
