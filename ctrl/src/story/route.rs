//! Where a packet is sent, and by what: a rule, a prefix, a next hop of several.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use tidegate_dataplane::l3::policy::{Rule, Way};
use tidegate_dataplane::l3::{Action, Group, Table, VrfId};
use tidegate_dataplane::meta::{Flags, Meta};
use tidegate_dataplane::see::{Record, Step};
use tidegate_dataplane::stats::Stage;

use super::Surroundings;
use crate::admin::show::action_word;

/// By what the tables send a packet on.
pub(super) struct Found<'a> {
    /// The rule that decided.
    pub(super) policy: Option<&'a Rule>,
    /// The domain whose routes decided; `None` if the rule leads to next hops of its own.
    pub(super) domain: Option<VrfId>,
    /// The longest prefix in it with the destination.
    pub(super) prefix: Option<IpNet>,
    /// The number of the next hop, or of those that share the flows.
    next_hop: Option<u32>,
}

impl<'a> Found<'a> {
    /// `None` if it goes the way of the packet that it is a piece of, or stays on the link: no table is asked then.
    pub(super) fn of(record: &'a Record) -> Option<Self> {
        let table = &record.tables.as_deref()?.l3;
        let destination = record.routed_to().filter(|destination| !is_on_link(*destination))?;
        let step = record.steps.iter().find(|step| step.stage == Stage::L3Route)?;
        if step.meta.flags.contains(Flags::ROUTED) {
            return None;
        }
        let policy = rule(record, table);
        let domain = match policy.map(|rule| rule.way) {
            Some(Way::Hop(next_hop)) => {
                return Some(Self { policy, domain: None, prefix: None, next_hop: Some(next_hop) });
            }
            Some(Way::Domain(vrf)) => vrf,
            None => step.meta.vrf,
        };
        let (prefix, next_hop) = table.matched(domain, destination).unzip();
        Some(Self { policy, domain: Some(domain), prefix, next_hop })
    }
}

/// The rule that decided about a packet.
pub(super) fn rule<'a>(record: &Record, table: &'a Table) -> Option<&'a Rule> {
    let step = record.steps.iter().find(|step| step.stage == Stage::L3Policy)?;
    let number = step.meta.flags.contains(Flags::POLICY).then_some(step.meta.next_hop)?;
    table.policies().rules().get(number as usize)
}

/// What the rules say.
pub(super) fn ruled(record: &Record, step: &Step, around: &Surroundings<'_>) -> Vec<String> {
    let Some(tables) = record.tables.as_deref() else { return Vec::new() };
    let table = &tables.l3;
    let Some(rule) = rule(record, table) else {
        let piece = step.meta.flags.contains(Flags::ROUTED);
        return vec![
            if piece { "a piece of a packet that was routed" } else { "no rule fits: the routes decide" }.to_owned(),
        ];
    };
    let way = match rule.way {
        Way::Domain(vrf) if vrf == step.meta.vrf => "leaves it to the routes".to_owned(),
        Way::Domain(vrf) => format!("sends it where the routes of {} lead", domain(table, vrf)),
        Way::Hop(next_hop) => match table.next_hop(next_hop).action {
            Action::Forward => format!("sends it {}", hop(table, next_hop, around)),
            Action::Spread(group) => {
                let count = table.group(group).map_or(0, |group| group.members().len());
                format!("sends it to one of {count} next hops")
            }
            action => format!("says `{}`", action_word(action)),
        },
    };
    vec![format!("the first rule that fits is `{}`, which {way}", rule.name)]
}

/// What the routes say.
pub(super) fn routed(record: &Record, step: &Step, around: &Surroundings<'_>) -> Vec<String> {
    let Some(tables) = record.tables.as_deref() else { return Vec::new() };
    let (table, Some(destination)) = (&tables.l3, record.routed_to()) else { return Vec::new() };
    let to = || match table.next_hop(step.meta.next_hop).action {
        Action::Forward => {
            let way = hop(table, step.meta.next_hop, around);
            Some(format!("{way}, which takes {} bytes", step.meta.mtu))
        }
        Action::NoRoute => None,
        action => Some(format!("its route is `{}`", action_word(action))),
    };
    if is_on_link(destination) {
        let by = "a link-local address is on the link the packet names".to_owned();
        return [Some(by), to()].into_iter().flatten().collect();
    }
    if step.meta.flags.contains(Flags::ROUTED) {
        return ["it goes the way of the packet that it is a piece of".to_owned()].into_iter().chain(to()).collect();
    }
    let Some(found) = Found::of(record) else { return Vec::new() };
    let by = match (found.domain, found.prefix) {
        (None, _) => "the rule says where".to_owned(),
        (Some(vrf), prefix) => {
            let of = if found.policy.is_some() { format!(" of {}", domain(table, vrf)) } else { of_domain(table, vrf) };
            prefix.map_or_else(
                || format!("no prefix{of} has {destination} in it"),
                |net| format!("the longest prefix{of} with {destination} in it is {net}"),
            )
        }
    };
    [Some(by), member(table, found.next_hop, &step.meta, around), to()].into_iter().flatten().collect()
}

/// Which of several next hops the packet's flow takes, if there are several.
fn member(table: &Table, next_hop: Option<u32>, meta: &Meta, around: &Surroundings<'_>) -> Option<String> {
    let Action::Spread(group) = table.next_hop(next_hop?).action else { return None };
    let members = table.group(group)?.members();
    let all: u32 = members.iter().map(|member| u32::from(member.weight)).sum();
    let taken = members.iter().find(|member| member.next_hop == meta.next_hop)?;
    let silent = members.iter().filter(|member| table.link().is_silent(member.next_hop)).count();
    let passed_over = match silent {
        0 => String::new(),
        1 => ", of which one is silent,".to_owned(),
        _ if silent == members.len() => ", all of them silent,".to_owned(),
        _ => format!(", of which {silent} are silent,"),
    };
    Some(format!(
        "of its {} next hops{passed_over} the flow takes the one {}, with {} of {all} shares",
        members.len(),
        hop(table, taken.next_hop, around),
        taken.weight
    ))
}

/// A next hop that packets are sent to.
fn hop(table: &Table, next_hop: u32, around: &Surroundings<'_>) -> String {
    let gateway = table.link().adjacencies().get(next_hop as usize).and_then(|next| next.gateway);
    let interface = around.interface(table.next_hop(next_hop).interface);
    gateway.map_or_else(
        || format!("on the link of {interface}"),
        |gateway| format!("by the router {gateway} on {interface}"),
    )
}

/// Says which domain's prefixes are meant, if they are not those of the main one.
fn of_domain(table: &Table, vrf: VrfId) -> String {
    if vrf == VrfId::MAIN { String::new() } else { format!(" of {}", domain(table, vrf)) }
}

/// The name of a domain, if it is not the main one.
pub(super) fn name(record: &Record, vrf: VrfId) -> Option<&str> {
    let table = &record.tables.as_deref()?.l3;
    (vrf != VrfId::MAIN).then(|| table.vrf(vrf).name())
}

/// Where to look when there is no way. A rule that says so itself is named already, and what is on a link is in no table.
pub(super) fn hint(record: &Record) -> Option<String> {
    let (found, destination) = (Found::of(record)?, record.routed_to()?);
    let vrf = name(record, found.domain?).map(|name| format!(" --vrf {name}")).unwrap_or_default();
    Some(format!("`tidegate show routes --longest {destination}{vrf}` shows what there is"))
}

/// Where the source of a packet lies that does not come from there, by the table that was asked.
pub(super) fn elsewhere(record: &Record, meta: &Meta, around: &Surroundings<'_>) -> Option<String> {
    let table = &record.tables.as_deref()?.l3;
    let (source, _) = record.facts().addresses?;
    let of = of_domain(table, meta.vrf);
    let Some((net, next_hop)) = table.matched(meta.vrf, source) else {
        return Some(format!("no prefix{of} has {source} in it"));
    };
    let lies = |behind: String| {
        format!("{source} lies behind {behind} ({net}{of}), and came in by {}", around.interface(meta.interface))
    };
    let hop = table.next_hop(next_hop);
    Some(match hop.action {
        Action::Forward => lies(around.interface(hop.interface)),
        Action::Spread(group) => {
            let members = table.group(group).map(Group::members).unwrap_or_default();
            let by = members.iter().map(|member| around.interface(table.next_hop(member.next_hop).interface));
            lies(by.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" and "))
        }
        Action::Blackhole => format!("{source} leads into a blackhole ({net}{of})"),
        action => format!("the way to {source} is `{}` ({net}{of})", action_word(action)),
    })
}

fn is_on_link(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn domain(table: &Table, vrf: VrfId) -> String {
    if vrf == VrfId::MAIN { "the main domain".to_owned() } else { format!("the VRF `{}`", table.vrf(vrf).name()) }
}
