//! A workflow and how far it is.

use dispatch_contract::AttemptId;

use super::{enums, number, spec, spec::words, state, status, timestamp};
use crate::{
    api::ShownContents,
    machine::{
        self, AttemptProgress, AttemptState, Moment, OutcomeProgress, Progress, StepProgress,
        StepStatus, Workflow, WorkflowId,
    },
    pb::v1,
    store::Record,
};

/// A workflow, with what its facts add, and the timeline that is asked for.
pub(crate) fn workflow(
    record: &Record,
    contents: &ShownContents,
    progress: &Progress<'_>,
    timeline: Vec<v1::Event>,
) -> v1::Workflow {
    let spec = Some(spec(&record.plan, contents));
    v1::Workflow { timeline, ..without_timeline(record, progress, spec, contents.state()) }
}

/// Where a workflow is: without what its facts add, and of its spec only what a caller knows it by.
pub(crate) fn summary(
    record: &Record,
    workflow: &Workflow,
    contents: &ShownContents,
) -> v1::Workflow {
    let spec =
        Some(words(&record.plan, contents)).filter(|spec| *spec != v1::WorkflowSpec::default());
    without_timeline(record, &Progress::of(workflow, []), spec, contents.state())
}

/// A workflow of which no step was left and no call answered yet: its facts would add nothing.
pub(crate) fn fresh(
    record: &Record,
    contents: &ShownContents,
    workflow: &Workflow,
) -> Option<v1::Workflow> {
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
        | AttemptState::Recalling { .. }
        | AttemptState::Rejected
        | AttemptState::Unknown { .. } => false,
    };
    let is_fresh = !workflow.has_ended()
        && workflow.steps.iter().all(is_fresh)
        && workflow.attempts.iter().all(is_unanswered);
    is_fresh.then(|| {
        let spec = Some(spec(&record.plan, contents));
        without_timeline(record, &Progress::of(workflow, []), spec, contents.state())
    })
}

fn without_timeline(
    record: &Record,
    progress: &Progress<'_>,
    spec: Option<v1::WorkflowSpec>,
    contents: v1::ContentsState,
) -> v1::Workflow {
    let deadline = progress.next_deadline.map(|deadline| v1::Deadline {
        time: Some(timestamp(deadline.at)),
        kind: enums::deadline(deadline.kind) as i32,
    });
    // Its key is gone in either case; who asks is told why.
    let contents = match contents {
        v1::ContentsState::Dropped if progress.is_erased => v1::ContentsState::Erased,
        other => other,
    };
    v1::Workflow {
        workflow_id: progress.id.to_string(),
        state: state(progress.state) as i32,
        outcome: progress.outcome.as_ref().map(outcome),
        spec,
        steps: progress.steps().map(|it| step(progress.id, &it)).collect(),
        create_time: Some(timestamp(record.created_at.wall)),
        update_time: Some(timestamp(progress.updated_at.wall)),
        end_time: progress.ended_at.map(shown_at),
        revision: progress.revision,
        next_deadline: deadline,
        tenant: record.tenant.to_string(),
        request_id: record.request_id().unwrap_or_default().to_owned(),
        timeline: Vec::new(),
        contents: contents as i32,
    }
}

fn outcome(outcome: &OutcomeProgress<'_>) -> v1::Outcome {
    v1::Outcome {
        reason: enums::reason(outcome.reason) as i32,
        provider_code: outcome.provider_code.unwrap_or_default().to_owned(),
        detail: outcome.detail.to_owned(),
        step: outcome.step.map(number).unwrap_or_default(),
    }
}

fn step(workflow: WorkflowId, step: &StepProgress<'_>) -> v1::StepProgress {
    v1::StepProgress {
        number: number(step.index),
        channel: step.channel.as_str().to_owned(),
        state: enums::step_state(step.state) as i32,
        status: status(step.status),
        status_time: step.status_at.map(shown_at),
        reason: step.reason.map(enums::reason).unwrap_or_default() as i32,
        start_time: step.started_at.map(shown_at),
        expire_time: step.expires_at.map(timestamp),
        attempts: step.attempts().map(|it| attempt(workflow, &it)).collect(),
    }
}

fn attempt(workflow: WorkflowId, attempt: &AttemptProgress<'_>) -> v1::Attempt {
    v1::Attempt {
        attempt_id: AttemptId { workflow: workflow.0, number: attempt.number }.to_string(),
        number: u32::from(attempt.number),
        route: attempt.route.to_owned(),
        provider_message_ids: attempt.provider_ids.to_vec(),
        state: enums::attempt_state(attempt.state) as i32,
        status: status(attempt.status),
        failure: attempt.failure.map(enums::failure).unwrap_or_default() as i32,
        call_count: u32::from(attempt.calls),
        start_time: attempt.started_at.map(shown_at),
        retry_time: attempt.retry_at.map(timestamp),
        possible_duplicate: attempt.possible_duplicate,
    }
}

/// When something happened, as it is told.
fn shown_at(at: Moment) -> prost_types::Timestamp {
    timestamp(at.wall)
}
