//! Rules of policy routing.

use std::path::Path;
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_ctrl::admin::show::{Hop, Policy};

use super::counted::{Before, MOMENT, rates};
use super::{ask, json, parameter};
use crate::cli::show::{Policies, View};
use crate::command::table::grid;

#[derive(Deserialize)]
struct Answer {
    policies: Vec<Policy>,
    uptime_ms: u64,
}

/// A rule with its rates.
#[derive(Serialize)]
struct Rated<'a> {
    #[serde(flatten)]
    policy: &'a Policy,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_s: Option<f64>,
}

pub(super) fn policies(args: &Policies) -> impl FnMut(&View) -> Result<String, String> {
    let mut before: Before = None;
    let wanted =
        [args.name.as_ref().map(|name| parameter("name", name)), args.vrf.as_ref().map(|name| parameter("vrf", name))];
    let path = format!("/show/policies?{}", wanted.into_iter().flatten().collect::<Vec<_>>().join("&"));
    move |view| {
        let fetch = |socket: &Path| -> Result<Answer, String> { ask(socket, &path) };
        let mut answer = fetch(&view.at.socket)?;
        let keep = |answer: &Answer| {
            let counts = answer.policies.iter().map(|policy| (policy.name.clone(), counts(policy)));
            Some((counts.collect(), answer.uptime_ms))
        };
        if args.rates && before.is_none() {
            before = keep(&answer);
            thread::sleep(MOMENT);
            answer = fetch(&view.at.socket)?;
        }
        let rated = |policy: &Policy| {
            let rates = rates(&before, &policy.name, &counts(policy), answer.uptime_ms);
            args.rates.then(|| rates.unwrap_or_else(|| vec![0.0; 2]))
        };
        let text = if view.json {
            let rows = answer.policies.iter().map(|policy| {
                let rates = rated(policy);
                let rate = |at: usize| rates.as_ref().map(|rates| rates[at]);
                Rated { policy, packets_per_s: rate(0), bytes_per_s: rate(1) }
            });
            json(view, &json!({ "policies": rows.collect::<Vec<_>>() }))
        } else {
            text(&answer.policies, args.rates, rated)
        };
        before = keep(&answer);
        Ok(text)
    }
}

fn counts(policy: &Policy) -> Vec<u64> {
    vec![policy.packets, policy.bytes]
}

fn text(policies: &[Policy], rates: bool, rated: impl Fn(&Policy) -> Option<Vec<f64>>) -> String {
    if policies.is_empty() {
        return "no policy: the routes decide\n".to_owned();
    }
    let row = |policy: &Policy| {
        let numbers = match rated(policy) {
            Some(rates) => rates.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>(),
            None => counts(policy).iter().map(ToString::to_string).collect(),
        };
        let mut row = vec![policy.name.clone(), policy.vrf.clone()];
        row.extend(numbers);
        row.extend([way(policy), asked(policy)]);
        row
    };
    let numbers = if rates { ["PPS", "BYTES/S"] } else { ["PACKETS", "BYTES"] };
    let header = ["POLICY", "VRF", numbers[0], numbers[1], "ACTION", "PACKETS THAT FIT"];
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = grid(&mut out, &header, &policies.iter().map(row).collect::<Vec<_>>());
    out
}

/// Where a rule leads.
fn way(policy: &Policy) -> String {
    let by = |via: &Option<String>, interface: &str| match via {
        Some(via) => format!("via {via} {interface}"),
        None => format!("on {interface}"),
    };
    if let Some(domain) = &policy.lookup {
        return format!("lookup {domain}");
    }
    if !policy.hops.is_empty() {
        let silent = |hop: &Hop| if hop.silent { " (silent)" } else { "" };
        let hop = |hop: &Hop| format!("{} weight {}{}", by(&hop.via, &hop.interface), hop.weight, silent(hop));
        return policy.hops.iter().map(hop).collect::<Vec<_>>().join(", ");
    }
    match &policy.interface {
        Some(interface) => by(&policy.via, interface),
        None => policy.action.clone(),
    }
}

/// What a rule asks for.
fn asked(policy: &Policy) -> String {
    let asks = &policy.asks;
    let lists = [
        ("in", &asks.incoming),
        ("from", &asks.from),
        ("to", &asks.to),
        ("protocol", &asks.protocol),
        ("from port", &asks.source_port),
        ("to port", &asks.destination_port),
        ("dscp", &asks.dscp),
    ];
    let said = lists.iter().filter(|(_, list)| !list.is_empty());
    let said: Vec<String> = said.map(|(word, list)| format!("{word} {}", list.join(" or "))).collect();
    match (policy.own, said.is_empty()) {
        (true, true) => "all of its own".to_owned(),
        (true, false) => format!("its own, {}", said.join(", ")),
        (false, true) => "all".to_owned(),
        (false, false) => said.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"policies":[
        {"name":"voice","vrf":"main","own":false,"asks":{"incoming":["guests"],"from":["10.1.0.0/16","10.2.0.0/16"],"to":[],"protocol":["udp"],
         "source_port":[],"destination_port":["5060","10000-20000"],"dscp":["ef"]},"action":"spread","lookup":null,"via":null,"interface":null,
         "hops":[{"via":"10.0.1.2","interface":"lan","weight":1},{"via":null,"interface":"wan","weight":3,"silent":true}],"packets":12,"bytes":1200},
        {"name":"rest","vrf":"red","own":true,"asks":{"incoming":[],"from":[],"to":[],"protocol":[],"source_port":[],"destination_port":[],
         "dscp":[]},"action":"prohibit","lookup":null,"via":null,"interface":null,"packets":0,"bytes":0}],"uptime_ms":7}"#;

    #[test]
    fn a_rule_reads_as_a_line() {
        let answer: Answer = serde_json::from_str(ANSWER).expect("an answer");
        let expected = "\
            POLICY  VRF   PACKETS  BYTES  ACTION                                          PACKETS THAT FIT\n\
            voice   main       12   1200  via 10.0.1.2 lan weight 1, on wan weight 3 (silent)  in guests, from 10.1.0.0/16 or 10.2.0.0/16, \
            protocol udp, to port 5060 or 10000-20000, dscp ef\n\
            rest    red         0      0  prohibit                                    all of its own\n";
        let squeeze = |text: &str| {
            text.split('\n').map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(squeeze(&text(&answer.policies, false, |_| None)), squeeze(expected));
        assert_eq!(text(&[], false, |_| None), "no policy: the routes decide\n");
    }
}
