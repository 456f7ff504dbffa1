//! A JSON object as the API has it.

use std::collections::BTreeMap;

use prost_types::{ListValue, Struct, Value, value::Kind};

pub(super) fn object(object: serde_json::Map<String, serde_json::Value>) -> Struct {
    let fields = object.into_iter().map(|(key, value)| (key, json(value)));
    Struct { fields: BTreeMap::from_iter(fields) }
}

fn json(value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(truth) => Kind::BoolValue(truth),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(json).collect() })
        }
        serde_json::Value::Object(inner) => Kind::StructValue(object(inner)),
    };
    Value { kind: Some(kind) }
}
