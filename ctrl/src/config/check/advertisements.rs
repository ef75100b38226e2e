//! What hosts are told by router advertisements: the variables of RFC 4861 §6.2.1 and how they belong together.

use ipnet::{IpNet, Ipv6Net};
use tidegate_dataplane::l3::is_host;

use super::Checker;
use crate::config::model;
use crate::config::raw::{AdvertisedPrefix, InterfaceKeys, RouterAdvertisements};
use crate::config::slot::Optional;
use crate::diagnostic::{Code, Diagnostic, Span};

/// Name servers in one option: RFC 8106 allows more, but an advertisement must fit the smallest MTU with everything else.
const MAX_DNS: usize = 8;
/// Least MTU of a link (RFC 8200 §5).
const LEAST_MTU: u16 = 1280;

/// The advertisements of an interface, whose MTU is not known if there is a mistake in it.
pub(super) fn check(
    keys: &InterfaceKeys,
    raw: &RouterAdvertisements,
    mtu: Option<u16>,
    cx: &mut Checker<'_>,
) -> model::RouterAdvertisements {
    let addresses = keys.addresses.iter().filter(|address| address.value.0.addr().is_ipv6()).count();
    if addresses == 0 && !cx.broken(keys.addresses.span) {
        let message = "this interface has no IPv6 address whose prefix could be advertised";
        let nothing = Diagnostic::error(Code::Conflict, raw.head, message);
        cx.push(nothing.help("add one to `addresses`, as `\"2001:db8:1::1/64\"`, or remove the table"));
    }
    let least_interval_ms = least_interval(raw, cx);
    let (interval, lifetime): (u32, u16) = (raw.interval_s.to(), raw.lifetime_s.to());
    if lifetime != 0 && u32::from(lifetime) < interval {
        let message = format!(
            "hosts would forget the gateway after {lifetime} s, before the next advertisement, up to {interval} s later"
        );
        let short = Diagnostic::error(Code::Conflict, raw.lifetime_s.span, message);
        cx.push(short.help(format!("write `lifetime_s = {}`, or a shorter `interval_s`", (3 * interval).min(9000))));
    }
    name_servers(raw, cx);
    model::RouterAdvertisements {
        interval_s: interval,
        least_interval_ms,
        lifetime_s: lifetime,
        managed: raw.managed.value,
        other_configuration: raw.other_configuration.value,
        hop_limit: raw.hop_limit.to(),
        reachable_ms: raw.reachable_ms.to(),
        retransmit_ms: raw.retransmit_ms.to(),
        mtu: link_mtu(raw, mtu, cx),
        prefixes: prefixes(keys, raw, cx),
        dns: raw.dns.iter().map(|server| server.value).collect(),
    }
}

/// What hosts could not ask is not told to them.
fn name_servers(raw: &RouterAdvertisements, cx: &mut Checker<'_>) {
    if raw.dns.len() > MAX_DNS {
        let message = format!("{} name servers; at most {MAX_DNS} fit an advertisement", raw.dns.len());
        cx.push(Diagnostic::error(Code::OutOfRange, raw.dns.span, message));
    }
    for (at, server) in raw.dns.iter().enumerate() {
        let address = server.value;
        if !is_host(address.into()) {
            let message = format!("{address} is no host's address: hosts cannot ask there");
            let wrong = Diagnostic::error(Code::InvalidValue, server.span, message);
            cx.push(wrong.help("give the unicast address of a name server, as \"2001:db8:1::53\""));
        }
        if let Some(first) = raw.dns.iter().take(at).find(|first| first.value == address) {
            let twice = Diagnostic::error(Code::Duplicate, server.span, format!("{address} is listed twice"));
            cx.push(twice.related(first.span, "the first is here"));
        }
    }
}

/// MinRtrAdvInterval, milliseconds. By default a third of the longest, as far as that leaves the three seconds that must be between
/// two advertisements, else three quarters of it.
fn least_interval(raw: &RouterAdvertisements, cx: &mut Checker<'_>) -> u32 {
    let most_ms = 1000 * raw.interval_s.to::<u32>();
    let Some(least) = raw.least_interval_s.ok() else {
        return if most_ms < 9000 { most_ms * 3 / 4 } else { most_ms / 3 };
    };
    let least_ms = 1000 * least.to::<u32>();
    if least_ms > most_ms * 3 / 4 {
        let (least_s, most_s) = (least_ms / 1000, most_ms / 1000);
        let message = format!(
            "{least_s} s between two advertisements at least and {most_s} s at most leave too little to chance"
        );
        let wrong = Diagnostic::error(Code::Conflict, least.span, message);
        cx.push(wrong.help(format!("write `least_interval_s = {}` or less (RFC 4861 §6.2.1)", most_s * 3 / 4)));
    }
    least_ms
}

/// AdvLinkMTU: what hosts send must fit this interface too.
fn link_mtu(raw: &RouterAdvertisements, own: Option<u16>, cx: &mut Checker<'_>) -> Option<u16> {
    let Some(given) = raw.mtu.ok() else { return own };
    let mtu: u16 = given.to();
    let most = own.unwrap_or(u16::MAX);
    if mtu != 0 && !(LEAST_MTU..=most).contains(&mtu) {
        let message = if mtu < LEAST_MTU {
            format!("a link with IPv6 has an MTU of {LEAST_MTU} or more (RFC 8200 §5)")
        } else {
            format!("hosts would send packets of {mtu} bytes, and the interface has an MTU of {most}")
        };
        let wrong = Diagnostic::error(Code::OutOfRange, given.span, message);
        cx.push(wrong.help("leave it out to advertise the interface's, or write `mtu = 0` to say nothing of it"));
    }
    (mtu != 0).then_some(mtu)
}

/// AdvPrefixList: the prefixes of the interface's addresses, each once, without the one of link-local addresses.
fn prefixes(keys: &InterfaceKeys, raw: &RouterAdvertisements, cx: &mut Checker<'_>) -> Vec<model::AdvertisedPrefix> {
    let nets = keys.addresses.iter().filter_map(|address| match address.value.0 {
        IpNet::V6(net) => Some(net.trunc()),
        IpNet::V4(_) => None,
    });
    let mut own: Vec<Ipv6Net> = Vec::new();
    for net in nets.filter(|net| net.prefix_len() < 128 && !net.addr().is_unicast_link_local()) {
        if !own.contains(&net) {
            own.push(net);
        }
    }
    let mut said: Vec<(Ipv6Net, &AdvertisedPrefix)> = Vec::new();
    for item in raw.prefixes.iter() {
        let Some(prefix) = item.prefix.ok() else { continue };
        let net = own.iter().copied().find(|net| IpNet::V6(*net) == prefix.value.0);
        let Some(net) = net else {
            if !cx.broken(keys.addresses.span) {
                let message = format!("no address of the interface is in `{}`", prefix.value.0);
                let known: Vec<_> = own.iter().map(|net| format!("`\"{net}\"`")).collect();
                let wrong = Diagnostic::error(Code::UnknownReference, prefix.span, message);
                cx.push(if known.is_empty() {
                    wrong
                } else {
                    wrong.help(format!("its prefixes: {}", known.join(", ")))
                });
            }
            continue;
        };
        if said.iter().any(|(before, _)| *before == net) {
            cx.push(Diagnostic::error(Code::Duplicate, prefix.span, format!("`{net}` is named twice")));
        }
        said.push((net, &item.value));
    }
    ordered(raw.valid_lifetime_s.to(), raw.preferred_lifetime_s.to(), lifetime_span(raw), cx);
    let item = |net: Ipv6Net| said.iter().find(|(said, _)| *said == net).map(|(_, item)| *item);
    own.into_iter().filter_map(|net| prefix(net, raw, item(net), cx)).collect()
}

/// What is told about one prefix; `None` if nothing is.
fn prefix(
    net: Ipv6Net,
    raw: &RouterAdvertisements,
    item: Option<&AdvertisedPrefix>,
    cx: &mut Checker<'_>,
) -> Option<model::AdvertisedPrefix> {
    if item.is_some_and(|item| !item.advertise.value) {
        return None;
    }
    let flag = |own: fn(&AdvertisedPrefix) -> &Optional<bool>, all: bool| {
        item.and_then(|item| own(item).ok()).map_or(all, |own| own.value)
    };
    let own_valid = item.and_then(|item| item.valid_lifetime_s.ok());
    let own_preferred = item.and_then(|item| item.preferred_lifetime_s.ok());
    let valid = own_valid.map_or(raw.valid_lifetime_s.to(), |own| own.to());
    let preferred = own_preferred.map_or(raw.preferred_lifetime_s.to(), |own| own.to());
    if let Some(span) = own_preferred.map(|own| own.span).or(own_valid.map(|own| own.span)) {
        ordered(valid, preferred, span, cx);
    }
    Some(model::AdvertisedPrefix {
        prefix: net,
        on_link: flag(|item| &item.on_link, raw.on_link.value),
        // RFC 4862 §5.5.3 (d): hosts make addresses only in prefixes that leave 64 bits for them.
        autonomous: flag(|item| &item.autonomous, raw.autonomous.value) && net.prefix_len() == 64,
        valid_lifetime_s: valid,
        preferred_lifetime_s: preferred,
    })
}

fn lifetime_span(raw: &RouterAdvertisements) -> Span {
    if raw.preferred_lifetime_s.given { raw.preferred_lifetime_s.span } else { raw.valid_lifetime_s.span }
}

fn ordered(valid: u32, preferred: u32, span: Span, cx: &mut Checker<'_>) {
    if preferred > valid {
        let message = format!("addresses would be preferred for {preferred} s but valid only for {valid} s");
        let wrong = Diagnostic::error(Code::Conflict, span, message);
        cx.push(wrong.help(format!("write `preferred_lifetime_s = {valid}` or less (RFC 4861 §4.6.2)")));
    }
}
