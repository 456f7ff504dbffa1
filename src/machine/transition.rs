//! What follows from what: the decisions.
//!
//! Every decision is emitted as a fact and applied at once, so that the next decision of the same
//! event sees it. The rules' numbers are those of the [machine](super).
//!
//! Here stand what may come in, the steps, and what all decisions look at; by what came in, [`time`], [`calls`],
//! [`receipts`], [`recall`] and [`routes`].

mod calls;
mod recall;
mod receipts;
mod routes;
mod time;

use dispatch_contract::UnixMillis;
use uuid::Uuid;

pub use recall::RECALL_WAIT_MS;
pub use routes::{NoRoutes, RouteCandidate, Router};

use super::{
    Attempt, AttemptState, EndState, Event, Fact, Moment, Outcome, Phase, Reason, StepStatus,
    Workflow,
};

const TOO_LATE: &str = "valid_until passed before a further message could be sent";

/// Begins the life of a new workflow, and starts its first step unless `send_at` is ahead.
pub fn create(workflow: &mut Workflow, now: Moment, routes: &dyn Router) -> Vec<Fact> {
    let mut transition = Transition { workflow, now, routes, facts: Vec::new() };
    transition.emit(Fact::Created);
    transition.wake(UnixMillis(0), false);
    transition.facts
}

/// Tells a workflow that something happened. Returns what follows, already applied; nothing if the
/// event came too late, too early or twice.
pub fn handle(
    workflow: &mut Workflow,
    now: Moment,
    event: Event,
    routes: &dyn Router,
) -> Vec<Fact> {
    let mut transition = Transition { workflow, now, routes, facts: Vec::new() };
    match event {
        Event::Wake { up_since, hold } => transition.wake(up_since, hold),
        Event::PermitGranted { attempt } => transition.permit_granted(attempt),
        Event::SendResult { attempt, call, result } => {
            transition.send_result(attempt, call, result)
        }
        Event::Lost { attempt } => transition.lost(attempt),
        // Nothing is kept of whom was erased.
        Event::Update { .. } if transition.workflow.is_erased => {}
        Event::Update { attempt, update, up_since } => {
            transition.update(attempt, update, up_since);
        }
        Event::RecallResult { attempt, result, up_since } => {
            transition.recall_ended(attempt, result, up_since);
        }
        Event::Rerouted => transition.rerouted(),
        Event::Cancel => transition.cancel("canceled by the caller"),
        Event::Erase { erasure } => transition.erase(erasure),
    }
    transition.facts
}

struct Transition<'a> {
    workflow: &'a mut Workflow,
    now: Moment,
    routes: &'a dyn Router,
    facts: Vec<Fact>,
}

/// Steps.
impl Transition<'_> {
    fn start_step(&mut self, index: u8) {
        self.emit(Fact::StepStarted { step: index });
        match self.best_route(index) {
            Some(candidate) => self.plan_attempt(index, candidate.into_planned(), false),
            None => self.fail_unserved(index),
        }
    }

    fn fail_step(&mut self, step: u8, reason: Reason, code: Option<String>, detail: String) {
        self.leave_step(step, reason, code.clone(), detail.clone());
        self.next_step(step, reason, code, detail);
    }

    fn leave_step(&mut self, step: u8, reason: Reason, code: Option<String>, detail: String) {
        self.emit(Fact::StepFailed { step, reason, code, detail });
    }

    /// Goes on after `step`, or ends for the reason that ended it.
    fn next_step(&mut self, step: u8, reason: Reason, code: Option<String>, detail: String) {
        if self.workflow.is_last(step) {
            self.end(EndState::Failed, reason, code, detail);
        } else if self.workflow.valid_until.is_some_and(|until| self.now.wall > until) {
            self.end(EndState::Failed, Reason::DeadlineExceeded, None, TOO_LATE.to_owned());
        } else {
            self.start_step(step + 1);
        }
    }

    fn cancel(&mut self, why: &str) {
        if !self.workflow.has_ended() {
            self.end(EndState::Canceled, Reason::Canceled, None, why.to_owned());
        }
    }

    /// It ends first: nothing that is open is without what it needs.
    fn erase(&mut self, erasure: Uuid) {
        self.cancel("canceled, because its contents are erased");
        if !self.workflow.is_erased {
            self.emit(Fact::ContentsErased { erasure });
        }
    }

    fn end(&mut self, state: EndState, reason: Reason, code: Option<String>, detail: String) {
        for index in 0..self.workflow.steps.len() {
            let step = u8::try_from(index).unwrap_or(u8::MAX);
            match self.workflow.steps[index].status {
                StepStatus::Waiting => self.emit(Fact::StepSkipped { step }),
                StepStatus::Active => self.emit(Fact::StepCanceled { step }),
                StepStatus::Met
                | StepStatus::Failed
                | StepStatus::Expired
                | StepStatus::Skipped
                | StepStatus::Canceled => {}
            }
        }
        // Rule 8, CONTINUE: an earlier late success counts now.
        let was_met = self.workflow.steps.iter().any(|step| step.status == StepStatus::Met);
        let outcome = match state {
            EndState::Failed | EndState::Unconfirmed if was_met => Outcome {
                state: EndState::Succeeded,
                reason: Reason::LateConditionMet,
                code: None,
                detail: "an earlier message reached its condition after its time".to_owned(),
            },
            EndState::Succeeded | EndState::Failed | EndState::Unconfirmed | EndState::Canceled => {
                Outcome { state, reason, code, detail }
            }
        };
        self.emit(Fact::Ended(outcome));
    }
}

/// Looking around.
impl Transition<'_> {
    fn emit(&mut self, fact: Fact) {
        self.workflow.apply(self.now, &fact);
        self.facts.push(fact);
    }

    /// The engine time so many milliseconds from now.
    fn after(&self, ms: u64) -> UnixMillis {
        UnixMillis(self.now.engine.0.saturating_add(ms))
    }

    fn is_active(&self, step: u8) -> bool {
        self.workflow.phase == Phase::Running(step)
    }

    /// The attempt of `step` that waits for its next call.
    fn pending(&self, step: u8) -> Option<(u16, &Attempt)> {
        self.workflow.attempts_of(step).find(|(_, attempt)| match attempt.state {
            AttemptState::Planned | AttemptState::RetryScheduled { .. } => true,
            AttemptState::Started
            | AttemptState::Accepted
            | AttemptState::Recalling { .. }
            | AttemptState::Unknown { .. }
            | AttemptState::Rejected => false,
        })
    }

    /// Whether something of `step` may still reach its condition.
    fn has_alive(&self, step: u8) -> bool {
        self.workflow.attempts_of(step).any(|(_, attempt)| match attempt.state {
            AttemptState::Rejected => false,
            AttemptState::Accepted | AttemptState::Recalling { .. } => attempt.failure.is_none(),
            AttemptState::Planned
            | AttemptState::Started
            | AttemptState::RetryScheduled { .. }
            | AttemptState::Unknown { .. } => true,
        })
    }

    /// When the time for sending ends; `None` once something was accepted or is unknown.
    fn window_end(&self, index: u8) -> Option<UnixMillis> {
        let step = &self.workflow.steps[usize::from(index)];
        match (step.clock_at, step.active_at) {
            (None, Some(from)) => {
                Some(UnixMillis(from.engine.0.saturating_add(self.workflow.send_within(index))))
            }
            (Some(_), _) | (None, None) => None,
        }
    }

    /// Whether a message of a step after `step` was sent.
    fn sent_after(&self, step: u8) -> bool {
        self.workflow.attempts.iter().any(|attempt| attempt.step > step && attempt.calls > 0)
    }
}
