//! The closed sets of the service's types as the API's enums.

use dispatch_contract::{ErrorKind, Failure, Fault};

use crate::{
    access::Scope,
    machine::{AttemptState, DeadlineKind, Reason, RecallResult, StepStatus},
    pb::v1,
};

pub(super) fn reason(reason: Reason) -> v1::OutcomeReason {
    match reason {
        Reason::ConditionMet => v1::OutcomeReason::ConditionMet,
        Reason::LateConditionMet => v1::OutcomeReason::LateConditionMet,
        Reason::Rejected => v1::OutcomeReason::Rejected,
        Reason::Undeliverable => v1::OutcomeReason::Undeliverable,
        Reason::Expired => v1::OutcomeReason::Expired,
        Reason::RetriesExhausted => v1::OutcomeReason::RetriesExhausted,
        Reason::OutcomeUnknown => v1::OutcomeReason::OutcomeUnknown,
        Reason::NoRoute => v1::OutcomeReason::NoRoute,
        Reason::NoReceipts => v1::OutcomeReason::NoReceipts,
        Reason::OptedOut => v1::OutcomeReason::OptedOut,
        Reason::DeadlineExceeded => v1::OutcomeReason::DeadlineExceeded,
        Reason::Canceled => v1::OutcomeReason::Canceled,
        Reason::NotSentInTime => v1::OutcomeReason::NotSentInTime,
        Reason::NoConfirmation => v1::OutcomeReason::NoConfirmation,
        Reason::RouteSaturated => v1::OutcomeReason::RouteSaturated,
    }
}

pub(super) fn failure(failure: Failure) -> v1::MessageFailure {
    match failure {
        Failure::Rejected => v1::MessageFailure::Rejected,
        Failure::Undeliverable => v1::MessageFailure::Undeliverable,
    }
}

pub(super) fn call_error(kind: ErrorKind) -> v1::CallErrorKind {
    match kind {
        ErrorKind::Throttled => v1::CallErrorKind::Throttled,
        ErrorKind::Unreachable => v1::CallErrorKind::Unreachable,
        ErrorKind::Timeout => v1::CallErrorKind::Timeout,
        ErrorKind::ProviderFailure => v1::CallErrorKind::ProviderFailure,
        ErrorKind::Unauthorized => v1::CallErrorKind::Unauthorized,
        ErrorKind::InsufficientFunds => v1::CallErrorKind::InsufficientFunds,
        ErrorKind::Forbidden => v1::CallErrorKind::Forbidden,
        ErrorKind::InvalidRequest => v1::CallErrorKind::InvalidRequest,
        ErrorKind::ContentRejected => v1::CallErrorKind::ContentRejected,
        ErrorKind::InvalidRecipient => v1::CallErrorKind::InvalidRecipient,
        ErrorKind::OptedOut => v1::CallErrorKind::OptedOut,
        ErrorKind::OutsideWindow => v1::CallErrorKind::OutsideWindow,
        ErrorKind::Unreached => v1::CallErrorKind::Unreached,
    }
}

pub(super) fn fault(fault: Fault) -> v1::Fault {
    match fault {
        Fault::Provider => v1::Fault::Provider,
        Fault::Recipient => v1::Fault::Recipient,
        Fault::Content => v1::Fault::Content,
        Fault::Account => v1::Fault::Account,
    }
}

pub(super) fn deadline(kind: DeadlineKind) -> v1::DeadlineKind {
    match kind {
        DeadlineKind::Send => v1::DeadlineKind::SendAt,
        DeadlineKind::Retry => v1::DeadlineKind::Retry,
        DeadlineKind::SendWithin => v1::DeadlineKind::SendWithin,
        DeadlineKind::ValidUntil => v1::DeadlineKind::ValidUntil,
        DeadlineKind::UnknownWait => v1::DeadlineKind::UnknownWait,
        DeadlineKind::Expiry => v1::DeadlineKind::ExpiryTime,
        DeadlineKind::UnconfirmedAfter => v1::DeadlineKind::UnconfirmedAfter,
        DeadlineKind::RecallWait => v1::DeadlineKind::RecallWait,
    }
}

pub(super) fn recall_result(result: &RecallResult) -> v1::RecallResult {
    match result {
        RecallResult::Recalled => v1::RecallResult::Recalled,
        RecallResult::TooLate(_) => v1::RecallResult::TooLate,
        RecallResult::Failed(_) => v1::RecallResult::Failed,
        RecallResult::Unanswered => v1::RecallResult::Unanswered,
    }
}

pub(super) fn step_state(status: StepStatus) -> v1::StepState {
    match status {
        StepStatus::Waiting => v1::StepState::Waiting,
        StepStatus::Active => v1::StepState::Active,
        StepStatus::Met => v1::StepState::Met,
        StepStatus::Failed => v1::StepState::Failed,
        StepStatus::Expired => v1::StepState::Expired,
        StepStatus::Skipped => v1::StepState::Skipped,
        StepStatus::Canceled => v1::StepState::Canceled,
    }
}

pub(super) fn attempt_state(state: AttemptState) -> v1::AttemptState {
    match state {
        AttemptState::Planned => v1::AttemptState::Planned,
        AttemptState::Started => v1::AttemptState::Started,
        AttemptState::RetryScheduled { .. } => v1::AttemptState::RetryScheduled,
        // Its provider has it until it says otherwise; the timeline tells of the recall.
        AttemptState::Accepted | AttemptState::Recalling { .. } => v1::AttemptState::Accepted,
        AttemptState::Unknown { .. } => v1::AttemptState::Unknown,
        AttemptState::Rejected => v1::AttemptState::Rejected,
    }
}

/// What a key's holder may do.
pub(crate) fn scope(scope: Scope) -> v1::Scope {
    match scope {
        Scope::Create => v1::Scope::Create,
        Scope::Read => v1::Scope::Read,
        Scope::Cancel => v1::Scope::Cancel,
        Scope::Admin => v1::Scope::Admin,
        Scope::Operator => v1::Scope::Operator,
        Scope::Contents => v1::Scope::Contents,
    }
}
