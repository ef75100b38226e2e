//! Stations on the links.

use clap::ValueEnum as _;
use serde::Deserialize;
use serde_json::json;
use tidegate_ctrl::admin::show::Neighbor;
use tidegate_ctrl::config::model::ALL;

use super::{ask, json, parameter};
use crate::cli::show::{Neighbors, View};
use crate::command::table::grid;

#[derive(Deserialize)]
struct Answer {
    neighbors: Vec<Neighbor>,
}

pub(super) fn picture(args: &Neighbors, view: &View) -> Result<String, String> {
    let state = args.state.and_then(|state| state.to_possible_value());
    let wanted = [
        args.vrf.as_ref().map(|name| parameter("vrf", name)),
        args.interface.as_ref().map(|name| parameter("interface", name)),
        state.map(|state| parameter("state", state.get_name())),
    ];
    let wanted: Vec<String> = wanted.into_iter().flatten().collect();
    let answer: Answer = ask(&view.at.socket, &format!("/show/neighbors?{}", wanted.join("&")))?;
    if view.json {
        return Ok(json(view, &json!({ "neighbors": answer.neighbors })));
    }
    if answer.neighbors.is_empty() {
        return Ok("no neighbour\n".to_owned());
    }
    Ok(table(&answer.neighbors, args.vrf.as_deref() == Some(ALL)))
}

const HEADER: [&str; 7] = ["VRF", "INTERFACE", "ADDRESS", "STATION", "STATE", "WAITING", "CORES"];

/// The table, with the domains if they are all asked for.
fn table(neighbors: &[Neighbor], with_domains: bool) -> String {
    let from = usize::from(!with_domains);
    let rows: Vec<_> = neighbors.iter().map(|neighbor| row(neighbor).split_off(from)).collect();
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = grid(&mut out, &HEADER[from..], &rows);
    out
}

fn row(neighbor: &Neighbor) -> Vec<String> {
    let same = neighbor.cores.values().all(|state| *state == neighbor.state);
    let cores = neighbor.cores.iter();
    let cores: Vec<String> = match same {
        true => cores.map(|(core, _)| core.to_string()).collect(),
        false => cores.map(|(core, state)| format!("{core}:{state}")).collect(),
    };
    vec![
        neighbor.vrf.clone(),
        neighbor.interface.clone(),
        neighbor.address.clone(),
        neighbor.mac.clone().unwrap_or_else(|| "-".to_owned()),
        neighbor.state.clone(),
        neighbor.waiting.to_string(),
        // Not a number, so that it stands to the left.
        format!("{} ", cores.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_all_domains_say_whose_they_are() {
        let answer = r#"{"neighbors":[{"vrf":"red","interface":"lan","address":"10.0.1.2","mac":null,"state":"incomplete",
            "waiting":1,"cores":{"0":"incomplete"}}]}"#;
        let answer: Answer = serde_json::from_str(answer).expect("an answer");
        let all = "VRF  INTERFACE  ADDRESS   STATION  STATE       WAITING  CORES\n\
            red  lan        10.0.1.2        -  incomplete        1  0\n";
        assert_eq!(table(&answer.neighbors, true), all);
        assert!(table(&answer.neighbors, false).starts_with("INTERFACE"));
    }
}
