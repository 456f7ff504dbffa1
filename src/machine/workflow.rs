//! The state of a workflow, and how facts change it.
//!
//! Compact: it holds what decisions need and nothing a reader may want to see; message texts stay
//! in the record.

use std::sync::Arc;

use dispatch_contract::{Failure, Status, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{
    AcceptedBy, Fact, FailoverCondition, Moment, OnLateSuccess, OnUnknown, Outcome, Plan,
    PolicySnapshot, Priority, Reason, RouteProperties, RouteRequirement, WorkflowId,
};

/// A workflow as the machine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workflow {
    /// Its name.
    pub id: WorkflowId,
    /// When it was created.
    pub created_at: Moment,
    /// Not before this time, by the wall clock.
    pub send_at: Option<UnixMillis>,
    /// No attempt starts after this time, by the wall clock.
    pub valid_until: Option<UnixMillis>,
    /// The caller's bound for the time before any acceptance, in milliseconds.
    pub send_within_ms: Option<u64>,
    /// What an earlier step's late success does.
    pub on_late_success: OnLateSuccess,
    /// What an unknown outcome does.
    pub on_unknown: OnUnknown,
    /// Which workflow goes first where a route is busy.
    pub priority: Priority,
    /// The configured durations it lives by.
    pub policy: PolicySnapshot,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its steps; never empty.
    pub steps: Vec<Step>,
    /// Its attempts; attempt `n` is at `n - 1`.
    pub attempts: Vec<Attempt>,
    /// How many facts were applied.
    pub sequence: u32,
    /// When the last of them was.
    pub updated_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// What was personal of it was erased.
    pub is_erased: bool,
}

/// Where a workflow is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Waiting for `send_at`.
    Scheduled,
    /// Trying the step with this index.
    Running(u8),
    /// Over.
    Ended(EndState, Reason),
}

/// In what state a workflow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EndState {
    /// A step's condition was met.
    Succeeded,
    /// Nothing reached the person as asked.
    Failed,
    /// A message went out, and nothing more is known.
    Unconfirmed,
    /// The caller canceled.
    Canceled,
}

/// A step and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it asks of a route.
    pub requirement: Arc<RouteRequirement>,
    /// When the next step starts.
    pub failover: Option<FailoverCondition>,
    /// Where it is.
    pub status: StepStatus,
    /// When it became active.
    pub active_at: Option<Moment>,
    /// When its condition clock began: the first accepted or unknown attempt.
    pub clock_at: Option<Moment>,
    /// The highest status of its attempts.
    pub reached: Status,
    /// When it got there.
    pub reached_at: Option<Moment>,
}

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StepStatus {
    /// Its turn has not come.
    Waiting,
    /// Its turn is now.
    Active,
    /// Its condition was met.
    Met,
    /// It failed.
    Failed,
    /// Its time passed.
    Expired,
    /// It was not needed.
    Skipped,
    /// The workflow ended around it.
    Canceled,
}

/// One intended send, with its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its step's index.
    pub step: u8,
    /// The route it goes by.
    pub route: Arc<str>,
    /// What the route promises.
    pub properties: RouteProperties,
    /// Where it is.
    pub state: AttemptState,
    /// How many calls were STARTED.
    pub calls: u16,
    /// When the first was.
    pub started_at: Option<Moment>,
    /// The account that the last of them goes by, as `provider/name`.
    pub account: Option<Arc<str>>,
    /// The status its message reached.
    pub status: Status,
    /// In what way the message failed, if its provider says so.
    pub failure: Option<Failure>,
    /// An earlier attempt of the step may have gone out.
    pub possible_duplicate: bool,
    /// An earlier call of this attempt may have gone out; the provider honours our id.
    pub is_uncertain: bool,
    /// The provider's answer told that it has the message.
    pub is_answered: bool,
    /// The status of each part of its message, in order; empty if it went out whole.
    pub parts: Vec<Status>,
}

/// Where an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptState {
    /// Waiting for a free place on its route; the network has not been touched by the next call.
    Planned,
    /// A call may be on the network.
    Started,
    /// Waiting to be called again.
    RetryScheduled {
        /// When, in engine time.
        retry_at: UnixMillis,
    },
    /// The provider has it.
    Accepted,
    /// Nobody knows.
    Unknown {
        /// Until when a receipt is waited for, in engine time.
        wait_until: UnixMillis,
    },
    /// The provider will not take it.
    Rejected,
    /// The provider has it, and is asked for it back.
    Recalling {
        /// Until when an answer is waited for, in engine time.
        wait_until: UnixMillis,
    },
}

impl Attempt {
    /// Whether the provider has its message, as far as is known.
    pub fn is_accepted(&self) -> bool {
        match self.state {
            AttemptState::Accepted | AttemptState::Recalling { .. } => true,
            AttemptState::Planned
            | AttemptState::Started
            | AttemptState::RetryScheduled { .. }
            | AttemptState::Unknown { .. }
            | AttemptState::Rejected => false,
        }
    }
}

impl Workflow {
    /// A workflow before its first fact. `needs` are the plan's, one a step, so that the caller
    /// can share equal ones between workflows.
    pub fn new(
        id: WorkflowId,
        created_at: Moment,
        plan: &Plan,
        requirements: impl IntoIterator<Item = Arc<RouteRequirement>>,
        policy: PolicySnapshot,
    ) -> Self {
        let steps = plan.steps.iter().zip(requirements).map(|(step, requirement)| Step {
            requirement,
            failover: step.failover,
            status: StepStatus::Waiting,
            active_at: None,
            clock_at: None,
            reached: Status::Pending,
            reached_at: None,
        });
        Workflow {
            id,
            created_at,
            send_at: plan.send_at,
            valid_until: plan.valid_until,
            send_within_ms: plan.send_within_ms,
            on_late_success: plan.on_late_success,
            on_unknown: plan.on_unknown,
            priority: plan.priority,
            policy,
            phase: Phase::Scheduled,
            steps: steps.collect(),
            attempts: Vec::new(),
            sequence: 0,
            updated_at: created_at,
            ended_at: None,
            is_erased: false,
        }
    }

    /// Changes the state as `fact` says, and decides nothing. Total: a fact that does not fit is
    /// ignored, because a journal that another version wrote must still open.
    pub fn apply(&mut self, at: Moment, fact: &Fact) {
        self.sequence += 1;
        self.updated_at = at;
        match fact {
            Fact::Created => {}
            Fact::StepStarted { step } => {
                self.phase = Phase::Running(*step);
                self.with_step(*step, |step| {
                    step.status = StepStatus::Active;
                    step.active_at = Some(at);
                });
            }
            Fact::AttemptPlanned { attempt, step, route, properties, possible_duplicate } => {
                if usize::from(*attempt) == self.attempts.len() + 1 {
                    self.attempts.push(Attempt {
                        step: *step,
                        route: Arc::clone(route),
                        properties: *properties,
                        state: AttemptState::Planned,
                        calls: 0,
                        started_at: None,
                        account: None,
                        status: Status::Pending,
                        failure: None,
                        possible_duplicate: *possible_duplicate,
                        is_uncertain: false,
                        is_answered: false,
                        parts: Vec::new(),
                    });
                }
            }
            Fact::AttemptStarted { attempt, call, account } => {
                self.with_attempt(*attempt, |attempt| {
                    attempt.state = AttemptState::Started;
                    attempt.calls = *call;
                    attempt.started_at.get_or_insert(at);
                    attempt.account = Some(Arc::clone(account));
                });
            }
            Fact::AttemptAccepted { attempt, provider_ids, by } => {
                self.with_attempt(*attempt, |attempt| {
                    attempt.is_answered |= *by == AcceptedBy::Response;
                    // Behind a receipt the answer tells what the message is called, and nothing else.
                    if !attempt.is_accepted() {
                        attempt.state = AttemptState::Accepted;
                        attempt.failure = None;
                        attempt.is_uncertain = false;
                    }
                    attempt.parts = parts(provider_ids, attempt.status);
                });
                self.advance(*attempt, Status::Submitted, at);
                self.start_clock(*attempt, at);
            }
            Fact::AttemptRejected { attempt, .. } => {
                self.with_attempt(*attempt, |attempt| {
                    attempt.state = AttemptState::Rejected;
                    attempt.failure = Some(Failure::Rejected);
                });
            }
            Fact::AttemptRetryScheduled { attempt, retry_at, .. } => {
                self.with_attempt(*attempt, |attempt| {
                    attempt.state = AttemptState::RetryScheduled { retry_at: *retry_at };
                });
            }
            Fact::AttemptRepeated { attempt, retry_at, .. } => {
                self.with_attempt(*attempt, |attempt| {
                    attempt.state = AttemptState::RetryScheduled { retry_at: *retry_at };
                    attempt.is_uncertain = true;
                });
            }
            Fact::AttemptUnknown { attempt, wait_until, .. } => {
                self.with_attempt(*attempt, |attempt| {
                    attempt.state = AttemptState::Unknown { wait_until: *wait_until };
                });
                self.start_clock(*attempt, at);
            }
            Fact::AttemptDue { attempt } => {
                self.with_attempt(*attempt, |attempt| attempt.state = AttemptState::Planned);
            }
            Fact::StatusReached { attempt, status, .. }
            | Fact::LateStatus { attempt, status, .. } => {
                self.advance(*attempt, *status, at);
            }
            Fact::PartReached { attempt, part, status, .. } => {
                self.with_attempt(*attempt, |attempt| {
                    if let Some(reached) = attempt.parts.get_mut(usize::from(*part).wrapping_sub(1))
                    {
                        *reached = (*reached).max(*status);
                    }
                });
            }
            Fact::StatusFailed { attempt, failure, .. }
            | Fact::LateFailure { attempt, failure, .. } => {
                self.with_attempt(*attempt, |attempt| attempt.failure = Some(*failure));
            }
            Fact::StepMet { step } | Fact::LateSuccess { step, .. } => {
                self.with_step(*step, |step| step.status = StepStatus::Met);
            }
            Fact::StepFailed { step, .. } => {
                self.with_step(*step, |step| step.status = StepStatus::Failed);
            }
            Fact::StepExpired { step, .. } => {
                self.with_step(*step, |step| step.status = StepStatus::Expired);
            }
            Fact::StepSkipped { step } => {
                self.with_step(*step, |step| step.status = StepStatus::Skipped);
            }
            Fact::StepCanceled { step } => {
                self.with_step(*step, |step| step.status = StepStatus::Canceled);
            }
            Fact::Ended(Outcome { state, reason, .. }) => {
                self.phase = Phase::Ended(*state, *reason);
                self.ended_at = Some(at);
            }
            Fact::ContentsErased { .. } => self.is_erased = true,
            Fact::RecallStarted { attempt, wait_until } => {
                self.with_attempt(*attempt, |attempt| {
                    attempt.state = AttemptState::Recalling { wait_until: *wait_until };
                });
            }
            Fact::RecallEnded { attempt, .. } => {
                self.with_attempt(*attempt, |attempt| attempt.state = AttemptState::Accepted);
            }
            Fact::LateSendResult { attempt, provider_ids, unknown } => {
                let known = provider_ids.is_some();
                self.with_attempt(*attempt, |attempt| {
                    attempt.is_answered |= known;
                    let ids = provider_ids.as_deref().unwrap_or_default();
                    attempt.parts = parts(ids, attempt.status);
                    attempt.state = match (known, unknown) {
                        (true, _) if attempt.is_accepted() => attempt.state,
                        (true, _) => AttemptState::Accepted,
                        (false, true) => AttemptState::Unknown { wait_until: at.engine },
                        (false, false) => AttemptState::Rejected,
                    };
                });
            }
        }
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(..))
    }

    /// The index of the active step.
    pub fn active_step(&self) -> Option<u8> {
        match self.phase {
            Phase::Running(step) => Some(step),
            Phase::Scheduled | Phase::Ended(..) => None,
        }
    }

    /// The attempt of that number.
    pub fn attempt(&self, number: u16) -> Option<&Attempt> {
        self.attempts.get(usize::from(number).checked_sub(1)?)
    }

    /// The numbers and attempts of one step, in order.
    pub fn attempts_of(&self, step: u8) -> impl Iterator<Item = (u16, &Attempt)> {
        (1..).zip(&self.attempts).filter(move |(_, attempt)| attempt.step == step)
    }

    /// The attempt that waits for a free place on its route, if one does. Of a step whose time is over and
    /// whose message is asked back none does.
    pub fn wants_permit(&self) -> Option<u16> {
        let step = self.active_step().filter(|step| self.recalling_until(*step).is_none())?;
        self.attempts_of(step)
            .find(|(_, attempt)| attempt.state == AttemptState::Planned)
            .map(|(number, _)| number)
    }

    /// Until when an answer to a recall of step `index` is waited for, if one is.
    pub fn recalling_until(&self, index: u8) -> Option<UnixMillis> {
        let waits = self.attempts_of(index).filter_map(|(_, attempt)| match attempt.state {
            AttemptState::Recalling { wait_until } => Some(wait_until),
            AttemptState::Planned
            | AttemptState::Started
            | AttemptState::RetryScheduled { .. }
            | AttemptState::Accepted
            | AttemptState::Unknown { .. }
            | AttemptState::Rejected => None,
        });
        waits.max()
    }

    /// The attempts that are STARTED and not answered. There may be two: one of a step that was left
    /// while its call was out, and one of the step that followed.
    pub fn unanswered(&self) -> Vec<u16> {
        let started = |(_, attempt): &(u16, &Attempt)| attempt.state == AttemptState::Started;
        (1..).zip(&self.attempts).filter(started).map(|(number, _)| number).collect()
    }

    /// Whether step `index` is the last.
    pub fn is_last(&self, index: u8) -> bool {
        usize::from(index) + 1 == self.steps.len()
    }

    /// The status that meets step `index`.
    pub fn target(&self, index: u8) -> Status {
        let rule = self.steps.get(usize::from(index)).and_then(|step| step.failover);
        rule.map_or(Status::Delivered, |failover| failover.condition)
    }

    /// How long step `index` may take before any acceptance, in milliseconds (rule 1).
    pub fn send_within(&self, index: u8) -> u64 {
        if let Some(asked) = self.send_within_ms {
            return asked;
        }
        let rule = self.steps.get(usize::from(index)).and_then(|step| step.failover);
        let usual = if self.is_last(index) {
            self.policy.last_send_within_ms
        } else {
            self.policy.send_within_ms
        };
        rule.and_then(|failover| failover.expiry_ms).map_or(usual, |expiry| expiry.min(usual))
    }

    fn with_step(&mut self, index: u8, change: impl FnOnce(&mut Step)) {
        if let Some(step) = self.steps.get_mut(usize::from(index)) {
            change(step);
        }
    }

    fn with_attempt(&mut self, number: u16, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) =
            usize::from(number).checked_sub(1).and_then(|at| self.attempts.get_mut(at))
        {
            change(attempt);
        }
    }

    /// The status only advances, for the attempt and for its step; a failure yields to a later status.
    fn advance(&mut self, number: u16, status: Status, at: Moment) {
        let Some(attempt) =
            usize::from(number).checked_sub(1).and_then(|at| self.attempts.get_mut(at))
        else {
            return;
        };
        for part in &mut attempt.parts {
            *part = (*part).max(status);
        }
        if status > attempt.status {
            attempt.status = status;
            if status > Status::Submitted {
                attempt.failure = None;
            }
        }
        if let Some(step) = self.steps.get_mut(usize::from(attempt.step))
            && status > step.reached
        {
            step.reached = status;
            step.reached_at = Some(at);
        }
    }

    /// The condition clock runs from the first accepted or unknown attempt; nothing restarts it.
    fn start_clock(&mut self, number: u16, at: Moment) {
        let step =
            usize::from(number).checked_sub(1).and_then(|at| self.attempts.get(at)).map(|a| a.step);
        if let Some(step) = step {
            self.with_step(step, |step| {
                step.clock_at.get_or_insert(at);
            });
        }
    }
}

impl EndState {
    /// All of them.
    pub const ALL: [EndState; 4] =
        [EndState::Succeeded, EndState::Failed, EndState::Unconfirmed, EndState::Canceled];

    /// The name as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            EndState::Succeeded => "SUCCEEDED",
            EndState::Failed => "FAILED",
            EndState::Unconfirmed => "UNCONFIRMED",
            EndState::Canceled => "CANCELED",
        }
    }
}

impl StepStatus {
    /// The name as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            StepStatus::Waiting => "WAITING",
            StepStatus::Active => "ACTIVE",
            StepStatus::Met => "MET",
            StepStatus::Failed => "FAILED",
            StepStatus::Expired => "EXPIRED",
            StepStatus::Skipped => "SKIPPED",
            StepStatus::Canceled => "CANCELED",
        }
    }
}

/// The parts of a message that a provider knows by these ids, and of which a status is known as a whole.
fn parts(provider_ids: &[String], whole: Status) -> Vec<Status> {
    let count = if provider_ids.len() > 1 { provider_ids.len() } else { 0 };
    vec![whole; count]
}
