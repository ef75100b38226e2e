//! The kernel's side of a host link: the TAP looks to it like the port, with the same hardware address, MTU and IP addresses.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use tidegate_dataplane::io::MacAddr;
use tidegate_dataplane::l2::table::link_local_of;

use super::domain;
use super::socket::Questions;
use super::wire::{Message, Request, flag, kind, nested, number};
use crate::compile::Tentative;
use crate::config::Config;
use crate::config::model::{Interface, Link, VrfTable};

/// Attributes of a link (`linux/if_link.h`).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// No link-local address of the kernel's own making.
const ADDR_GEN_MODE_NONE: u8 = 1;
/// Attributes of an address (`linux/if_addr.h`).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
/// `struct ifa_cacheinfo` of an address that is never the source of what does not ask for it, and valid for ever.
const NOT_PREFERRED: [u8; 16] = [0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0];
/// Bytes of `struct ifaddrmsg`.
const ADDRESS_HEADER: usize = 8;
/// In use at once: the data plane answers for the address already.
const IFA_F_NODAD: u8 = 2;
const SCOPE_LINK: u8 = 253;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const UP: u32 = 1;

/// Why the kernel's side could not be set up.
#[derive(Debug)]
pub struct LinkError {
    interface: String,
    step: Step,
    error: io::Error,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Find,
    Dress,
    Add(Own),
    Remove(Own),
    Belong(u32),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, error, .. } = self;
        match self.step {
            Step::Find => write!(f, "cannot ask the kernel about {interface}: {error}"),
            Step::Dress => write!(f, "cannot give {interface} the port's hardware address: {error}"),
            Step::Add(own) => write!(f, "cannot give {interface} the address {}: {error}", own.net),
            Step::Remove(own) => write!(f, "cannot take the address {} from {interface}: {error}", own.net),
            Step::Belong(0) => write!(f, "cannot take {interface} out of its VRF device: {error}"),
            Step::Belong(table) => write!(
                f,
                "cannot put {interface} into the VRF device of table {table}: {error}; it has no addresses, so that nothing of \
                 the domain is in another"
            ),
        }
    }
}

impl std::error::Error for LinkError {}

/// An address of the kernel's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Own {
    net: IpNet,
    /// It is a loopback's, and here because the loopback has no end of its own: what the kernel sends by this end is not from it, unless
    /// whoever sends says so.
    of_loopback: bool,
}

impl Own {
    const fn of_port(net: IpNet) -> Self {
        Self { net, of_loopback: false }
    }

    const fn of_loopback(net: IpNet) -> Self {
        Self { net, of_loopback: true }
    }
}

/// The kernel's end of a host link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// Name of the gateway's interface that it is the kernel's image of.
    pub of: String,
    /// The number of that interface.
    pub number: usize,
    /// The table of the VRF device that it belongs to; 0 for none, and `None` when the kernel refused.
    table: Option<u32>,
    /// Its own link-local address, where the kernel has IPv6.
    link_local: Option<IpNet>,
    /// What it was last asked to have.
    wanted: Vec<Own>,
    /// What of it the kernel has.
    has: Vec<Own>,
}

impl HostInterface {
    /// Makes the existing interface `name` the kernel's image of an interface of the gateway: its hardware address, and the link-local
    /// address made from it; then brings it up. It gets its addresses by [`follow`].
    ///
    /// # Errors
    /// The kernel refused; the interface is left half made.
    pub fn dress(name: &str, (of, number): (&str, usize), mac: MacAddr) -> Result<Self, LinkError> {
        let failed = |step| move |error| LinkError { interface: name.to_owned(), step, error };
        let mut kernel = Questions::open().map_err(failed(Step::Find))?;
        let index = find(&mut kernel, name).map_err(failed(Step::Find))?;
        let with_ipv6 = settings(name);
        let down = Request::new(kind::NEW_LINK, flag::ACKNOWLEDGE, &link_header(index, false));
        let mut down = down.attribute(IFLA_ADDRESS, &mac.0);
        if with_ipv6 {
            let mode = nested(&[(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE])]);
            down = down.attribute(IFLA_AF_SPEC, &nested(&[(AF_INET6.into(), &mode)]));
        }
        kernel.command(down).map_err(failed(Step::Dress))?;
        let up = Request::new(kind::NEW_LINK, flag::ACKNOWLEDGE, &link_header(index, true));
        kernel.command(up).map_err(failed(Step::Dress))?;
        let (wanted, has) = Default::default();
        let link_local = with_ipv6.then(|| link_local(mac));
        let (name, of) = (name.to_owned(), of.to_owned());
        let interface = Self { name, index, of, number, table: Some(0), link_local, wanted, has };
        interface.add_link_local(&mut kernel)?;
        Ok(interface)
    }

    /// Follows the gateway's interface into the kernel's routing domain that has the table of its own; without one, the main domain.
    fn belong(&mut self, vrf: Option<&VrfTable>) -> Result<(), LinkError> {
        let (name, table) = vrf.map_or(("", 0), |vrf| (vrf.name.0.as_str(), vrf.table.unwrap_or(0)));
        if self.table == Some(table) {
            return Ok(());
        }
        let put = |index: u32| -> io::Result<()> {
            let mut kernel = Questions::open()?;
            let master = if table == 0 { 0 } else { domain::device(&mut kernel, table, name)? };
            domain::enslave(&mut kernel, index, master)
        };
        let outcome = put(self.index);
        let was_out = self.table.is_none();
        self.table = outcome.is_ok().then_some(table);
        if outcome.is_err() {
            self.speak(false);
        } else if was_out {
            self.speak(true);
            self.add_link_local(&mut Questions::open().map_err(|error| self.failed(Step::Find, error))?)?;
        }
        outcome.map_err(|error| self.failed(Step::Belong(table), error))
    }

    /// Whether the kernel forwards what comes by it, and speaks IPv6 there. While it is in the wrong domain, neither: what comes for the
    /// domain's addresses is not for another domain's, nor are its neighbours.
    fn speak(&self, speaks: bool) {
        let (of_all, none) = ("/proc/sys/net/ipv4/conf/all/forwarding", || b"0".to_vec());
        let forwarding = if speaks { fs::read(of_all).unwrap_or_else(|_| none()) } else { none() };
        let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{}/forwarding", self.name), forwarding);
        let disabled = if speaks { "0" } else { "1" };
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name), disabled);
    }

    fn add_link_local(&self, kernel: &mut Questions) -> Result<(), LinkError> {
        self.link_local.map_or(Ok(()), |address| self.add(kernel, Own::of_port(address)))
    }

    /// Follows the gateway's interface to other addresses, and gives back what somebody has taken from the kernel's end. What the kernel
    /// refuses keeps nothing else from being done; it is returned, each with its reason, and tried again when this is called again.
    fn readdress(&mut self, wanted: Vec<Own>) -> Vec<LinkError> {
        self.wanted = wanted;
        let mut kernel = match Questions::open() {
            Ok(kernel) => kernel,
            Err(error) => return vec![self.failed(Step::Find, error)],
        };
        let mut errors = match self.present(&mut kernel) {
            Ok(present) => {
                self.miss(&present).then(|| self.add_link_local(&mut kernel).err()).flatten().into_iter().collect()
            }
            Err(error) => vec![self.failed(Step::Find, error)],
        };
        errors.extend(self.follow(|own, change| own.make(&mut kernel, change)));
        errors
    }

    /// The addresses that the kernel's end has.
    fn present(&self, kernel: &mut Questions) -> io::Result<Vec<IpNet>> {
        let all = Request::new(kind::GET_ADDRESS, flag::DUMP, &[0; ADDRESS_HEADER]);
        kernel.dump(all, |message| address_of(message, self.index))
    }

    /// Forgets what is not `present` any more. Returns whether the link-local address is missing too.
    fn miss(&mut self, present: &[IpNet]) -> bool {
        for gone in self.has.extract_if(.., |own| !present.contains(&own.net)) {
            tracing::warn!(interface = self.name, address = %gone.net, "somebody has taken the address from the kernel's end");
        }
        // In the wrong domain it has none.
        self.table.is_some() && self.link_local.is_some_and(|own| !present.contains(&own))
    }

    /// Makes one after the other the changes between what the kernel has and what is wanted, new addresses first: connections of the
    /// kernel from an address that stays in a subnet are not in between.
    fn follow(&mut self, mut make: impl FnMut(&Self, Step) -> Result<(), LinkError>) -> Vec<LinkError> {
        let (mut has, mut errors) = (Vec::new(), Vec::new());
        for own in self.wanted.iter().copied() {
            let given = if self.has.contains(&own) { Ok(()) } else { make(self, Step::Add(own)) };
            match given {
                Ok(()) => has.push(own),
                Err(error) => errors.push(error),
            }
        }
        // An address that went from a loopback to the port is replaced where it is.
        let stays = |own: &Own| self.wanted.iter().any(|wanted| wanted.net == own.net);
        for own in self.has.iter().copied().filter(|own| !stays(own)) {
            if let Err(error) = make(self, Step::Remove(own)) {
                has.push(own);
                errors.push(error);
            }
        }
        self.has = has;
        errors
    }

    fn make(&self, kernel: &mut Questions, change: Step) -> Result<(), LinkError> {
        let done = match change {
            Step::Add(own) => return self.add(kernel, own),
            Step::Remove(own) => kernel.command(self.address(kind::DELETE_ADDRESS, 0, own)),
            Step::Find | Step::Dress | Step::Belong(_) => Ok(()),
        };
        match done {
            // Somebody else was quicker.
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
            other => other.map_err(|error| self.failed(change, error)),
        }
    }

    fn add(&self, kernel: &mut Questions, own: Own) -> Result<(), LinkError> {
        let request = self.address(kind::NEW_ADDRESS, flag::CREATE | flag::REPLACE, own);
        kernel.command(request).map_err(|error| self.failed(Step::Add(own), error))
    }

    fn failed(&self, step: Step, error: io::Error) -> LinkError {
        LinkError { interface: self.name.clone(), step, error }
    }

    fn address(&self, kind: u16, flags: u16, Own { net: address, of_loopback }: Own) -> Request {
        let (family, flag) = if address.addr().is_ipv4() { (AF_INET, 0) } else { (AF_INET6, IFA_F_NODAD) };
        let scope = if is_link_local(address.addr()) { SCOPE_LINK } else { 0 };
        let mut header: [u8; ADDRESS_HEADER] = [family, address.prefix_len(), flag, scope, 0, 0, 0, 0];
        header[4..].copy_from_slice(&self.index.to_ne_bytes());
        let request = Request::new(kind, flags | flag::ACKNOWLEDGE, &header);
        match address {
            IpNet::V4(net) => {
                let own = net.addr().octets();
                let request = request.attribute(IFA_LOCAL, &own).attribute(IFA_ADDRESS, &own);
                // A /31 has no broadcast address (RFC 3021), nor has a /32.
                if net.prefix_len() < 31 {
                    request.attribute(IFA_BROADCAST, &net.broadcast().octets())
                } else {
                    request
                }
            }
            IpNet::V6(net) => {
                let request = request.attribute(IFA_ADDRESS, &net.addr().octets());
                // The kernel would choose it for whatever it has most bits in common with (RFC 6724 §5, rule 8; rule 3 comes before).
                if of_loopback { request.attribute(IFA_CACHEINFO, &NOT_PREFERRED) } else { request }
            }
        }
    }
}

/// Gives the kernel's ends the addresses that the gateway's interfaces use: not those of which it is not known yet whether another
/// station has them; those of loopbacks to the first end of their domain; and puts each into its routing domain. What the kernel refuses
/// is logged; it is tried `again` when asked for, or when other addresses are wanted. One that is in the wrong domain gets no address.
pub fn follow(hosts: &mut [HostInterface], config: &Config, tentative: &Tentative, again: bool) {
    for host in hosts {
        let own = config.interfaces.iter().find(|own| own.name.0 == host.of);
        let mut addresses = own.map(|own| addresses(own, config, tentative)).unwrap_or_default();
        let vrf = own.and_then(|own| config.kernel_routes.vrfs.get(own.vrf.as_ref()?.index));
        if again && let Err(error) = host.belong(vrf) {
            tracing::error!("{error}");
        }
        if host.table.is_none() {
            addresses.clear();
        }
        if !again && host.wanted == addresses {
            continue;
        }
        for error in host.readdress(addresses) {
            tracing::error!("{error}; the kernel and the gateway have different addresses now");
        }
    }
}

/// What the kernel's end of an interface is to have.
fn addresses(own: &Interface, config: &Config, tentative: &Tentative) -> Vec<Own> {
    let domain = |interface: &Interface| interface.vrf.as_ref().map(|vrf| vrf.index);
    let inside = || config.interfaces.iter().filter(|other| domain(other) == domain(own));
    let is_first = inside().find(|other| other.host.is_some()).is_some_and(|first| first.name == own.name);
    let loopbacks = inside().filter(|other| is_first && other.link == Link::Loopback);
    let theirs = loopbacks.flat_map(|loopback| tentative.in_use(loopback)).map(Own::of_loopback);
    tentative.in_use(own).into_iter().map(Own::of_port).chain(theirs).collect()
}

/// The address that a message tells of, if it is of the interface `index`.
fn address_of(message: &Message<'_>, index: u32) -> Option<IpNet> {
    let [family, length] = *message.body.first_chunk()?;
    let value = |wanted| message.attributes(ADDRESS_HEADER).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let address: IpAddr = match family {
        // Of a link with two ends, the other attribute is the other end.
        AF_INET => value(IFA_LOCAL)?.first_chunk::<4>().map(|own| (*own).into())?,
        AF_INET6 => value(IFA_ADDRESS)?.first_chunk::<16>().map(|own| (*own).into())?,
        _ => return None,
    };
    (number(message.body, 4)? == index).then(|| IpNet::new(address, length).ok())?
}

fn find(kernel: &mut Questions, name: &str) -> io::Result<u32> {
    let named = [name.as_bytes(), &[0]].concat();
    let request = Request::new(kind::GET_LINK, flag::ACKNOWLEDGE, &[0; 16]).attribute(IFLA_IFNAME, &named);
    let index = kernel.ask(request, |body| number(body, 4))?;
    index.flatten().ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

/// `struct ifinfomsg`: family and type, number, flags, which flags change.
fn link_header(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&(if up { UP } else { 0 }).to_ne_bytes());
    header[12..].copy_from_slice(&UP.to_ne_bytes());
    header
}

/// The interface's settings that a port of a router wants. Returns whether the kernel has IPv6.
fn settings(name: &str) -> bool {
    // Answers take the way that routes say, not the way that packets came: strict filtering would lose them. Refused at worst in a
    // container whose /proc/sys is read-only; then the defaults stay.
    let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0");
    // When the first address of a subnet is taken away, the others stay.
    let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{name}/promote_secondaries"), "1");
    let ipv6 = format!("/proc/sys/net/ipv6/conf/{name}");
    // A router does not believe what others advertise (RFC 4861 §6.2.7).
    let _ = fs::write(format!("{ipv6}/accept_ra"), "0");
    // As IPv4 has it: down and up again is no reason to lose addresses.
    let _ = fs::write(format!("{ipv6}/keep_addr_on_down"), "1");
    let _ = fs::write(format!("{ipv6}/disable_ipv6"), "0");
    fs::read(format!("{ipv6}/disable_ipv6")).is_ok_and(|value| value.trim_ascii() == b"0")
}

fn link_local(mac: MacAddr) -> IpNet {
    // 64 is a valid length.
    Ipv6Net::new(link_local_of(mac), 64).unwrap_or_default().into()
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if Ipv6Addr::segments(&address)[0] & 0xffc0 == 0xfe80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn host(has: Vec<Own>) -> HostInterface {
        let (name, of) = ("tg0".to_owned(), "lan".to_owned());
        HostInterface { name, index: 7, of, number: 0, table: Some(0), link_local: None, wanted: Vec::new(), has }
    }

    /// What of it is done, and what is refused.
    fn steps(host: &mut HostInterface, wanted: &[Own], refused: &[Own]) -> (usize, Vec<(bool, Own)>) {
        host.wanted = wanted.to_vec();
        let mut asked = Vec::new();
        let errors = host.follow(|end, change| {
            let (Step::Add(own) | Step::Remove(own)) = change else { unreachable!() };
            asked.push((matches!(change, Step::Add(_)), own));
            let error = || end.failed(change, io::Error::from_raw_os_error(libc::EACCES));
            if refused.contains(&own) { Err(error()) } else { Ok(()) }
        });
        (errors.len(), asked)
    }

    #[test]
    fn what_is_refused_keeps_nothing_else_from_being_done_and_is_tried_again() {
        let [a, b, c, d] =
            ["10.0.0.1/24", "10.0.0.2/24", "fd00::1/64", "10.9.0.1/24"].map(|text| Own::of_port(net(text)));
        let mut host = host(vec![a, d]);
        let expected = vec![(true, b), (true, c), (false, a), (false, d)];
        assert_eq!(steps(&mut host, &[b, c], &[b, d]), (2, expected));
        assert_eq!(host.has, [c, d]);
        assert_eq!(steps(&mut host, &[b, c], &[]), (0, vec![(true, b), (false, d)]));
        assert_eq!(host.has, [b, c]);
    }

    #[test]
    fn what_somebody_took_away_is_given_back() {
        let [a, b] = ["10.0.0.1/24", "fd00::1/64"].map(|text| Own::of_port(net(text)));
        let mut host = host(vec![a, b]);
        let link_local = net("fe80::1/64");
        host.link_local = Some(link_local);
        assert!(!host.miss(&[a.net, b.net, link_local]));
        assert_eq!(steps(&mut host, &[a, b], &[]), (0, vec![]));
        assert!(host.miss(&[b.net]), "the link-local address too");
        assert_eq!(steps(&mut host, &[a, b], &[]), (0, vec![(true, a)]));
    }

    #[test]
    fn an_address_that_moves_from_a_loopback_to_the_port_is_not_taken_away_behind_it() {
        let net = net("fd00::1/128");
        let mut host = host(vec![Own::of_loopback(net)]);
        assert_eq!(steps(&mut host, &[Own::of_port(net)], &[]), (0, vec![(true, Own::of_port(net))]));
    }

    #[test]
    fn what_the_kernel_is_told_of_an_address_is_what_it_is_read_from() {
        let host = host(Vec::new());
        for text in ["10.0.0.1/24", "192.168.255.1/32", "fd00::1/64", "fdff::1/128"] {
            for own in [Own::of_port(net(text)), Own::of_loopback(net(text))] {
                let bytes = host.address(kind::NEW_ADDRESS, 0, own).numbered(1);
                let message = super::super::wire::Messages(&bytes).next().unwrap();
                assert_eq!((address_of(&message, 7), address_of(&message, 8)), (Some(own.net), None));
            }
        }
    }
}
