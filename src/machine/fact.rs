//! What the machine decided: the journal's words, and the timeline's.

use std::sync::Arc;

use dispatch_contract::{Failure, Status, UnixMillis, Usage};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CallFailure, EndState, Reason};

/// One thing that is so from now on.
///
/// Facts are stored by position: new ones go to the end, and one whose fields change becomes a new
/// one. Old journals are never rewritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The workflow exists.
    Created,
    /// A step is being tried.
    StepStarted {
        /// Counted from 0.
        step: u8,
    },
    /// An attempt may start once its route has a free place. It has not touched the network.
    AttemptPlanned {
        /// Counted from 1 within the workflow.
        attempt: u16,
        /// Its step.
        step: u8,
        /// The route it goes by.
        route: Arc<str>,
        /// What the route promises, frozen for this attempt.
        properties: RouteProperties,
        /// An earlier attempt of the step may have gone out: a possible double send.
        possible_duplicate: bool,
    },
    /// The attempt may touch the network from now on.
    AttemptStarted {
        /// Its number.
        attempt: u16,
        /// Which call of it: 1 is the first.
        call: u16,
        /// The account that it goes out under, as `provider/name`, whatever becomes of its route: only
        /// that one's receipts are about it.
        account: Arc<str>,
    },
    /// The provider has the message.
    AttemptAccepted {
        /// Its number.
        attempt: u16,
        /// The provider's ids of it, one a part; none if only a receipt told, and named none.
        provider_ids: Vec<String>,
        /// How we know.
        by: AcceptedBy,
    },
    /// The provider will not take the message.
    AttemptRejected {
        /// Its number.
        attempt: u16,
        /// Why.
        failure: CallFailure,
    },
    /// The call was certainly not processed; the next is due later.
    AttemptRetryScheduled {
        /// Its number.
        attempt: u16,
        /// Why.
        failure: CallFailure,
        /// When the next call is due.
        retry_at: UnixMillis,
    },
    /// Nobody knows whether the message went out.
    AttemptUnknown {
        /// Its number.
        attempt: u16,
        /// What was seen; `None` if the service died meanwhile.
        failure: Option<CallFailure>,
        /// Until when a receipt is waited for, before `on_unknown` decides.
        wait_until: UnixMillis,
    },
    /// The outcome is unknown, and the provider honours our id: the call is repeated under it.
    AttemptRepeated {
        /// Its number.
        attempt: u16,
        /// What was seen; `None` if the service died meanwhile.
        failure: Option<CallFailure>,
        /// When the repeated call is due.
        retry_at: UnixMillis,
    },
    /// A deferred or repeated attempt is due, and may start once its route has a free place.
    AttemptDue {
        /// Its number.
        attempt: u16,
    },
    /// A message advanced to a status.
    StatusReached {
        /// The attempt's number.
        attempt: u16,
        /// The status.
        status: Status,
        /// The provider's own time.
        provider_time: Option<UnixMillis>,
        /// What the provider charges.
        usage: Option<Usage>,
    },
    /// A message failed, its provider says.
    StatusFailed {
        /// The attempt's number.
        attempt: u16,
        /// In what way.
        failure: Failure,
        /// The provider's code.
        code: Option<String>,
        /// One sentence of the provider's.
        detail: Option<String>,
        /// The provider's own time.
        provider_time: Option<UnixMillis>,
        /// What the provider charges.
        usage: Option<Usage>,
    },
    /// The step's condition was reached while it was active.
    StepMet {
        /// Counted from 0.
        step: u8,
    },
    /// The step failed before its time.
    StepFailed {
        /// Counted from 0.
        step: u8,
        /// Why.
        reason: Reason,
        /// The provider's code.
        code: Option<String>,
        /// One sentence.
        detail: String,
    },
    /// The step's time passed.
    StepExpired {
        /// Counted from 0.
        step: u8,
        /// What it waited for.
        condition: Status,
        /// For how long, in milliseconds.
        expiry_ms: u64,
        /// What it had reached.
        last: Status,
        /// How long after acceptance it reached that, in milliseconds.
        last_after_ms: Option<u64>,
        /// How long after its deadline this was decided, in milliseconds.
        late_ms: u64,
        /// The deadline passed while the service was down.
        while_down: bool,
    },
    /// The step will not be tried.
    StepSkipped {
        /// Counted from 0.
        step: u8,
    },
    /// The step was given up because the workflow ended around it.
    StepCanceled {
        /// Counted from 0.
        step: u8,
    },
    /// A step that had been given up reached its condition.
    LateSuccess {
        /// Counted from 0.
        step: u8,
        /// The attempt that did.
        attempt: u16,
        /// What it reached.
        status: Status,
        /// A further message had been sent by then: the failover was one too many.
        unnecessary_failover: bool,
    },
    /// The workflow ended.
    Ended(Outcome),
    /// A message advanced after the end. It changes nothing.
    LateStatus {
        /// The attempt's number.
        attempt: u16,
        /// The status.
        status: Status,
        /// The provider's own time.
        provider_time: Option<UnixMillis>,
        /// What the provider charges.
        usage: Option<Usage>,
        /// It met the condition of a step that had been given up, after a further send.
        unnecessary_failover: bool,
    },
    /// A message failed after the end, its provider says. It changes nothing.
    LateFailure {
        /// The attempt's number.
        attempt: u16,
        /// In what way.
        failure: Failure,
        /// The provider's code.
        code: Option<String>,
        /// The provider's own time.
        provider_time: Option<UnixMillis>,
        /// One sentence of the provider.
        detail: Option<String>,
        /// What the provider charges.
        usage: Option<Usage>,
    },
    /// A call that was out at the end came back. It changes nothing.
    LateSendResult {
        /// The attempt's number.
        attempt: u16,
        /// The provider's ids, if it took the message.
        provider_ids: Option<Vec<String>>,
        /// The outcome is unknown.
        unknown: bool,
    },
    /// A step's time passed, and its message is asked back before the next one goes out: durable before the
    /// provider is asked.
    RecallStarted {
        /// The attempt whose message it is.
        attempt: u16,
        /// Until when an answer is waited for, in engine time.
        wait_until: UnixMillis,
    },
    /// What became of a recall.
    RecallEnded {
        /// The attempt whose message it is.
        attempt: u16,
        /// What became of it.
        result: RecallResult,
    },
    /// A part of a message advanced to a status; the message did with the last of them.
    PartReached {
        /// The attempt's number.
        attempt: u16,
        /// Which part, counted from 1.
        part: u16,
        /// The status.
        status: Status,
        /// The provider's own time.
        provider_time: Option<UnixMillis>,
        /// What the provider charges for the part.
        usage: Option<Usage>,
        /// It came after the workflow's end.
        late: bool,
    },
    /// What was personal of it was erased: nobody is reached any more, and what is told of it from now on is not kept.
    ContentsErased {
        /// By which erasure.
        erasure: Uuid,
    },
}

/// What became of a recall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecallResult {
    /// The person will not see the message.
    Recalled,
    /// It was too late; the status that the provider named, if it did.
    TooLate(Option<Status>),
    /// Nobody knows whether the person will see it; why.
    Failed(CallFailure),
    /// No answer came in time, or the service died meanwhile.
    Unanswered,
}

/// How a workflow ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// In what state.
    pub state: EndState,
    /// Why.
    pub reason: Reason,
    /// The provider's code, where one was at fault.
    pub code: Option<String>,
    /// One sentence.
    pub detail: String,
}

/// How it is known that a provider has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcceptedBy {
    /// The provider answered the call so.
    Response,
    /// Its receipt came, with no answer before.
    Receipt,
}

/// What a route promises, as far as it bears on decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteProperties {
    /// For how long a repeated call under the same id sends nothing twice, in milliseconds.
    pub idempotent_for_ms: Option<u64>,
    /// Its receipts can be matched although the call's answer never came.
    pub correlates_receipts: bool,
    /// It tells `delivered`.
    pub reports_delivered: bool,
    /// It can take an accepted message back.
    pub recalls: bool,
    /// A message may go out in parts, each with an id and receipts of its own.
    pub in_parts: bool,
    /// Some of its receipts cover all that was sent in a conversation: the answer puts a message into one.
    pub watermarks: bool,
}

impl Fact {
    /// The name of its kind as it stands on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Fact::Created => "CREATED",
            Fact::StepStarted { .. } => "STEP_STARTED",
            Fact::AttemptPlanned { .. } => "ATTEMPT_PLANNED",
            Fact::AttemptStarted { .. } => "ATTEMPT_STARTED",
            Fact::AttemptAccepted { .. } => "ATTEMPT_ACCEPTED",
            Fact::AttemptRejected { .. } => "ATTEMPT_REJECTED",
            Fact::AttemptRetryScheduled { .. } => "ATTEMPT_RETRY_SCHEDULED",
            Fact::AttemptUnknown { .. } => "ATTEMPT_UNKNOWN",
            Fact::AttemptRepeated { .. } => "ATTEMPT_REPEATED",
            Fact::AttemptDue { .. } => "ATTEMPT_DUE",
            Fact::StatusReached { .. } => "STATUS_REACHED",
            Fact::StatusFailed { .. } => "STATUS_FAILED",
            Fact::StepMet { .. } => "STEP_MET",
            Fact::StepFailed { .. } => "STEP_FAILED",
            Fact::StepExpired { .. } => "STEP_EXPIRED",
            Fact::StepSkipped { .. } => "STEP_SKIPPED",
            Fact::StepCanceled { .. } => "STEP_CANCELED",
            Fact::LateSuccess { .. } => "LATE_SUCCESS",
            Fact::Ended(_) => "ENDED",
            Fact::LateStatus { .. } => "LATE_STATUS",
            Fact::LateFailure { .. } => "LATE_FAILURE",
            Fact::LateSendResult { .. } => "LATE_ANSWER",
            Fact::RecallStarted { .. } => "RECALL_STARTED",
            Fact::RecallEnded { .. } => "RECALL_ENDED",
            Fact::PartReached { .. } => "PART_REACHED",
            Fact::ContentsErased { .. } => "CONTENTS_ERASED",
        }
    }

    /// The attempt it is about, if it is about one.
    pub fn attempt(&self) -> Option<u16> {
        match self {
            Fact::AttemptPlanned { attempt, .. }
            | Fact::AttemptStarted { attempt, .. }
            | Fact::AttemptAccepted { attempt, .. }
            | Fact::AttemptRejected { attempt, .. }
            | Fact::AttemptRetryScheduled { attempt, .. }
            | Fact::AttemptUnknown { attempt, .. }
            | Fact::AttemptRepeated { attempt, .. }
            | Fact::AttemptDue { attempt }
            | Fact::StatusReached { attempt, .. }
            | Fact::StatusFailed { attempt, .. }
            | Fact::LateSuccess { attempt, .. }
            | Fact::LateStatus { attempt, .. }
            | Fact::LateFailure { attempt, .. }
            | Fact::LateSendResult { attempt, .. }
            | Fact::RecallStarted { attempt, .. }
            | Fact::RecallEnded { attempt, .. }
            | Fact::PartReached { attempt, .. } => Some(*attempt),
            Fact::Created
            | Fact::StepStarted { .. }
            | Fact::StepMet { .. }
            | Fact::StepFailed { .. }
            | Fact::StepExpired { .. }
            | Fact::StepSkipped { .. }
            | Fact::StepCanceled { .. }
            | Fact::Ended(_)
            | Fact::ContentsErased { .. } => None,
        }
    }

    /// The step it names, if it names one.
    pub fn step(&self) -> Option<u8> {
        match self {
            Fact::StepStarted { step }
            | Fact::AttemptPlanned { step, .. }
            | Fact::StepMet { step }
            | Fact::StepFailed { step, .. }
            | Fact::StepExpired { step, .. }
            | Fact::StepSkipped { step }
            | Fact::StepCanceled { step }
            | Fact::LateSuccess { step, .. } => Some(*step),
            Fact::Created
            | Fact::AttemptStarted { .. }
            | Fact::AttemptAccepted { .. }
            | Fact::AttemptRejected { .. }
            | Fact::AttemptRetryScheduled { .. }
            | Fact::AttemptUnknown { .. }
            | Fact::AttemptRepeated { .. }
            | Fact::AttemptDue { .. }
            | Fact::StatusReached { .. }
            | Fact::StatusFailed { .. }
            | Fact::Ended(_)
            | Fact::LateStatus { .. }
            | Fact::LateFailure { .. }
            | Fact::LateSendResult { .. }
            | Fact::RecallStarted { .. }
            | Fact::RecallEnded { .. }
            | Fact::PartReached { .. }
            | Fact::ContentsErased { .. } => None,
        }
    }
}

impl RecallResult {
    /// The name used in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            RecallResult::Recalled => "recalled",
            RecallResult::TooLate(_) => "too_late",
            RecallResult::Failed(_) => "failed",
            RecallResult::Unanswered => "unanswered",
        }
    }
}
