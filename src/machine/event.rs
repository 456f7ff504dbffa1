//! What can happen to a workflow.

use dispatch_contract::{Cause, ErrorKind, Fault, Report, Status, UnixMillis, Usage};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::RecallResult;

/// Something that happened outside, and that the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline may have passed. Waking too early, too late or twice is harmless.
    Wake {
        /// When the service started, in engine time: what was due before that came due while it was
        /// down.
        up_since: UnixMillis,
        /// Waits for receipts that were over before then are not given up yet: the receipts may be on
        /// their way.
        hold: bool,
    },
    /// The route of a planned attempt has a free place for it.
    PermitGranted {
        /// The attempt's number.
        attempt: u16,
    },
    /// A call to a provider came back.
    SendResult {
        /// The attempt's number.
        attempt: u16,
        /// Which call of the attempt: a stale answer changes nothing.
        call: u16,
        /// What it said.
        result: SendResult,
    },
    /// The service died between STARTED and the answer.
    Lost {
        /// The attempt's number.
        attempt: u16,
    },
    /// A provider told how an attempt fared.
    Update {
        /// The attempt's number.
        attempt: u16,
        /// What it told.
        update: Update,
        /// When the service started, in engine time.
        up_since: UnixMillis,
    },
    /// A provider was asked for a message back.
    RecallResult {
        /// The attempt's number.
        attempt: u16,
        /// What came of it.
        result: RecallResult,
        /// When the service started, in engine time.
        up_since: UnixMillis,
    },
    /// The routes may be others than they were: after a start, and after a reload. Harmless if they are
    /// not.
    Rerouted,
    /// The caller does not want it any more.
    Cancel,
    /// What is personal of it is about to be destroyed: it is canceled, if it is open.
    Erase {
        /// By which erasure.
        erasure: Uuid,
    },
}

/// What a call to a provider came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendResult {
    /// The provider took the message.
    Accepted {
        /// Its ids there, one a part.
        provider_ids: Vec<String>,
    },
    /// It never will.
    Rejected(CallFailure),
    /// It was certainly not processed, and may be tried again.
    RetryLater {
        /// Why.
        failure: CallFailure,
        /// How long the provider asked to wait, in milliseconds.
        after_ms: Option<u64>,
    },
    /// Nobody knows whether the message went out.
    Unknown(CallFailure),
}

/// What went wrong with a call, as the adapter told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailure {
    /// What happened.
    pub kind: ErrorKind,
    /// Whose fault it was.
    pub fault: Fault,
    /// The provider's own code.
    pub code: Option<String>,
    /// One sentence; no personal data.
    pub detail: String,
    /// Why no connection came about, for metrics and the log. Not kept: `detail` says it in words.
    #[serde(skip)]
    pub cause: Option<Cause>,
}

/// A receipt that was matched to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What it says.
    pub report: Report,
    /// The provider's id of the message, where the receipt carries it.
    pub provider_id: Option<String>,
    /// The part of the message that it is about, counted from 1; `None`: the whole message.
    pub part: Option<u16>,
    /// The provider's own time. Recorded; it decides nothing.
    pub provider_time: Option<UnixMillis>,
    /// The provider's code, with a failure.
    pub code: Option<String>,
    /// One sentence, with a failure.
    pub detail: Option<String>,
    /// What the provider charges.
    pub usage: Option<Usage>,
}

impl Update {
    /// That a message reached a status, and nothing more.
    pub fn plain(status: Status, provider_time: Option<UnixMillis>) -> Self {
        Update {
            report: Report::Reached(status),
            provider_id: None,
            part: None,
            provider_time,
            code: None,
            detail: None,
            usage: None,
        }
    }
}
