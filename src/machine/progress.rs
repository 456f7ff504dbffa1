//! How far a workflow is, said once: what every edge says of it.
//!
//! [`Progress::of`] folds the timeline together with the state: what the state does not keep (why steps were
//! left, the providers' ids of messages, how the end was explained) is only in the facts, and what a fact does
//! not say (its attempt's step, the workflow's state after it) is only in the state. gRPC and REST render this,
//! and neither reads its own output. Callbacks are another projection.
//!
//! Of an API it knows the names of states alone: times are [`Moment`]s or by the wall clock, steps are counted
//! from 0, and what is not known is `None`.

use std::time::Duration;

use dispatch_contract::{Channel, Failure, Status, UnixMillis};

use super::{
    AttemptState, Deadline, EndState, Fact, Moment, Phase, Reason, StepStatus, Workflow,
    WorkflowId, describe,
};

/// A workflow and how far it is. It borrows from the state and the facts, and allocates nothing until a fact
/// adds to the state: a create is answered with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Whose progress it is.
    pub id: WorkflowId,
    /// Where it is in its life.
    pub state: ProgressState,
    /// How it ended, once it has.
    pub outcome: Option<OutcomeProgress<'a>>,
    /// How many facts the state was folded from.
    pub revision: u32,
    /// When the last of them became so.
    pub updated_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// What was personal of it was erased.
    pub is_erased: bool,
    /// What it waits for next, by the wall clock.
    pub next_deadline: Option<Deadline>,
    workflow: &'a Workflow,
    digest: FactDigest<'a>,
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
pub struct OutcomeProgress<'a> {
    /// Why.
    pub reason: Reason,
    /// The provider's code, where one was at fault.
    pub provider_code: Option<&'a str>,
    /// One sentence; empty where the facts were not at hand.
    pub detail: &'a str,
    /// The step that decided it; `None` where none did, as with a cancel.
    pub step: Option<u8>,
}

/// A step and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepProgress<'a> {
    /// Counted from 0.
    pub index: u8,
    /// The channel that it sends on.
    pub channel: &'a Channel,
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
    progress: &'a Progress<'a>,
}

/// An attempt and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptProgress<'a> {
    /// Counted from 1 within the workflow.
    pub number: u16,
    /// The route it goes by.
    pub route: &'a str,
    /// The provider's ids of its message, one a part, where they are known.
    pub provider_ids: &'a [String],
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FactDigest<'a> {
    /// Why steps were left, by step; as long as the last step of which that is known.
    reasons: Vec<Option<Reason>>,
    /// The last step that was met, failed or expired before the end.
    decided_by: Option<u8>,
    /// The providers' ids, by attempt, from attempt 1; as long as the last of which that is known.
    provider_ids: Vec<Option<&'a [String]>>,
    end: Option<&'a super::Outcome>,
}

/// What one fact tells that the state does not keep, or not in its order.
#[derive(Clone, Copy, Debug, Default)]
struct FactNews<'a> {
    /// The step that it decides, and why.
    left: Option<(u8, Reason)>,
    /// The provider's ids, and of which attempt.
    provider_ids: Option<(u16, &'a [String])>,
    /// Until when it makes the workflow wait, in engine time.
    wait_until: Option<UnixMillis>,
}

impl<'a> Progress<'a> {
    /// How far `workflow` is, by its state and its whole timeline. Without facts it is what the state alone
    /// tells, which is all of it until a step was left or a call answered.
    pub fn of(workflow: &'a Workflow, facts: impl IntoIterator<Item = &'a Fact>) -> Self {
        let digest = FactDigest::by(facts);
        Progress {
            id: workflow.id,
            state: workflow.phase.into(),
            outcome: digest.outcome(workflow.phase),
            revision: workflow.sequence,
            updated_at: workflow.updated_at,
            ended_at: workflow.ended_at,
            is_erased: workflow.is_erased,
            next_deadline: workflow.deadlines().next(workflow.updated_at),
            workflow,
            digest,
        }
    }

    /// Its steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = StepProgress<'_>> {
        (0_u8..).zip(&self.workflow.steps).map(|(index, step)| self.step(index, step))
    }

    fn step<'b>(&'b self, index: u8, step: &'b super::Step) -> StepProgress<'b> {
        let reason = match (step.status, self.workflow.phase) {
            // It was left for the reason for which all ended.
            (StepStatus::Canceled, Phase::Ended(_, reason)) => Some(reason),
            (StepStatus::Expired, _) => Some(Reason::Expired),
            _ => self.digest.reasons.get(usize::from(index)).copied().flatten(),
        };
        let expiry_ms = step.failover.and_then(|failover| failover.expiry_ms);
        let expires_at = step
            .clock_at
            .zip(expiry_ms)
            .map(|(at, ms)| self.updated_at.wall_at(at.engine.plus(Duration::from_millis(ms))));
        StepProgress {
            index,
            channel: &step.requirement.channel,
            state: step.status,
            status: step.reached,
            status_at: step.reached_at,
            reason,
            started_at: step.active_at,
            expires_at,
            progress: self,
        }
    }

    fn attempt<'b>(&'b self, number: u16, attempt: &'b super::Attempt) -> AttemptProgress<'b> {
        let provider_ids = self.digest.provider_ids.get(usize::from(number.wrapping_sub(1)));
        let retry_at = match attempt.state {
            AttemptState::RetryScheduled { retry_at } => Some(self.updated_at.wall_at(retry_at)),
            AttemptState::Planned
            | AttemptState::Started
            | AttemptState::Accepted
            | AttemptState::Recalling { .. }
            | AttemptState::Unknown { .. }
            | AttemptState::Rejected => None,
        };
        AttemptProgress {
            number,
            route: &attempt.route,
            provider_ids: provider_ids.copied().flatten().unwrap_or_default(),
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

impl<'a> StepProgress<'a> {
    /// Its attempts, in order.
    pub fn attempts(&self) -> impl Iterator<Item = AttemptProgress<'a>> + use<'a> {
        let progress = self.progress;
        let attempts = progress.workflow.attempts_of(self.index);
        attempts.map(|(number, attempt)| progress.attempt(number, attempt))
    }
}

impl ProgressState {
    /// The name as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProgressState::Scheduled => "SCHEDULED",
            ProgressState::Running => "RUNNING",
            ProgressState::Ended(state) => state.as_str(),
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
            wait_until: FactNews::of(fact).wait_until.map(|until| at.wall_at(until)),
            fact,
        }
    }

    /// What it says, for people: one sentence, in which steps are counted from 1.
    pub fn description(&self) -> String {
        describe(self.fact)
    }
}

impl<'a> FactDigest<'a> {
    fn by(facts: impl IntoIterator<Item = &'a Fact>) -> Self {
        let mut digest = FactDigest::default();
        for fact in facts {
            let FactNews { left, provider_ids, wait_until: _ } = FactNews::of(fact);
            if let Some((step, reason)) = left {
                digest.decided_by = Some(step);
                put(&mut digest.reasons, usize::from(step), reason);
            }
            if let Some((attempt, ids)) = provider_ids
                && let Some(index) = usize::from(attempt).checked_sub(1)
            {
                put(&mut digest.provider_ids, index, ids);
            }
            if let Fact::Ended(outcome) = fact {
                digest.end = Some(outcome);
            }
        }
        digest
    }

    fn outcome(&self, phase: Phase) -> Option<OutcomeProgress<'a>> {
        let Phase::Ended(_, reason) = phase else { return None };
        // Nobody's step decides a cancel or a passed valid_until.
        let is_outside = matches!(reason, Reason::Canceled | Reason::DeadlineExceeded);
        Some(OutcomeProgress {
            reason,
            provider_code: self.end.and_then(|end| end.code.as_deref()),
            detail: self.end.map_or("", |end| &end.detail),
            step: self.decided_by.filter(|_| !is_outside),
        })
    }
}

/// Puts `value` at `index`, with nothing known between it and what there is.
fn put<T: Copy>(known: &mut Vec<Option<T>>, index: usize, value: T) {
    if known.len() <= index {
        known.resize(index + 1, None);
    }
    if let Some(place) = known.get_mut(index) {
        *place = Some(value);
    }
}

impl<'a> FactNews<'a> {
    fn of(fact: &'a Fact) -> Self {
        let left = |step: &u8, reason| FactNews { left: Some((*step, reason)), ..Self::default() };
        // A receipt that names no id leaves none.
        let ids = |attempt: &u16, ids: &'a [String]| FactNews {
            provider_ids: (!ids.is_empty()).then_some((*attempt, ids)),
            ..Self::default()
        };
        let wait = |until: &UnixMillis| FactNews { wait_until: Some(*until), ..Self::default() };
        match fact {
            Fact::StepMet { step } => left(step, Reason::ConditionMet),
            Fact::LateSuccess { step, .. } => left(step, Reason::LateConditionMet),
            Fact::StepFailed { step, reason, .. } => left(step, *reason),
            Fact::StepExpired { step, .. } => left(step, Reason::Expired),
            Fact::AttemptAccepted { attempt, provider_ids, .. } => ids(attempt, provider_ids),
            Fact::LateSendResult { attempt, provider_ids, .. } => {
                ids(attempt, provider_ids.as_deref().unwrap_or_default())
            }
            Fact::AttemptRetryScheduled { retry_at, .. }
            | Fact::AttemptRepeated { retry_at, .. } => wait(retry_at),
            Fact::AttemptUnknown { wait_until, .. } | Fact::RecallStarted { wait_until, .. } => {
                wait(wait_until)
            }
            Fact::Created
            | Fact::StepStarted { .. }
            | Fact::AttemptPlanned { .. }
            | Fact::AttemptStarted { .. }
            | Fact::AttemptRejected { .. }
            | Fact::AttemptDue { .. }
            | Fact::StatusReached { .. }
            | Fact::StatusFailed { .. }
            | Fact::StepSkipped { .. }
            | Fact::StepCanceled { .. }
            | Fact::Ended(_)
            | Fact::LateStatus { .. }
            | Fact::LateFailure { .. }
            | Fact::RecallEnded { .. }
            | Fact::PartReached { .. }
            | Fact::ContentsErased { .. } => FactNews::default(),
        }
    }
}

fn state_after(workflow: &Workflow, fact: &Fact) -> ProgressState {
    match fact {
        Fact::Created => ProgressState::Scheduled,
        Fact::Ended(outcome) => ProgressState::Ended(outcome.state),
        // What comes after the end says nothing of its own.
        Fact::LateStatus { .. }
        | Fact::LateFailure { .. }
        | Fact::LateSendResult { .. }
        | Fact::ContentsErased { .. } => workflow.phase.into(),
        Fact::PartReached { late: true, .. } => workflow.phase.into(),
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
        | Fact::LateSuccess { .. }
        | Fact::RecallStarted { .. }
        | Fact::RecallEnded { .. }
        | Fact::PartReached { late: false, .. } => {
            // A workflow that ended before its send_at skips its steps without having run.
            let has_begun = workflow.steps.iter().any(|step| step.active_at.is_some());
            if has_begun { ProgressState::Running } else { ProgressState::Scheduled }
        }
    }
}
