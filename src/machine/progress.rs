//! How far a workflow is, said once: what every edge says of it.
//!
//! [`Progress::of`] folds the timeline together with the state: what the state does not keep (why steps were
//! left, the providers' ids of messages, how the end was explained) is only in the facts, and what a fact does
//! not say (its attempt's step, the workflow's state after it) is only in the state. gRPC, REST, callbacks and
//! `why` render this, and none of them reads its own output.
//!
//! It deliberately knows no words of an API: times are [`Moment`]s or shown by the wall clock, steps are counted
//! from 0, and what is not known is `None`.

use std::{sync::Arc, time::Duration};

use dispatch_contract::{Channel, Failure, Status, UnixMillis};

use super::{
    AttemptState, Deadline, EndState, Fact, Moment, Phase, Reason, StepStatus, Workflow,
    WorkflowId, describe,
};

/// A workflow and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it is in its life.
    pub state: ProgressState,
    /// How it ended, once it has.
    pub outcome: Option<OutcomeProgress>,
    /// Its steps, in order.
    pub steps: Vec<StepProgress>,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// What it waits for next, by the wall clock.
    pub next_deadline: Option<Deadline>,
}

/// Where a workflow is in its life, for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressState {
    /// It waits for `send_at`.
    Scheduled,
    /// A step is being tried.
    Running,
    /// It is over.
    Ended(EndState),
}

/// How a workflow ended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeProgress {
    /// Why.
    pub reason: Reason,
    /// The provider's code, where one was at fault.
    pub provider_code: Option<String>,
    /// One sentence; empty where the facts were not at hand.
    pub detail: String,
    /// The step that decided it; `None` where none did, as with a cancel.
    pub step: Option<u8>,
}

/// A step and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepProgress {
    /// The channel that it sends on.
    pub channel: Channel,
    /// Where it is.
    pub state: StepStatus,
    /// The highest status of its attempts' messages.
    pub status: Status,
    /// When that was reached.
    pub status_at: Option<Moment>,
    /// Why it was left, once it was.
    pub reason: Option<Reason>,
    /// When it became active.
    pub started_at: Option<Moment>,
    /// When its condition must be met, by the wall clock; `None` before an acceptance, and without an expiry.
    pub expires_at: Option<UnixMillis>,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptProgress>,
}

/// An attempt and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptProgress {
    /// Counted from 1 within the workflow.
    pub number: u16,
    /// The route it goes by.
    pub route: Arc<str>,
    /// The provider's id of its message, where it is known.
    pub provider_id: Option<String>,
    /// Where it is.
    pub state: AttemptState,
    /// The status that its message reached.
    pub status: Status,
    /// In what way its message failed, if it did.
    pub failure: Option<Failure>,
    /// How many calls were started.
    pub calls: u16,
    /// When the first was.
    pub started_at: Option<Moment>,
    /// When the next call is due, by the wall clock.
    pub retry_at: Option<UnixMillis>,
    /// An earlier attempt of the step may have gone out.
    pub possible_duplicate: bool,
}

/// A fact in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEvent<'a> {
    /// Whose timeline it stands in.
    pub workflow: WorkflowId,
    /// The fact's number within the workflow, counted from 1.
    pub sequence: u32,
    /// When it became so.
    pub at: Moment,
    /// The step that it is about.
    pub step: Option<u8>,
    /// The channel of that step.
    pub channel: Option<&'a Channel>,
    /// The attempt that it is about.
    pub attempt: Option<u16>,
    /// The workflow's state from then on.
    pub state: ProgressState,
    /// Until when the workflow waits because of it, by the wall clock as it stood then.
    pub wait_until: Option<UnixMillis>,
    /// What became so.
    pub fact: &'a Fact,
}

/// What only the facts tell.
#[derive(Default)]
struct FactDigest<'a> {
    /// Why steps were left, by step.
    reasons: Vec<Option<Reason>>,
    /// The last step that was met, failed or expired before the end.
    decided_by: Option<u8>,
    /// The providers' ids, by attempt.
    provider_ids: Vec<Option<&'a str>>,
    end: Option<&'a super::Outcome>,
}

impl Progress {
    /// How far `workflow` is, by its state and its whole timeline. Without facts it is what the state alone
    /// tells, which is all of it until a step was left or a call answered.
    pub fn of<'a>(workflow: &Workflow, facts: impl IntoIterator<Item = &'a Fact>) -> Progress {
        let digest = FactDigest::by(workflow, facts);
        let steps = (0_u8..).zip(&workflow.steps);
        Progress {
            state: workflow.phase.into(),
            outcome: digest.outcome(workflow.phase),
            steps: steps.map(|(index, step)| digest.step(workflow, index, step)).collect(),
            ended_at: workflow.ended_at,
            next_deadline: workflow.deadlines().next(workflow.updated_at),
        }
    }
}

impl From<Phase> for ProgressState {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Scheduled => ProgressState::Scheduled,
            Phase::Running(_) => ProgressState::Running,
            Phase::Ended(state, _) => ProgressState::Ended(state),
        }
    }
}

impl<'a> TimelineEvent<'a> {
    /// `fact` in the timeline of `workflow`, which may be newer than the fact: what is taken from it never
    /// changes.
    pub fn of(workflow: &'a Workflow, sequence: u32, at: Moment, fact: &'a Fact) -> Self {
        let attempt = fact.attempt();
        let step = fact.step().or_else(|| Some(workflow.attempt(attempt?)?.step));
        let channel = step.and_then(|step| workflow.steps.get(usize::from(step)));
        TimelineEvent {
            workflow: workflow.id,
            sequence,
            at,
            step,
            channel: channel.map(|step| &step.requirement.channel),
            attempt,
            state: state_after(workflow, fact),
            wait_until: wait_until(fact).map(|until| at.wall_at(until)),
            fact,
        }
    }

    /// What it says, for people: one sentence, in which steps are counted from 1.
    pub fn description(&self) -> String {
        describe(self.fact)
    }
}

impl<'a> FactDigest<'a> {
    fn by(workflow: &Workflow, facts: impl IntoIterator<Item = &'a Fact>) -> Self {
        let mut digest = FactDigest {
            reasons: vec![None; workflow.steps.len()],
            provider_ids: vec![None; workflow.attempts.len()],
            ..FactDigest::default()
        };
        for fact in facts {
            if let Some((step, reason)) = left(fact) {
                digest.decided_by = Some(step);
                if let Some(known) = digest.reasons.get_mut(usize::from(step)) {
                    *known = Some(reason);
                }
            }
            if let Some((attempt, id)) = provider_id(fact)
                && let Some(known) =
                    digest.provider_ids.get_mut(usize::from(attempt.wrapping_sub(1)))
            {
                *known = Some(id);
            }
            if let Fact::Ended(outcome) = fact {
                digest.end = Some(outcome);
            }
        }
        digest
    }

    fn outcome(&self, phase: Phase) -> Option<OutcomeProgress> {
        let Phase::Ended(_, reason) = phase else { return None };
        // Nobody's step decides a cancel or a passed valid_until.
        let is_outside = matches!(reason, Reason::Canceled | Reason::DeadlineExceeded);
        Some(OutcomeProgress {
            reason,
            provider_code: self.end.and_then(|end| end.code.clone()),
            detail: self.end.map(|end| end.detail.clone()).unwrap_or_default(),
            step: self.decided_by.filter(|_| !is_outside),
        })
    }

    fn step(&self, workflow: &Workflow, index: u8, step: &super::Step) -> StepProgress {
        let reason = match (step.status, workflow.phase) {
            // It was left for the reason for which all ended.
            (StepStatus::Canceled, Phase::Ended(_, reason)) => Some(reason),
            (StepStatus::Expired, _) => Some(Reason::Expired),
            _ => self.reasons.get(usize::from(index)).copied().flatten(),
        };
        let expiry_ms = step.failover.and_then(|failover| failover.expiry_ms);
        let expires_at = step
            .clock_at
            .zip(expiry_ms)
            .map(|(at, ms)| workflow.updated_at.wall_at(at.engine.plus(Duration::from_millis(ms))));
        let attempts = workflow.attempts_of(index);
        StepProgress {
            channel: step.requirement.channel.clone(),
            state: step.status,
            status: step.reached,
            status_at: step.reached_at,
            reason,
            started_at: step.active_at,
            expires_at,
            attempts: attempts.map(|(number, it)| self.attempt(workflow, number, it)).collect(),
        }
    }

    fn attempt(
        &self,
        workflow: &Workflow,
        number: u16,
        attempt: &super::Attempt,
    ) -> AttemptProgress {
        let provider_id = self.provider_ids.get(usize::from(number.wrapping_sub(1)));
        let retry_at = match attempt.state {
            AttemptState::RetryScheduled { retry_at } => {
                Some(workflow.updated_at.wall_at(retry_at))
            }
            AttemptState::Planned
            | AttemptState::Started
            | AttemptState::Accepted
            | AttemptState::Unknown { .. }
            | AttemptState::Rejected => None,
        };
        AttemptProgress {
            number,
            route: Arc::clone(&attempt.route),
            provider_id: provider_id.copied().flatten().map(str::to_owned),
            state: attempt.state,
            status: attempt.status,
            failure: attempt.failure,
            calls: attempt.calls,
            started_at: attempt.started_at,
            retry_at,
            possible_duplicate: attempt.possible_duplicate,
        }
    }
}

/// The step that a fact decides, and why.
fn left(fact: &Fact) -> Option<(u8, Reason)> {
    match fact {
        Fact::StepMet { step } => Some((*step, Reason::ConditionMet)),
        Fact::LateSuccess { step, .. } => Some((*step, Reason::LateConditionMet)),
        Fact::StepFailed { step, reason, .. } => Some((*step, *reason)),
        Fact::StepExpired { step, .. } => Some((*step, Reason::Expired)),
        Fact::Created
        | Fact::StepStarted { .. }
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
        | Fact::StepSkipped { .. }
        | Fact::StepCanceled { .. }
        | Fact::Ended(_)
        | Fact::LateStatus { .. }
        | Fact::LateFailure { .. }
        | Fact::LateSendResult { .. } => None,
    }
}

/// The provider's id that a fact tells, and of which attempt. A receipt that names none leaves it empty.
fn provider_id(fact: &Fact) -> Option<(u16, &str)> {
    let (attempt, id) = match fact {
        Fact::AttemptAccepted { attempt, provider_id, .. } => (*attempt, &**provider_id),
        Fact::LateSendResult { attempt, provider_id, .. } => (*attempt, provider_id.as_deref()?),
        _ => return None,
    };
    (!id.is_empty()).then_some((attempt, id))
}

/// Until when a fact makes the workflow wait, in engine time.
fn wait_until(fact: &Fact) -> Option<UnixMillis> {
    match fact {
        Fact::AttemptRetryScheduled { retry_at, .. } | Fact::AttemptRepeated { retry_at, .. } => {
            Some(*retry_at)
        }
        Fact::AttemptUnknown { wait_until, .. } => Some(*wait_until),
        _ => None,
    }
}

fn state_after(workflow: &Workflow, fact: &Fact) -> ProgressState {
    match fact {
        Fact::Created => ProgressState::Scheduled,
        Fact::Ended(outcome) => ProgressState::Ended(outcome.state),
        // What comes after the end says nothing of its own.
        Fact::LateStatus { .. } | Fact::LateFailure { .. } | Fact::LateSendResult { .. } => {
            workflow.phase.into()
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
        | Fact::LateSuccess { .. } => {
            // A workflow that ended before its send_at skips its steps without having run.
            let has_begun = workflow.steps.iter().any(|step| step.active_at.is_some());
            if has_begun { ProgressState::Running } else { ProgressState::Scheduled }
        }
    }
}
