//! Reads the times in Vonage's webhooks, which come in several forms.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;

use dispatch_contract::UnixMillis;

/// The first second, counted from 1970, that is taken for milliseconds: it is in the year 5138.
const SECONDS_END: u64 = 100_000_000_000;

/// A point in time, if `value` is one: RFC 3339 with any offset, the same with a space and `UTC`
/// (the published migration guide), without any zone (taken as UTC), or a number of seconds or
/// milliseconds. It decides nothing, so what cannot be read is left out.
pub(super) fn read(value: &Value) -> Option<UnixMillis> {
    match value {
        Value::Number(number) => {
            let number = number.as_u64()?;
            let ms = if number < SECONDS_END { number.saturating_mul(1_000) } else { number };
            Some(UnixMillis(ms))
        }
        Value::String(text) => from_text(text.trim()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn from_text(text: &str) -> Option<UnixMillis> {
    let utc = text.strip_suffix("UTC").map(str::trim_end);
    let timestamp = match text.parse::<Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) => {
            let civil: DateTime = utc.unwrap_or(text).parse().ok()?;
            TimeZone::UTC.to_timestamp(civil).ok()?
        }
    };
    u64::try_from(timestamp.as_millisecond()).ok().map(UnixMillis)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_that_was_seen_is_read() {
        let expected = Some(UnixMillis(1_577_887_200_000));
        for value in [
            json!("2020-01-01T14:00:00.000Z"),
            json!("2020-01-01T14:00:00Z"),
            json!("2020-01-01T15:00:00+01:00"),
            json!("2020-01-01T14:00:00.000+0000"),
            json!("2020-01-01 14:00:00 UTC"),
            json!("2020-01-01 14:00:00"),
            json!(1_577_887_200),
            json!(1_577_887_200_000_u64),
        ] {
            assert_eq!(read(&value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_no_time_is_left_out() {
        for value in [
            json!(""),
            json!("UTC"),
            json!("yesterday"),
            json!("1960-01-01T00:00:00Z"),
            json!(-1),
            json!(null),
            json!({}),
        ] {
            assert_eq!(read(&value), None, "{value}");
        }
    }
}
