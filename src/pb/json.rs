//! Messages of the API as proto3 JSON, and as YAML of the same shape.
//!
//! Field names are those of the `.proto` files (`send_at`; `sendAt` is read too), durations are
//! texts like `600s`, times like `2030-01-01T09:00:00Z`, enum values their full names. Errors say
//! where in the document the trouble is and what would be right; they never repeat a value, because
//! it may be a person's. Whether a well-formed message makes sense is not judged here.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    SerializeOptions,
};
use serde_json::{Map, Value};

use super::DESCRIPTORS;

#[expect(clippy::expect_used, reason = "a build that wrote them wrongly has no test that passes")]
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTORS).expect("build.rs wrote the descriptors with protox")
});

/// Reads a message from its JSON form.
///
/// # Errors
/// Where in the text what is wrong, and what would be right.
pub fn from_json<T: Message + Name + Default>(text: &str) -> Result<T, String> {
    let value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    read(value)
}

/// Reads a message from YAML of the same shape.
///
/// # Errors
/// As [`from_json`].
pub fn from_yaml<T: Message + Name + Default>(text: &str) -> Result<T, String> {
    // A snippet of the document would show numbers and texts of people.
    let options = serde_saphyr::options! { with_snippet: false };
    let value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| format!("not YAML: {error}"))?;
    read(value)
}

/// Writes a message in its JSON form, on one line; what is not given is left out.
pub fn to_json<T: Message + Name>(message: &T) -> String {
    let written = || {
        let bytes = message.encode_to_vec();
        let dynamic = DynamicMessage::decode(descriptor::<T>()?, bytes.as_slice()).ok()?;
        let options = SerializeOptions::new().use_proto_field_name(true);
        let mut out = Vec::new();
        dynamic
            .serialize_with_options(&mut serde_json::Serializer::new(&mut out), &options)
            .ok()?;
        String::from_utf8(out).ok()
    };
    // A time or a duration out of range has no JSON form; no service writes one.
    written().unwrap_or_else(|| "null".to_owned())
}

/// The same message with each of its texts, keys of maps included, as `change` makes it.
pub(crate) fn with_texts<T: Message + Name + Default>(
    message: &T,
    change: impl Fn(&str) -> String + Copy,
) -> T {
    let changed = || {
        let bytes = message.encode_to_vec();
        let mut dynamic = DynamicMessage::decode(descriptor::<T>()?, bytes.as_slice()).ok()?;
        change_texts(&mut dynamic, change);
        dynamic.transcode_to().ok()
    };
    // All messages of the API have a descriptor; another would be shown as nothing rather than unchanged.
    changed().unwrap_or_default()
}

fn change_texts(message: &mut DynamicMessage, change: impl Fn(&str) -> String + Copy) {
    for (_, value) in message.fields_mut() {
        change_value(value, change);
    }
}

fn change_value(value: &mut prost_reflect::Value, change: impl Fn(&str) -> String + Copy) {
    use prost_reflect::{MapKey, Value};
    match value {
        Value::String(text) => *text = change(text),
        Value::Message(message) => change_texts(message, change),
        Value::List(values) => values.iter_mut().for_each(|value| change_value(value, change)),
        Value::Map(entries) => {
            let changed = std::mem::take(entries).into_iter().map(|(key, mut value)| {
                change_value(&mut value, change);
                match key {
                    MapKey::String(key) => (MapKey::String(change(&key)), value),
                    key => (key, value),
                }
            });
            *entries = changed.collect();
        }
        Value::Bool(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::U32(_)
        | Value::U64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_) => {}
    }
}

fn descriptor<T: Name>() -> Option<MessageDescriptor> {
    POOL.get_message_by_name(&T::full_name())
}

fn read<T: Message + Name + Default>(value: Value) -> Result<T, String> {
    let descriptor =
        descriptor::<T>().ok_or_else(|| format!("{} is no message of the API", T::NAME))?;
    let dynamic = match DynamicMessage::deserialize(descriptor.clone(), &value) {
        Ok(dynamic) => dynamic,
        Err(error) => return Err(blame(&descriptor, &value, &error.to_string())),
    };
    dynamic.transcode_to().map_err(|error| error.to_string())
}

/// The deserializer knows what is wrong, but not where. So the parts are tried one by one.
fn blame(descriptor: &MessageDescriptor, value: &Value, error: &str) -> String {
    find(descriptor, value, &mut String::new()).unwrap_or_else(|| error.to_owned())
}

/// The first place in `value`, a `descriptor` in JSON, that cannot be read, told in full.
fn find(descriptor: &MessageDescriptor, value: &Value, path: &mut String) -> Option<String> {
    let Value::Object(entries) = value else {
        return Some(told(path, &format!("must be an object with {}", fields(descriptor))));
    };
    for (key, value) in entries {
        let depth = path.len();
        if depth > 0 {
            path.push('.');
        }
        path.push_str(key);
        let Some(field) = field(descriptor, key) else {
            let known = descriptor.fields().map(|field| field.name().to_owned());
            let hint = nearest(key, known).map(|name| format!(", did you mean {name}?"));
            let hint = hint.as_deref().unwrap_or(".");
            let all = fields(descriptor);
            return Some(told(path, &format!("there is no such field{hint} There are {all}")));
        };
        if !reads(descriptor, key, value) {
            return Some(find_in_field(&field, value, path));
        }
        path.truncate(depth);
    }
    one_of_each(descriptor, entries).map(|problem| told(path, &problem))
}

fn find_in_field(field: &FieldDescriptor, value: &Value, path: &mut String) -> String {
    if let (true, Value::Array(items)) = (field.is_list(), value) {
        let depth = path.len();
        for (index, item) in items.iter().enumerate() {
            path.push_str(&format!("[{index}]"));
            let one = Value::Array(vec![item.clone()]);
            if !reads(field.parent_message(), field.name(), &one) {
                return find_in_value(&field.kind(), item, path);
            }
            path.truncate(depth);
        }
    }
    if field.is_list() {
        return told(path, "must be a list");
    }
    if field.is_map() {
        return told(path, "must be an object of texts: put numbers and true or false in quotes");
    }
    find_in_value(&field.kind(), value, path)
}

fn find_in_value(kind: &Kind, value: &Value, path: &mut String) -> String {
    if let Kind::Message(message) = kind
        && message.package_name() != "google.protobuf"
        && let Some(found) = find(message, value, path)
    {
        return found;
    }
    told(path, &wanted(kind, value))
}

/// What a field of this kind must look like.
fn wanted(kind: &Kind, value: &Value) -> String {
    match kind {
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Duration" => {
                "must be a time span in seconds, as a text with s: \"600s\", \"1.5s\"".to_owned()
            }
            "google.protobuf.Timestamp" => {
                "must be a time as RFC 3339: \"2030-01-01T09:00:00Z\"".to_owned()
            }
            _ => "must be an object".to_owned(),
        },
        Kind::Enum(values) => enum_wanted(values, value),
        Kind::String if value.is_number() || value.is_boolean() => {
            "must be a text: put it in quotes".to_owned()
        }
        Kind::String => "must be a text".to_owned(),
        Kind::Bool => "must be true or false".to_owned(),
        Kind::Double | Kind::Float => "must be a number".to_owned(),
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => {
            "must be a whole number from 0".to_owned()
        }
        Kind::Int32
        | Kind::Int64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Sfixed32
        | Kind::Sfixed64 => "must be a whole number".to_owned(),
        Kind::Bytes => "must be base64".to_owned(),
    }
}

fn enum_wanted(values: &EnumDescriptor, value: &Value) -> String {
    let names = values.values().map(|value| value.name().to_owned());
    let given: Vec<_> = names.filter(|name| !name.ends_with("_UNSPECIFIED")).collect();
    let hint = value
        .as_str()
        // `stop` for `ON_LATE_SUCCESS_STOP` is the usual slip.
        .and_then(|text| {
            let text = text.to_ascii_uppercase();
            given.iter().find(|name| name.ends_with(&format!("_{text}")))
        })
        .map(|name| format!("; did you mean {name}?"))
        .unwrap_or_default();
    format!("must be one of {}{hint}", given.join(", "))
}

/// A message may hold one member of a oneof.
fn one_of_each(descriptor: &MessageDescriptor, entries: &Map<String, Value>) -> Option<String> {
    descriptor.oneofs().find_map(|oneof| {
        let given: Vec<_> = oneof
            .fields()
            .filter(|field| {
                [field.name(), field.json_name()].iter().any(|n| entries.contains_key(*n))
            })
            .map(|field| field.name().to_owned())
            .collect();
        (given.len() > 1).then(|| format!("may have only one of {}", given.join(" and ")))
    })
}

fn field(descriptor: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_name(key).or_else(|| descriptor.get_field_by_json_name(key))
}

fn reads(descriptor: &MessageDescriptor, key: &str, value: &Value) -> bool {
    let alone = Value::Object(Map::from_iter([(key.to_owned(), value.clone())]));
    DynamicMessage::deserialize(descriptor.clone(), alone).is_ok()
}

fn fields(descriptor: &MessageDescriptor) -> String {
    let names: Vec<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    names.join(", ")
}

fn nearest(given: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|name| (strsim::jaro_winkler(given, &name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

fn told(path: &str, problem: &str) -> String {
    match path {
        "" => format!("the document {problem}"),
        path => format!("{path}: {problem}"),
    }
}

#[cfg(test)]
mod tests;
