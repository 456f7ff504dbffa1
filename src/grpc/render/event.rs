//! Facts as events.

use dispatch_contract::{AttemptId, Status, UnixMillis, Usage};

use super::{end_state, enums, number, state, status, timestamp};
use crate::{
    machine::{Fact, Moment, Rejection, Workflow, describe},
    pb::v1::{self, EventKind, WorkflowState, event::Attributes},
    store::Record,
};

/// One fact as an event. A fact about an attempt does not name its step, and one after the end not
/// how it ended: [`locate`] fills that in where the workflow's state is at hand.
pub(crate) fn event(
    record: &Record,
    at: Moment,
    sequence: u32,
    fact: &Fact,
    resume_token: String,
) -> v1::Event {
    let attempt = fact.attempt().map(|number| AttemptId { workflow: record.id.0, number });
    let mut event = v1::Event {
        workflow_id: record.id.to_string(),
        sequence,
        time: Some(timestamp(at.wall)),
        kind: kind(fact) as i32,
        description: describe(fact),
        state: state_after(fact) as i32,
        attempt_id: attempt.map(|id| id.to_string()).unwrap_or_default(),
        resume_token,
        attributes: attributes(at, fact),
        ..v1::Event::default()
    };
    if let Some(step) = fact.step() {
        place(&mut event, step, record);
    }
    event
}

/// Fills in what a fact by itself does not tell: the step of an attempt, and the state of a
/// workflow that had ended or not yet begun.
pub(crate) fn locate<'a>(
    events: impl IntoIterator<Item = &'a mut v1::Event>,
    record: &Record,
    workflow: &Workflow,
) {
    let has_begun = workflow.steps.iter().any(|step| step.active_at.is_some());
    for event in events {
        let attempt = event.attempt_id.parse::<AttemptId>().ok();
        let attempt = attempt.and_then(|id| workflow.attempt(id.number));
        if let (0, Some(attempt)) = (event.step, attempt) {
            place(event, attempt.step, record);
        }
        match event.state() {
            // What comes after the end says nothing of its own.
            WorkflowState::Unspecified => event.state = state(workflow.phase) as i32,
            // A workflow that ended before its send_at skips its steps without having run.
            WorkflowState::Running if !has_begun => event.state = WorkflowState::Scheduled as i32,
            WorkflowState::Scheduled
            | WorkflowState::Running
            | WorkflowState::Succeeded
            | WorkflowState::Failed
            | WorkflowState::Unconfirmed
            | WorkflowState::Canceled => {}
        }
    }
}

fn place(event: &mut v1::Event, step: u8, record: &Record) {
    event.step = number(step);
    if let Some(step) = record.plan.steps.get(usize::from(step)) {
        event.channel = step.message.channel.as_str().to_owned();
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
    }
}

fn state_after(fact: &Fact) -> WorkflowState {
    match fact {
        Fact::Created => WorkflowState::Scheduled,
        Fact::Ended(outcome) => end_state(outcome.state),
        Fact::LateStatus { .. } | Fact::LateFailure { .. } | Fact::LateSendResult { .. } => {
            WorkflowState::Unspecified
        }
        Fact::StepStarted { .. }
        | Fact::AttemptPlanned { .. }
        | Fact::AttemptStarted { .. }
        | Fact::AttemptAccepted { .. }
        | Fact::AttemptRejected { .. }
        | Fact::AttemptRetryScheduled { .. }
        | Fact::AttemptUnknown { .. }
        | Fact::AttemptRepeated { .. }
        | Fact::AttemptDue { .. }
        | Fact::StatusReached { .. }
        | Fact::StatusFailed { .. }
        | Fact::StepMet { .. }
        | Fact::StepFailed { .. }
        | Fact::StepExpired { .. }
        | Fact::StepSkipped { .. }
        | Fact::StepCanceled { .. }
        | Fact::LateSuccess { .. } => WorkflowState::Running,
    }
}

/// What only some kinds of events have.
fn attributes(at: Moment, fact: &Fact) -> Option<Attributes> {
    Some(match fact {
        Fact::Created
        | Fact::StepStarted { .. }
        | Fact::AttemptStarted { .. }
        | Fact::AttemptDue { .. }
        | Fact::StepMet { .. }
        | Fact::StepSkipped { .. }
        | Fact::StepCanceled { .. } => return None,
        Fact::AttemptPlanned { route, possible_duplicate, .. } => {
            Attributes::AttemptPlan(v1::AttemptPlan {
                route: route.to_string(),
                possible_duplicate: *possible_duplicate,
            })
        }
        Fact::AttemptAccepted { provider_id, .. } => acceptance(Some(provider_id)),
        Fact::LateSendResult { provider_id, .. } => acceptance(provider_id.as_ref()),
        Fact::AttemptRejected { rejection, .. } => call_failure(Some(rejection), None),
        Fact::AttemptRetryScheduled { rejection, retry_at, .. } => {
            call_failure(Some(rejection), Some(at.wall_at(*retry_at)))
        }
        Fact::AttemptUnknown { rejection, wait_until: end, .. }
        | Fact::AttemptRepeated { rejection, retry_at: end, .. } => {
            call_failure(rejection.as_ref(), Some(at.wall_at(*end)))
        }
        Fact::StatusReached { status: reached, provider_time, usage, .. } => {
            status_report(*reached, *provider_time, usage.as_ref(), false)
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
        Fact::Ended(outcome) => Attributes::WorkflowEnd(v1::WorkflowEnd {
            reason: enums::reason(outcome.reason) as i32,
            provider_code: outcome.code.clone().unwrap_or_default(),
            detail: outcome.detail.clone(),
        }),
    })
}

fn acceptance(provider_id: Option<&String>) -> Attributes {
    let provider_message_id = provider_id.cloned().unwrap_or_default();
    Attributes::Acceptance(v1::Acceptance { provider_message_id })
}

/// Without a rejection the service died before the answer; the description says so.
fn call_failure(rejection: Option<&Rejection>, wait_end: Option<UnixMillis>) -> Attributes {
    let wait_end_time = wait_end.map(timestamp);
    Attributes::CallFailure(match rejection {
        None => v1::CallFailure { wait_end_time, ..v1::CallFailure::default() },
        Some(rejection) => v1::CallFailure {
            error: enums::call_error(rejection.kind) as i32,
            fault: enums::fault(rejection.fault) as i32,
            provider_code: rejection.code.clone().unwrap_or_default(),
            detail: rejection.detail.clone(),
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
    Attributes::StatusReport(v1::StatusReport {
        status: status(reached),
        provider_time: provider_time.map(timestamp),
        usage: usage.map(charged),
        unnecessary_failover,
    })
}

fn charged(usage: &Usage) -> v1::Usage {
    v1::Usage { currency: usage.currency.clone(), price: usage.price.clone() }
}
