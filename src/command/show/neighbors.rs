//! Stations on the links.

use clap::ValueEnum as _;
use serde::Deserialize;
use serde_json::json;
use tidegate_ctrl::admin::show::Neighbor;

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
    let mut out = String::new();
    let rows: Vec<_> = answer.neighbors.iter().map(row).collect();
    // Writing to a String cannot fail.
    let _ = grid(&mut out, &["INTERFACE", "ADDRESS", "STATION", "STATE", "WAITING", "CORES"], &rows);
    Ok(out)
}

fn row(neighbor: &Neighbor) -> Vec<String> {
    let same = neighbor.cores.values().all(|state| *state == neighbor.state);
    let cores = neighbor.cores.iter();
    let cores: Vec<String> = match same {
        true => cores.map(|(core, _)| core.to_string()).collect(),
        false => cores.map(|(core, state)| format!("{core}:{state}")).collect(),
    };
    vec![
        neighbor.interface.clone(),
        neighbor.address.clone(),
        neighbor.mac.clone().unwrap_or_else(|| "-".to_owned()),
        neighbor.state.clone(),
        neighbor.waiting.to_string(),
        // Not a number, so that it stands to the left.
        format!("{} ", cores.join(" ")),
    ]
}
