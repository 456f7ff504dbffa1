//! Points in time.

use std::{fmt, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, by the wall clock or in engine time: what they belong to
/// says which.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: UnixMillis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This time moved `by` later; stops at the end of representable time.
    pub fn plus(self, by: Duration) -> UnixMillis {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(self.0.saturating_add(ms))
    }

    /// This time, that much earlier; 1970 at the earliest.
    #[must_use]
    pub fn minus(self, by: Duration) -> UnixMillis {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(self.0.saturating_sub(ms))
    }
}

impl Add<Duration> for UnixMillis {
    type Output = UnixMillis;

    fn add(self, by: Duration) -> UnixMillis {
        self.plus(by)
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
