//! Times and durations of the API.

use std::time::Duration;

use dispatch_contract::UnixMillis;

use super::{FieldAt, Found};

const NANOS_PER_S: i32 = 1_000_000_000;

/// A duration within bounds, in whole milliseconds.
pub(super) fn span(
    given: &prost_types::Duration,
    least: Duration,
    most: Duration,
    field: FieldAt<'_>,
    found: &mut Found,
) -> Option<u64> {
    let bounds = format!("must be a duration of {} to {}", shown(least), shown(most));
    let is_whole = (0..NANOS_PER_S).contains(&given.nanos);
    let parsed = match u64::try_from(given.seconds) {
        Ok(seconds) if is_whole => Some(Duration::new(seconds, given.nanos.unsigned_abs())),
        Ok(_) | Err(_) => None,
    };
    match parsed {
        Some(span) if (least..=most).contains(&span) => u64::try_from(span.as_millis()).ok(),
        Some(_) => {
            found.note(field, bounds);
            None
        }
        None => {
            found.note(field, format!("{bounds}, with 0 to 999,999,999 nanoseconds"));
            None
        }
    }
}

/// A point in time; before 1970 is 1970.
pub(super) fn point(
    given: &prost_types::Timestamp,
    field: FieldAt<'_>,
    found: &mut Found,
) -> Option<UnixMillis> {
    // 0001-01-01 to 9999-12-31, as the well-known type says.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    if !SECONDS.contains(&given.seconds) || !(0..NANOS_PER_S).contains(&given.nanos) {
        found.note(
            field,
            "must be a time of the years 1 to 9999, with 0 to 999,999,999 nanoseconds",
        );
        return None;
    }
    let seconds = u64::try_from(given.seconds).ok();
    let ms = u64::from(given.nanos.unsigned_abs() / 1_000_000);
    Some(UnixMillis(seconds.map_or(0, |seconds| seconds * 1000 + ms)))
}

fn shown(span: Duration) -> String {
    match span.as_secs() {
        days if days >= 2 * 86_400 && days % 86_400 == 0 => format!("{} days", days / 86_400),
        seconds => format!("{seconds} s"),
    }
}
