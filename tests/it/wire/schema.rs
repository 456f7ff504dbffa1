//! A description of a request's body as a validator.
//!
//! The published descriptions leave every object open, so that a key that nobody knows would pass. Here
//! `allOf` is merged into one object, `oneOf` and `anyOf` spread into alternatives, and what is left is
//! closed: a key that stands nowhere is wrong, unless the description says that any may stand there.

use std::path::{Path, PathBuf};

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Value, json};

/// What the body of a send must be.
pub struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    /// Of `POST /v1/messages`.
    pub fn v1() -> Schema {
        let text = std::fs::read_to_string(file("messages-v1.11.0.json")).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        // The provider's own failover is not used.
        document["components"]["schemas"]["Failover"] = json!({ "type": "object" });
        // Asked for there, and described among the options; the published sample has both in both places.
        let video = "/components/schemas/OutboundViberVideo/allOf/1/properties/video/properties";
        for key in ["duration", "file_size"] {
            document.pointer_mut(video).unwrap()[key] = json!({ "type": "string" });
        }
        let pointer = "/paths/~1v1~1messages/post/requestBody/content/application~1json/schema";
        Schema::of(&document, pointer)
    }

    /// Of `POST /v0.1/messages`.
    pub fn v01() -> Schema {
        let text = std::fs::read_to_string(file("messages-v0.4.0.yml")).unwrap();
        let document: Value = serde_saphyr::from_str(&text).unwrap();
        Schema::of(&document, "/components/schemas/message")
    }

    fn of(document: &Value, pointer: &str) -> Schema {
        let mut alternatives = spread(document, document.pointer(pointer).unwrap());
        alternatives.iter_mut().for_each(close);
        assert!(alternatives.len() > 10, "{} alternatives", alternatives.len());
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V7);
        let name = "https://example.com/body.json";
        compiler.add_resource(name, json!({ "oneOf": alternatives })).unwrap();
        let mut schemas = Schemas::new();
        let index = compiler.compile(name, &mut schemas).unwrap();
        Schema { schemas, index }
    }

    /// Whether this is such a body; if not, why.
    pub fn check(&self, body: &Value) -> Result<(), String> {
        self.schemas.validate(body, self.index).map_err(|error| format!("{error:#}"))
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/openapi").join(name)
}

/// The alternatives that a schema has, each without references and without `allOf`.
fn spread(document: &Value, schema: &Value) -> Vec<Value> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = document.pointer(reference.strip_prefix('#').unwrap());
        return spread(document, target.unwrap_or_else(|| panic!("no {reference}")));
    }
    let mut own = schema.as_object().unwrap().clone();
    let mut parts = Vec::new();
    for key in ["allOf", "oneOf", "anyOf"] {
        let Some(Value::Array(items)) = own.remove(key) else { continue };
        let each = items.iter().map(|item| spread(document, item));
        match key {
            "allOf" => parts.extend(each),
            _ => parts.push(each.flatten().collect()),
        }
    }
    if let Some(Value::Object(properties)) = own.get_mut("properties") {
        for property in properties.values_mut() {
            let alternatives = spread(document, property);
            *property = match &alternatives[..] {
                [only] => only.clone(),
                _ => json!({ "oneOf": alternatives }),
            };
        }
    }
    if let Some(items) = own.get_mut("items") {
        let [only] = &spread(document, items)[..] else { panic!("several: {items}") };
        *items = only.clone();
    }
    // Not judged: whether a text is a URL is looked at elsewhere, and the rest is for people.
    own.retain(|key, _| {
        !key.starts_with("x-") && !["format", "description", "example", "title"].contains(&&**key)
    });
    parts.into_iter().fold(vec![Value::Object(own)], |sofar, part| {
        sofar.iter().flat_map(|one| part.iter().map(|other| merged(one, other))).collect()
    })
}

/// What satisfies both.
fn merged(one: &Value, other: &Value) -> Value {
    let (Value::Object(one), Value::Object(other)) = (one, other) else { return other.clone() };
    let mut both = one.clone();
    for (key, value) in other {
        let place = both.entry(key.clone());
        let known = place.or_insert_with(|| value.clone());
        match (key.as_str(), known) {
            ("required", Value::Array(names)) => {
                let more = value.as_array().unwrap().iter();
                let more: Vec<_> = more.filter(|name| !names.contains(name)).cloned().collect();
                names.extend(more);
            }
            (_, known @ Value::Object(_)) => *known = merged(known, value),
            (_, known) => *known = value.clone(),
        }
    }
    Value::Object(both)
}

/// Lets no key pass that is not described.
fn close(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
        object.entry("additionalProperties").or_insert(json!(false));
    }
    if let Some(items) = object.get_mut("items") {
        close(items);
    }
    if let Some(Value::Array(alternatives)) = object.get_mut("oneOf") {
        alternatives.iter_mut().for_each(close);
    }
}
