//! Why a step or a workflow ended: machine-readable, complete, in one place.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a step was left, or a workflow ended.
///
/// Stored by position: new reasons go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The step's message reached its condition.
    ConditionMet,
    /// A step that had been given up reached its condition.
    LateConditionMet,
    /// The provider refused the message.
    Rejected,
    /// The provider accepted the message, and later gave up.
    Undeliverable,
    /// The condition was not reached within `expiry_time`.
    Expired,
    /// Temporary errors lasted longer than `send_within`.
    RetriesExhausted,
    /// Nobody knows whether the message went out.
    OutcomeUnknown,
    /// No route serves what the step needs any more.
    NoRoute,
    /// The channel tells nothing after acceptance.
    NoReceipts,
    /// The person does not want messages from this sender.
    OptedOut,
    /// `valid_until` passed before a further attempt could start.
    DeadlineExceeded,
    /// The caller canceled.
    Canceled,
    /// `send_within` passed before it could start, and not because its route was full: the service was
    /// down, or the route is no longer there.
    NotSentInTime,
    /// Accepted, and then silence for `unconfirmed_after`.
    NoConfirmation,
    /// The route was full with what went before it, for as long as `send_within`.
    RouteSaturated,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 15] = [
        Reason::ConditionMet,
        Reason::LateConditionMet,
        Reason::Rejected,
        Reason::Undeliverable,
        Reason::Expired,
        Reason::RetriesExhausted,
        Reason::OutcomeUnknown,
        Reason::NoRoute,
        Reason::NoReceipts,
        Reason::OptedOut,
        Reason::DeadlineExceeded,
        Reason::Canceled,
        Reason::NotSentInTime,
        Reason::NoConfirmation,
        Reason::RouteSaturated,
    ];

    /// The name as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::ConditionMet => "CONDITION_MET",
            Reason::LateConditionMet => "LATE_CONDITION_MET",
            Reason::Rejected => "REJECTED",
            Reason::Undeliverable => "UNDELIVERABLE",
            Reason::Expired => "EXPIRED",
            Reason::RetriesExhausted => "RETRIES_EXHAUSTED",
            Reason::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Reason::NoRoute => "NO_ROUTE",
            Reason::NoReceipts => "NO_RECEIPTS",
            Reason::OptedOut => "OPTED_OUT",
            Reason::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Reason::Canceled => "CANCELED",
            Reason::NotSentInTime => "NOT_SENT_IN_TIME",
            Reason::NoConfirmation => "NO_CONFIRMATION",
            Reason::RouteSaturated => "ROUTE_SATURATED",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
