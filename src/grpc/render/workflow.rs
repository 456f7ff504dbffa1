//! A workflow and how far it is.

use std::{collections::BTreeMap, time::Duration};

use dispatch_contract::AttemptId;

use super::{
    enums::{self, reason},
    number, spec, state, status, timestamp,
};
use crate::{
    machine::{self, AttemptState, Moment, Phase, Reason, StepStatus, Workflow},
    pb::v1::{self, EventKind, event::Attributes},
    store::Record,
};

/// A workflow, with what its events add: when and how it ended, the provider's ids, why steps were
/// left.
pub(crate) fn workflow(
    record: &Record,
    workflow: &Workflow,
    events: Vec<v1::Event>,
    with_timeline: bool,
) -> v1::Workflow {
    let spec = Some(spec(&record.plan));
    let mut shown = shown(record, workflow, &Told::by(&events), spec);
    if with_timeline {
        shown.timeline = events;
    }
    shown
}

/// Where a workflow is: without what its events add, and of its spec only what a caller knows it by.
pub(crate) fn summary(record: &Record, workflow: &Workflow) -> v1::Workflow {
    let spec = v1::WorkflowSpec {
        labels: record.plan.labels.clone(),
        client_ref: record.plan.client_ref.clone().unwrap_or_default(),
        ..v1::WorkflowSpec::default()
    };
    let spec = Some(spec).filter(|spec| *spec != v1::WorkflowSpec::default());
    shown(record, workflow, &Told::default(), spec)
}

/// A workflow of which no step was left and no call answered yet: its events would add nothing.
pub(crate) fn fresh(record: &Record, workflow: &Workflow) -> Option<v1::Workflow> {
    let is_fresh = |step: &machine::Step| match step.status {
        StepStatus::Waiting | StepStatus::Active => true,
        StepStatus::Met
        | StepStatus::Failed
        | StepStatus::Expired
        | StepStatus::Skipped
        | StepStatus::Canceled => false,
    };
    let is_unanswered = |attempt: &machine::Attempt| match attempt.state {
        AttemptState::Planned | AttemptState::Started => true,
        AttemptState::RetryScheduled { .. }
        | AttemptState::Accepted
        | AttemptState::Rejected
        | AttemptState::Unknown { .. } => false,
    };
    let is_fresh = !workflow.has_ended()
        && workflow.steps.iter().all(is_fresh)
        && workflow.attempts.iter().all(is_unanswered);
    is_fresh.then(|| shown(record, workflow, &Told::default(), Some(spec(&record.plan))))
}

fn shown(
    record: &Record,
    workflow: &Workflow,
    told: &Told<'_>,
    spec: Option<v1::WorkflowSpec>,
) -> v1::Workflow {
    let deadline = workflow.deadlines().next(workflow.updated_at).map(|deadline| v1::Deadline {
        time: Some(timestamp(deadline.at)),
        kind: enums::deadline(deadline.kind) as i32,
    });
    let steps = (0_u8..).zip(&workflow.steps);
    v1::Workflow {
        workflow_id: workflow.id.to_string(),
        state: state(workflow.phase.into()) as i32,
        outcome: outcome(workflow.phase, told),
        spec,
        steps: steps.map(|(index, it)| step(index, it, workflow, told)).collect(),
        create_time: Some(timestamp(record.created_at.wall)),
        update_time: Some(timestamp(workflow.updated_at.wall)),
        end_time: workflow.ended_at.map(shown_at),
        revision: workflow.sequence,
        next_deadline: deadline,
        tenant: record.tenant.to_string(),
        request_id: record.request_id.clone().unwrap_or_default(),
        timeline: Vec::new(),
    }
}

/// What only the events tell.
#[derive(Default)]
struct Told<'a> {
    end: Option<&'a v1::WorkflowEnd>,
    /// The last step that was met, failed or expired before the end.
    decided_by: u32,
    /// By step, counted from 1.
    reasons: BTreeMap<u32, v1::OutcomeReason>,
    /// By attempt.
    provider_ids: BTreeMap<&'a str, &'a str>,
}

impl<'a> Told<'a> {
    fn by(events: &'a [v1::Event]) -> Self {
        let mut told = Told::default();
        for event in events {
            let ended = match (event.kind(), &event.attributes) {
                (EventKind::StepMet, _) => Some(v1::OutcomeReason::ConditionMet),
                (EventKind::LateSuccess, _) => Some(v1::OutcomeReason::LateConditionMet),
                (_, Some(Attributes::StepEnd(end))) => Some(end.reason()),
                _ => None,
            };
            if let Some(why) = ended {
                told.reasons.insert(event.step, why);
                told.decided_by = event.step;
            }
            if let Some(Attributes::WorkflowEnd(end)) = &event.attributes {
                told.end = Some(end);
            }
            if !event.provider_message_id().is_empty() {
                told.provider_ids.insert(&event.attempt_id, event.provider_message_id());
            }
        }
        told
    }
}

fn outcome(phase: Phase, told: &Told<'_>) -> Option<v1::Outcome> {
    let Phase::Ended(_, why) = phase else { return None };
    let end = told.end.cloned().unwrap_or_default();
    // Nobody's step decides a cancel or a passed valid_until.
    let is_outside = matches!(why, Reason::Canceled | Reason::DeadlineExceeded);
    Some(v1::Outcome {
        reason: reason(why) as i32,
        provider_code: end.provider_code,
        detail: end.detail,
        step: if is_outside { 0 } else { told.decided_by },
    })
}

fn step(index: u8, step: &machine::Step, workflow: &Workflow, told: &Told<'_>) -> v1::StepProgress {
    let why = told.reasons.get(&number(index)).copied();
    let why = match (step.status, workflow.phase) {
        // It was given up for the reason for which all ended.
        (StepStatus::Canceled, Phase::Ended(_, why)) => Some(reason(why)),
        (StepStatus::Expired, _) => Some(reason(Reason::Expired)),
        _ => why,
    };
    let expiry_ms = step.failover.and_then(|failover| failover.expiry_ms);
    let expires_at = step
        .clock_at
        .zip(expiry_ms)
        .map(|(at, ms)| workflow.updated_at.wall_at(at.engine.plus(Duration::from_millis(ms))));
    v1::StepProgress {
        number: number(index),
        channel: step.requirement.channel.as_str().to_owned(),
        state: step_state(step.status) as i32,
        status: status(step.reached),
        status_time: step.reached_at.map(shown_at),
        reason: why.unwrap_or_default() as i32,
        start_time: step.active_at.map(shown_at),
        expire_time: expires_at.map(timestamp),
        attempts: workflow
            .attempts_of(index)
            .map(|(number, it)| attempt(workflow, number, it, told))
            .collect(),
    }
}

fn attempt(
    workflow: &Workflow,
    number: u16,
    attempt: &machine::Attempt,
    told: &Told<'_>,
) -> v1::Attempt {
    let id = AttemptId { workflow: workflow.id.0, number }.to_string();
    let provider_id = told.provider_ids.get(id.as_str()).map(|id| (*id).to_owned());
    let retry_at = match attempt.state {
        AttemptState::RetryScheduled { retry_at } => {
            Some(timestamp(workflow.updated_at.wall_at(retry_at)))
        }
        AttemptState::Planned
        | AttemptState::Started
        | AttemptState::Accepted
        | AttemptState::Unknown { .. }
        | AttemptState::Rejected => None,
    };
    v1::Attempt {
        attempt_id: id,
        number: u32::from(number),
        route: attempt.route.to_string(),
        provider_message_id: provider_id.unwrap_or_default(),
        state: attempt_state(attempt.state) as i32,
        status: status(attempt.status),
        failure: attempt.failure.map(enums::failure).unwrap_or_default() as i32,
        call_count: u32::from(attempt.calls),
        start_time: attempt.started_at.map(shown_at),
        retry_time: retry_at,
        possible_duplicate: attempt.possible_duplicate,
    }
}

/// When something happened, as it is told.
fn shown_at(at: Moment) -> prost_types::Timestamp {
    timestamp(at.wall)
}

fn step_state(status: StepStatus) -> v1::StepState {
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

fn attempt_state(state: AttemptState) -> v1::AttemptState {
    match state {
        AttemptState::Planned => v1::AttemptState::Planned,
        AttemptState::Started => v1::AttemptState::Started,
        AttemptState::RetryScheduled { .. } => v1::AttemptState::RetryScheduled,
        AttemptState::Accepted => v1::AttemptState::Accepted,
        AttemptState::Unknown { .. } => v1::AttemptState::Unknown,
        AttemptState::Rejected => v1::AttemptState::Rejected,
    }
}
