//! What the provider remembers: the oracle of tests.

use std::time::Duration;

use dispatch_contract::{AttemptId, Channel, Endpoint, Recall, Status, UnixMillis};

/// A message that was sent: the person would hold it in their hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// What the caller called it, as it stood in the call.
    pub client_ref: Option<String>,
    /// The channel it went out on.
    pub channel: Channel,
    /// Whom it went to.
    pub recipient: Endpoint,
    /// When, by the injected wall clock.
    pub at: UnixMillis,
    /// The provider's id of it.
    pub provider_id: String,
    /// When it will be how far, in engine time, unless it is taken back before.
    pub(crate) reaches: Vec<(UnixMillis, Status)>,
    /// It was taken back.
    pub is_recalled: bool,
}

/// A call that was understood and allowed, and so was played by a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// What the caller called it.
    pub client_ref: Option<String>,
    /// The channel that was asked for.
    pub channel: Channel,
    /// Whom the message is for.
    pub recipient: Endpoint,
    /// When, by the injected wall clock.
    pub at: UnixMillis,
    /// What the caller was answered.
    pub answered: CallResult,
}

/// A recall that was understood and allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallRecord {
    /// The provider's id of the message that was asked back.
    pub provider_id: String,
    /// When, by the injected wall clock.
    pub at: UnixMillis,
    /// What the caller was answered.
    pub answered: Recall,
}

/// What a caller is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// The message was taken.
    Accepted {
        /// The provider's id of it.
        provider_id: String,
    },
    /// The message was sent before, under the same reference; nothing was sent this time.
    AcceptedBefore {
        /// The provider's id of it, as it was.
        provider_id: String,
    },
    /// It was refused under this code.
    Rejected(u16),
    /// It was turned away for now.
    Throttled {
        /// When the caller is told to come back, if it is told.
        after: Option<Duration>,
    },
    /// A failure of the provider's: HTTP 500.
    Failed,
    /// Nothing, ever.
    Nothing,
}

impl SentMessage {
    /// The attempt behind it, if the caller's reference is one of Dispatch's.
    pub fn attempt(&self) -> Option<AttemptId> {
        self.client_ref.as_deref()?.parse().ok()
    }
}
