//! What somebody whom we called says of time: the date, and how long to wait.

use std::time::{Duration, SystemTime};

use crate::UnixMillis;

/// Zones that mean what HTTP calls GMT, and that HTTP does not allow: read all the same.
const OTHER_NAMES_OF_GMT: [&str; 3] = ["UTC", "+0000", "-0000"];

/// Reads a `Retry-After` header (RFC 9110 §10.2.3): seconds, or a date in any of the three forms of
/// §5.6.7, of which the time from `now` (raw wall clock) is taken; zero if it is past. `None` if it is
/// neither.
pub fn retry_after(value: &str, now: UnixMillis) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    http_date(value).map(|at| at.since(now))
}

/// Reads a date of HTTP, as in a `Date` header (RFC 9110 §6.6.1), in any of the three forms of §5.6.7. `None`
/// if it is none.
pub fn http_date(value: &str) -> Option<UnixMillis> {
    let value = value.trim();
    let same = OTHER_NAMES_OF_GMT.iter().find_map(|zone| value.strip_suffix(zone));
    let at = match same {
        Some(date) => httpdate::parse_http_date(&format!("{date}GMT")),
        None => httpdate::parse_http_date(value),
    };
    let at = at.ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(UnixMillis(u64::try_from(at.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 06 Nov 1994, 08:49:37 GMT.
    const THEN: UnixMillis = UnixMillis(784_111_777_000);

    #[test]
    fn seconds_and_all_three_forms_of_a_date_are_read() {
        for (value, seconds) in [
            (" 120 ", 120),
            ("0", 0),
            ("Sun, 06 Nov 1994 08:50:07 GMT", 30),
            ("Sunday, 06-Nov-94 08:50:07 GMT", 30),
            ("Sun Nov  6 08:50:07 1994", 30),
            ("Wed Nov 16 08:49:37 1994", 864_000),
            ("Sun, 06 Nov 1994 08:50:07 UTC", 30),
            ("Sun, 06 Nov 1994 08:50:07 +0000", 30),
            ("Sun, 06 Nov 1994 08:49:07 GMT", 0),
            ("Saturday, 05-Nov-94 08:49:37 GMT", 0),
        ] {
            assert_eq!(retry_after(value, THEN), Some(Duration::from_secs(seconds)), "{value}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        for value in [
            "",
            "soon",
            "-5",
            "1.5",
            "99999999999999999999",
            "Sun, 99 Nov 1994",
            "Sun, 06 Nov 1994 08:50:07 EST",
            "Sunday, 06-Nov-94",
        ] {
            assert_eq!(retry_after(value, THEN), None, "{value}");
        }
    }
}
