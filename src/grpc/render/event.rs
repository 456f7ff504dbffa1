//! Facts as events.

use dispatch_contract::{AttemptId, Status, UnixMillis, Usage};

use super::{enums, number, state, status, timestamp};
use crate::{
    machine::{CallFailure, Fact, RecallResult, TimelineEvent},
    pb::v1::{self, EventKind, event::Attributes},
};

/// An event, with the token that goes on behind it; empty where nobody goes on.
pub(crate) fn event(event: &TimelineEvent<'_>, resume_token: String) -> v1::Event {
    let id = |number| AttemptId { workflow: event.workflow.0, number }.to_string();
    v1::Event {
        workflow_id: event.workflow.to_string(),
        sequence: event.sequence,
        time: Some(timestamp(event.at.wall)),
        kind: kind(event.fact) as i32,
        description: event.description(),
        state: state(event.state) as i32,
        step: event.step.map(number).unwrap_or_default(),
        channel: event.channel.map(|channel| channel.as_str().to_owned()).unwrap_or_default(),
        attempt_id: event.attempt.map(id).unwrap_or_default(),
        resume_token,
        attributes: attributes(event),
        ..v1::Event::default()
    }
}

fn kind(fact: &Fact) -> EventKind {
    match fact {
        Fact::Created => EventKind::Created,
        Fact::StepStarted { .. } => EventKind::StepStarted,
        Fact::AttemptPlanned { .. } => EventKind::AttemptPlanned,
        Fact::AttemptStarted { .. } => EventKind::AttemptStarted,
        Fact::AttemptAccepted { .. } => EventKind::AttemptAccepted,
        Fact::AttemptRejected { .. } => EventKind::AttemptRejected,
        Fact::AttemptRetryScheduled { .. } => EventKind::AttemptRetryScheduled,
        Fact::AttemptUnknown { .. } => EventKind::AttemptUnknown,
        Fact::AttemptRepeated { .. } => EventKind::AttemptRepeated,
        Fact::AttemptDue { .. } => EventKind::AttemptDue,
        Fact::StatusReached { .. } => EventKind::StatusReached,
        Fact::StatusFailed { .. } => EventKind::StatusFailed,
        Fact::StepMet { .. } => EventKind::StepMet,
        Fact::StepFailed { .. } => EventKind::StepFailed,
        Fact::StepExpired { .. } => EventKind::StepExpired,
        Fact::StepSkipped { .. } => EventKind::StepSkipped,
        Fact::StepCanceled { .. } => EventKind::StepCanceled,
        Fact::LateSuccess { .. } => EventKind::LateSuccess,
        Fact::Ended(_) => EventKind::Ended,
        Fact::LateStatus { .. } => EventKind::LateStatus,
        Fact::LateFailure { .. } => EventKind::LateFailure,
        Fact::LateSendResult { .. } => EventKind::LateAnswer,
        Fact::RecallStarted { .. } => EventKind::RecallStarted,
        Fact::RecallEnded { .. } => EventKind::RecallEnded,
        Fact::PartReached { .. } => EventKind::PartReached,
        Fact::ContentsErased { .. } => EventKind::ContentsErased,
    }
}

/// What only some kinds of events have.
fn attributes(event: &TimelineEvent<'_>) -> Option<Attributes> {
    Some(match event.fact {
        Fact::Created
        | Fact::StepStarted { .. }
        | Fact::AttemptStarted { .. }
        | Fact::AttemptDue { .. }
        | Fact::StepMet { .. }
        | Fact::StepSkipped { .. }
        | Fact::StepCanceled { .. }
        | Fact::ContentsErased { .. } => return None,
        Fact::AttemptPlanned { route, possible_duplicate, .. } => {
            Attributes::AttemptPlan(v1::AttemptPlan {
                route: route.to_string(),
                possible_duplicate: *possible_duplicate,
            })
        }
        Fact::AttemptAccepted { provider_ids, .. } => acceptance(provider_ids),
        Fact::LateSendResult { provider_ids, .. } => {
            acceptance(provider_ids.as_deref().unwrap_or_default())
        }
        Fact::AttemptRejected { failure, .. } | Fact::AttemptRetryScheduled { failure, .. } => {
            call_failure(Some(failure), event.wait_until)
        }
        Fact::AttemptUnknown { failure, .. } | Fact::AttemptRepeated { failure, .. } => {
            call_failure(failure.as_ref(), event.wait_until)
        }
        Fact::StatusReached { status: reached, provider_time, usage, .. } => {
            status_report(*reached, *provider_time, usage.as_ref(), false)
        }
        Fact::PartReached { part, status: reached, provider_time, usage, .. } => {
            Attributes::StatusReport(v1::StatusReport {
                part: u32::from(*part),
                ..report_of(*reached, *provider_time, usage.as_ref(), false)
            })
        }
        Fact::LateStatus {
            status: reached, provider_time, usage, unnecessary_failover, ..
        } => status_report(*reached, *provider_time, usage.as_ref(), *unnecessary_failover),
        Fact::LateSuccess { status: reached, unnecessary_failover, .. } => {
            status_report(*reached, None, None, *unnecessary_failover)
        }
        Fact::StatusFailed { failure, code, detail, provider_time, usage, .. }
        | Fact::LateFailure { failure, code, detail, provider_time, usage, .. } => {
            Attributes::FailureReport(v1::FailureReport {
                failure: enums::failure(*failure) as i32,
                provider_code: code.clone().unwrap_or_default(),
                detail: detail.clone().unwrap_or_default(),
                provider_time: provider_time.map(timestamp),
                usage: usage.as_ref().map(charged),
            })
        }
        Fact::StepFailed { reason, code, detail, .. } => Attributes::StepEnd(v1::StepEnd {
            reason: enums::reason(*reason) as i32,
            provider_code: code.clone().unwrap_or_default(),
            detail: detail.clone(),
            ..v1::StepEnd::default()
        }),
        Fact::StepExpired { last, late_ms, while_down, .. } => Attributes::StepEnd(v1::StepEnd {
            reason: v1::OutcomeReason::Expired as i32,
            last_status: status(*last),
            while_down: *while_down,
            late_by: (*late_ms > 0).then(|| super::duration(*late_ms)),
            ..v1::StepEnd::default()
        }),
        Fact::RecallStarted { .. } => Attributes::Recall(v1::Recall {
            wait_end_time: event.wait_until.map(timestamp),
            ..v1::Recall::default()
        }),
        Fact::RecallEnded { result, .. } => {
            let failure = match result {
                RecallResult::Failed(failure) => Some(failure),
                RecallResult::Recalled | RecallResult::TooLate(_) | RecallResult::Unanswered => {
                    None
                }
            };
            Attributes::Recall(v1::Recall {
                result: enums::recall_result(result) as i32,
                wait_end_time: None,
                provider_code: failure.and_then(|it| it.code.clone()).unwrap_or_default(),
                detail: failure.map(|it| it.detail.clone()).unwrap_or_default(),
            })
        }
        Fact::Ended(outcome) => Attributes::WorkflowEnd(v1::WorkflowEnd {
            reason: enums::reason(outcome.reason) as i32,
            provider_code: outcome.code.clone().unwrap_or_default(),
            detail: outcome.detail.clone(),
        }),
    })
}

fn acceptance(provider_ids: &[String]) -> Attributes {
    Attributes::Acceptance(v1::Acceptance { provider_message_ids: provider_ids.to_vec() })
}

/// Without a failure the service died before the answer; the description says so.
fn call_failure(failure: Option<&CallFailure>, wait_end: Option<UnixMillis>) -> Attributes {
    let wait_end_time = wait_end.map(timestamp);
    Attributes::CallFailure(match failure {
        None => v1::CallFailure { wait_end_time, ..v1::CallFailure::default() },
        Some(failure) => v1::CallFailure {
            error: enums::call_error(failure.kind) as i32,
            fault: enums::fault(failure.fault) as i32,
            provider_code: failure.code.clone().unwrap_or_default(),
            detail: failure.detail.clone(),
            wait_end_time,
        },
    })
}

fn status_report(
    reached: Status,
    provider_time: Option<UnixMillis>,
    usage: Option<&Usage>,
    unnecessary_failover: bool,
) -> Attributes {
    Attributes::StatusReport(report_of(reached, provider_time, usage, unnecessary_failover))
}

fn report_of(
    reached: Status,
    provider_time: Option<UnixMillis>,
    usage: Option<&Usage>,
    unnecessary_failover: bool,
) -> v1::StatusReport {
    v1::StatusReport {
        status: status(reached),
        provider_time: provider_time.map(timestamp),
        usage: usage.map(charged),
        unnecessary_failover,
        part: 0,
    }
}

fn charged(usage: &Usage) -> v1::Usage {
    v1::Usage { currency: usage.currency.clone(), price: usage.price.clone() }
}
