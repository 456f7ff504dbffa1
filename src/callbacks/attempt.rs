//! What an attempt at a callback came to: the words that delivery, schedule and store share.

use dispatch_contract::UnixMillis;

/// What an attempt came to.
pub(super) struct AttemptResult {
    /// Whether the receiver accepted it.
    pub(super) succeeded: bool,
    /// How well its endpoint did.
    pub(super) health: EndpointHealth,
    /// What becomes of the callback.
    pub(super) disposition: Disposition,
}

/// How a destination did at the last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum EndpointHealth {
    /// It accepted the callback, quickly.
    Healthy,
    /// It is not known yet, or failed quickly.
    #[default]
    Unknown,
    /// It took long, whatever came of it.
    Slow,
}

/// What becomes of a callback after an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Disposition {
    /// It is completed: delivered, dead-lettered or dropped.
    Completed,
    /// It is retried at this time.
    RetryAt(UnixMillis),
}

impl AttemptResult {
    /// It came to no response, and says nothing of the receiver.
    pub(super) fn failed(disposition: Disposition) -> AttemptResult {
        AttemptResult { succeeded: false, health: EndpointHealth::Unknown, disposition }
    }
}
