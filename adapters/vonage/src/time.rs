//! Reads the times in Vonage's webhooks, which come in several forms.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use dispatch_contract::UnixMillis;

use dispatch_kit::json::Json;

/// The first second, counted from 1970, that is taken for milliseconds: it is in the year 5138.
const SECONDS_END: u64 = 100_000_000_000;

/// A point in time, if `value` is one: RFC 3339 with any offset, the same with a space and `UTC`
/// (the published migration guide), without any zone (taken as UTC), or a number of seconds or
/// milliseconds. It decides nothing, so what cannot be read is left out.
pub(super) fn read(value: Json<'_>) -> Option<UnixMillis> {
    if let Some(number) = value.number() {
        let number: u64 = number.parse().ok()?;
        let ms = if number < SECONDS_END { number.saturating_mul(1_000) } else { number };
        return Some(UnixMillis(ms));
    }
    from_text(value.text()?.trim())
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
    use serde_json::{Value, json};

    use super::*;

    fn read_value(value: &Value) -> Option<UnixMillis> {
        Json::of(json!({ "timestamp": value }).to_string().as_bytes()).read("timestamp", read)
    }

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
            assert_eq!(read_value(&value), expected, "{value}");
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
            assert_eq!(read_value(&value), None, "{value}");
        }
    }
}
