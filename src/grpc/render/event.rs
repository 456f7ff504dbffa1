//! Facts as events.

use dispatch_contract::{AttemptId, Fault, UnixMillis, Usage};

use super::{end_state, number, reason, state, status, timestamp};
use crate::{
    machine::{Fact, Moment, Rejection, Workflow, describe},
    pb::v1::{self, EventKind, WorkflowState},
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
        ..v1::Event::default()
    };
    if let Some(step) = fact.step() {
        place(&mut event, step, record);
    }
    fill(&mut event, at, fact);
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

/// What each kind of event tells beside its place.
fn fill(event: &mut v1::Event, at: Moment, fact: &Fact) {
    match fact {
        Fact::Created
        | Fact::StepStarted { .. }
        | Fact::AttemptStarted { .. }
        | Fact::AttemptDue { .. }
        | Fact::StepMet { .. }
        | Fact::StepSkipped { .. }
        | Fact::StepCanceled { .. } => {}
        Fact::AttemptPlanned { route, possible_duplicate, .. } => {
            event.route = route.to_string();
            event.possible_duplicate = *possible_duplicate;
        }
        Fact::AttemptAccepted { provider_id, .. } => {
            event.provider_message_id = provider_id.clone()
        }
        Fact::AttemptRejected { rejection, .. } => refused(event, Some(rejection)),
        Fact::AttemptRetryScheduled { rejection, retry_at, .. } => {
            refused(event, Some(rejection));
            event.wait_end_time = Some(timestamp(at.wall_at(*retry_at)));
        }
        Fact::AttemptUnknown { rejection, wait_until: until, .. }
        | Fact::AttemptRepeated { rejection, retry_at: until, .. } => {
            refused(event, rejection.as_ref());
            event.wait_end_time = Some(timestamp(at.wall_at(*until)));
        }
        Fact::StatusReached { status: reached, provider_time, usage, .. } => {
            event.status = status(*reached);
            told(event, *provider_time, usage.as_ref());
        }
        Fact::StatusFailed { failure, code, detail, provider_time, usage, .. }
        | Fact::LateFailure { failure, code, detail, provider_time, usage, .. } => {
            event.failure = failure.as_str().to_owned();
            event.provider_code = code.clone().unwrap_or_default();
            event.detail = detail.clone().unwrap_or_default();
            told(event, *provider_time, usage.as_ref());
        }
        Fact::StepFailed { reason: why, code, detail, .. } => {
            event.reason = reason(*why);
            event.provider_code = code.clone().unwrap_or_default();
            event.detail = detail.clone();
        }
        Fact::StepExpired { last, late_ms, while_down, .. } => {
            event.reason = reason(crate::machine::Reason::Expired);
            event.status = status(*last);
            event.while_down = *while_down;
            event.late_by = (*late_ms > 0).then(|| super::duration(*late_ms));
        }
        Fact::LateSuccess { status: reached, unnecessary_failover, .. } => {
            event.status = status(*reached);
            event.unnecessary_failover = *unnecessary_failover;
        }
        Fact::Ended(outcome) => {
            event.reason = reason(outcome.reason);
            event.provider_code = outcome.code.clone().unwrap_or_default();
            event.detail = outcome.detail.clone();
        }
        Fact::LateStatus {
            status: reached, provider_time, usage, unnecessary_failover, ..
        } => {
            event.status = status(*reached);
            event.unnecessary_failover = *unnecessary_failover;
            told(event, *provider_time, usage.as_ref());
        }
        Fact::LateSendResult { provider_id, .. } => {
            event.provider_message_id = provider_id.clone().unwrap_or_default();
        }
    }
}

fn refused(event: &mut v1::Event, rejection: Option<&Rejection>) {
    // None: the service died before the answer; the sentence says so.
    let Some(rejection) = rejection else { return };
    event.error = rejection.kind.as_str().to_owned();
    event.fault = match rejection.fault {
        Fault::Provider => "provider",
        Fault::Recipient => "recipient",
        Fault::Content => "content",
        Fault::Account => "account",
    }
    .to_owned();
    event.provider_code = rejection.code.clone().unwrap_or_default();
    event.detail = rejection.detail.clone();
}

fn told(event: &mut v1::Event, provider_time: Option<UnixMillis>, usage: Option<&Usage>) {
    event.provider_time = provider_time.map(timestamp);
    event.usage = usage
        .map(|usage| v1::Usage { currency: usage.currency.clone(), price: usage.price.clone() });
}
