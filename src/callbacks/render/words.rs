//! What all bodies say alike.

use dispatch_contract::{Channel, Endpoint, UnixMillis};
use serde_json::{Map, Value, json};

pub(super) fn endpoint(channel: &Channel, endpoint: &Endpoint) -> Value {
    match endpoint {
        Endpoint::Id(id) => json!({ "type": channel.as_str(), "id": id }),
        Endpoint::Number(number) => json!({ "type": channel.as_str(), "number": number }),
    }
}

/// Messages v1 renamed one channel.
pub(super) fn v1_channel(channel: &Channel) -> &str {
    if *channel == Channel::VIBER { "viber_service" } else { channel.as_str() }
}

/// `2020-01-01T14:00:00.000Z`
pub(super) fn timestamp(at: UnixMillis) -> String {
    let time = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(jiff::Timestamp::MAX))
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
