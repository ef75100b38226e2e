//! The JSON Schema of the file, for editors, made from the same declarations that decode it.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::raw::Raw;

/// One key of a table.
pub(crate) struct Property {
    /// The key.
    pub key: &'static str,
    /// Lines of its doc comment.
    pub docs: &'static [&'static str],
    /// Whether it must be there.
    pub required: bool,
    /// Its default in TOML.
    pub default: Option<&'static str>,
    /// What it may be.
    pub schema: Schema,
}

/// The schema of a table: exactly these keys.
pub(crate) fn object(title: &str, docs: &[&str], properties: Vec<Property>) -> Schema {
    let mut members = Map::new();
    let mut required = Vec::new();
    for property in properties {
        let mut schema = property.schema;
        schema.insert("description".to_owned(), prose(property.docs).into());
        if let Some(default) = property.default.and_then(toml_to_json) {
            schema.insert("default".to_owned(), default);
        }
        if property.required {
            required.push(Value::from(property.key));
        }
        members.insert(property.key.to_owned(), schema.to_value());
    }
    let mut object = json!({
        "type": "object",
        "title": title,
        "description": prose(docs),
        "additionalProperties": false,
        "properties": members,
    });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    Schema::try_from(object).unwrap_or_default()
}

/// The schema of a set of words with their meaning.
pub(crate) fn words(words: &[(&str, &[&str])]) -> Schema {
    let each: Vec<Value> =
        words.iter().map(|(word, docs)| json!({ "const": word, "description": prose(docs) })).collect();
    Schema::try_from(json!({ "type": "string", "oneOf": each })).unwrap_or_default()
}

/// The schema of the whole file.
pub fn of_file() -> Value {
    let mut generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let mut root = Raw::json_schema(&mut generator);
    root.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    root.insert("title".to_owned(), "Tidegate configuration".into());
    root.insert("$defs".to_owned(), generator.take_definitions(true).into());
    root.to_value()
}

/// Joins the lines of a doc comment: a blank line makes a paragraph.
fn prose(lines: &[&str]) -> String {
    let mut out = String::new();
    for line in lines {
        let line = line.trim();
        if line.is_empty() {
            out.push_str("\n\n");
        } else {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push(' ');
            }
            out.push_str(line);
        }
    }
    out
}

fn toml_to_json(text: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("v = {text}")).ok()?;
    serde_json::to_value(table.get("v")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `default` shown to people is TOML, or it would be missing from the schema.
    #[test]
    fn the_schema_describes_every_key() {
        let schema = of_file();
        let mut missing = Vec::new();
        walk(&schema, "", &mut missing);
        assert_eq!(missing, Vec::<String>::new());
        assert_eq!(schema["$defs"]["Runtime"]["properties"]["idle_turns"]["default"], 1000);
        assert_eq!(schema["$defs"]["Port"]["additionalProperties"], false);
    }

    fn walk(value: &Value, path: &str, missing: &mut Vec<String>) {
        if let Some(properties) = value.get("properties").and_then(Value::as_object) {
            for (key, property) in properties {
                if property.get("description").and_then(Value::as_str).is_none_or(|text| text.len() < 10) {
                    missing.push(format!("{path}/{key}"));
                }
            }
        }
        if let Some(members) = value.as_object() {
            for (key, member) in members {
                walk(member, &format!("{path}/{key}"), missing);
            }
        }
    }
}
