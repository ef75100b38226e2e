//! The reference manual of the file, made from the same declarations that decode it.

use serde_json::{Map, Value};

use super::schema;

/// The tables in the order of the manual: heading and definition.
const TABLES: &[(&str, &str)] = &[
    ("[runtime]", "Runtime"),
    ("[admin]", "Admin"),
    ("[log]", "Log"),
    ("[dpdk]", "Dpdk"),
    ("[tcp]", "Tcp"),
    ("[icmp]", "Icmp"),
    ("[neighbor_table]", "NeighborTable"),
    ("[[port]]", "Port"),
    ("[[vlan]]", "Vlan"),
    ("[[bridge]]", "Bridge"),
    ("[[loopback]]", "Loopback"),
    ("[[vrf]]", "Vrf"),
    ("[[route]]", "Route"),
    ("[[policy]]", "Policy"),
    ("[kernel_routes]", "KernelRoutes"),
    ("[[neighbor]]", "Neighbor"),
    ("[[listener]]", "Listener"),
    ("[listener.tls]", "ListenerTls"),
    ("[[cluster]]", "Cluster"),
    ("[cluster.tls]", "UpstreamTls"),
    ("[[http_route]]", "HttpRoute"),
];

/// The manual in Markdown.
pub fn manual() -> String {
    let schema = schema::of_file();
    let nothing = Map::new();
    let definitions = schema["$defs"].as_object().unwrap_or(&nothing);
    let mut out = PREFACE.to_owned();
    for (heading, definition) in TABLES {
        let Some(table) = definitions.get(*definition) else { continue };
        out.push_str(&format!("\n## `{heading}`\n\n{}\n\n", text(table, "description")));
        keys(table, definitions, "", &mut out);
    }
    out
}

fn keys(table: &Value, definitions: &Map<String, Value>, prefix: &str, out: &mut String) {
    let required: Vec<&str> = table["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, property) in table["properties"].as_object().into_iter().flatten() {
        let need = match property.get("default") {
            Some(default) => format!("default `{default}`"),
            None if required.contains(&key.as_str()) => "required".to_owned(),
            None => "optional".to_owned(),
        };
        let kind = kind(property, definitions);
        out.push_str(&format!(
            "- `{prefix}{key}` ({kind}; {need}): {}\n",
            text(property, "description").replace("\n\n", " ")
        ));
        for word in property["oneOf"].as_array().into_iter().flatten() {
            if let Some(word_text) = word["const"].as_str() {
                out.push_str(&format!("  - `\"{word_text}\"`: {}\n", text(word, "description")));
            }
        }
        // Small tables that stand in braces are described where they are used.
        let name = reference(property).or_else(|| reference(&property["items"]));
        if let Some(name) = name.filter(|name| TABLES.iter().all(|(_, listed)| listed != name)) {
            let mut inner = String::new();
            keys(&definitions[name], definitions, "", &mut inner);
            out.extend(inner.lines().map(|line| format!("  {line}\n")));
        }
    }
}

fn kind(property: &Value, definitions: &Map<String, Value>) -> String {
    if let Some(name) = reference(property) {
        return if definitions.contains_key(name) { "table".to_owned() } else { name.to_owned() };
    }
    if let Some(choices) = property["anyOf"].as_array() {
        return choices.iter().map(|choice| kind(choice, definitions)).collect::<Vec<_>>().join(" or ");
    }
    match property["type"].as_str() {
        Some("integer") => match (property["minimum"].as_i64(), property["maximum"].as_i64()) {
            (Some(least), Some(greatest)) => format!("{least} to {greatest}"),
            _ => "whole number".to_owned(),
        },
        Some("array") => format!("list of {}", plural(&kind(&property["items"], definitions))),
        Some("boolean") => "true or false".to_owned(),
        Some("string") if property.get("oneOf").is_some() => "one of the words below".to_owned(),
        Some("string") => property["title"].as_str().unwrap_or("string").to_owned(),
        _ => property["title"].as_str().unwrap_or("value").to_owned(),
    }
}

fn plural(kind: &str) -> String {
    match kind {
        "table" | "string" => format!("{kind}s"),
        "one of the words below" => "words".to_owned(),
        other => other.to_owned(),
    }
}

fn reference(property: &Value) -> Option<&str> {
    property["$ref"].as_str()?.strip_prefix("#/$defs/")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

const PREFACE: &str = "\
# Configuration

<!-- Made from the doc comments in ctrl/src/config/raw/ by the test `the_manual_is_current`; run it with
     TIDEGATE_WRITE_MANUAL=1 to write this file again. -->

One TOML file configures a gateway: `tidegate run -c gateway.toml`. `tidegate check gateway.toml` reports every mistake of a
file with its place; `tidegate schema` prints the JSON Schema, which editors use for completion. Durations carry their unit at
the end of the key. Paths are relative to the directory of the file.

A running gateway takes over a changed file on SIGHUP, on `tidegate reload`, and when the file or a certificate it refers to
changes: all of it, or, if there is a mistake, nothing. `[runtime]` (but for `drain_timeout_s`), `[admin]`, `[dpdk]`, `[tcp]`,
ports (but for what IP does on them) and every `host` and `host_limit` need a restart; a reload that changes them is refused and says so.
";
