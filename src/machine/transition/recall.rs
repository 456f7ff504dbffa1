//! Recall: a message that had its time is asked back before the next one goes out (rule 12).
//!
//! The step stays the running one meanwhile, so that a receipt which meets it in this moment ends the
//! workflow, and nothing further is sent. The mark is durable before the provider is asked, and a
//! service that died in between does not ask again: it waits no longer than it would have.

use dispatch_contract::UnixMillis;

use super::Transition;
use crate::machine::{AttemptState, Deadline, DeadlineKind, Fact, RecallResult, StepStatus};

/// For how long an answer to a recall is waited for, in milliseconds.
pub const RECALL_WAIT_MS: u64 = 5_000;

impl Transition<'_> {
    /// Asks for the messages of `step` back whose providers can do it, if another is to go out in their
    /// place. Whether any was asked for.
    pub(super) fn recalls(&mut self, step: u8) -> bool {
        let is_over = self.workflow.valid_until.is_some_and(|until| self.now.wall > until);
        if self.workflow.is_last(step) || is_over {
            return false;
        }
        let attempts = self.workflow.attempts_of(step).filter(|(_, attempt)| {
            attempt.state == AttemptState::Accepted
                && attempt.failure.is_none()
                && attempt.properties.recalls
        });
        let numbers: Vec<_> = attempts.map(|(number, _)| number).collect();
        let wait_until = self.after(RECALL_WAIT_MS);
        for attempt in &numbers {
            self.emit(Fact::RecallStarted { attempt: *attempt, wait_until });
        }
        !numbers.is_empty()
    }

    pub(super) fn recall_ended(&mut self, number: u16, result: RecallResult, up_since: UnixMillis) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        let (step, status) = (attempt.step, attempt.status);
        let is_recalling = matches!(attempt.state, AttemptState::Recalling { .. });
        if !is_recalling || self.workflow.has_ended() {
            return;
        }
        let reached = match result {
            RecallResult::TooLate(reached) => reached.filter(|reached| *reached > status),
            RecallResult::Recalled | RecallResult::Failed(_) | RecallResult::Unanswered => None,
        };
        self.emit(Fact::RecallEnded { attempt: number, result });
        if let Some(status) = reached {
            let (provider_time, usage) = (None, None);
            self.emit(Fact::StatusReached { attempt: number, status, provider_time, usage });
            self.status_advanced(number);
        }
        self.go_on(step, up_since);
    }

    /// The time for an answer is over.
    pub(super) fn recall_unanswered(&mut self, step: u8, up_since: UnixMillis) {
        let attempts = self
            .workflow
            .attempts_of(step)
            .filter(|(_, attempt)| matches!(attempt.state, AttemptState::Recalling { .. }));
        for attempt in attempts.map(|(number, _)| number).collect::<Vec<_>>() {
            self.emit(Fact::RecallEnded { attempt, result: RecallResult::Unanswered });
        }
        self.go_on(step, up_since);
    }

    /// The step expires now, unless something was met meanwhile or another answer is still to come.
    fn go_on(&mut self, index: u8, up_since: UnixMillis) {
        if self.is_active(index) && self.workflow.recalling_until(index).is_none() {
            self.expire_recalled(index, up_since);
        }
    }

    /// The time of the running step was over when its message was asked back.
    pub(super) fn expire_recalled(&mut self, index: u8, up_since: UnixMillis) {
        let step = &self.workflow.steps[usize::from(index)];
        let expiry_ms = step.failover.and_then(|failover| failover.expiry_ms);
        if let (StepStatus::Active, Some(from), Some(ms)) = (step.status, step.clock_at, expiry_ms)
        {
            let at = UnixMillis(from.engine.0.saturating_add(ms));
            self.expired(index, Deadline { at, kind: DeadlineKind::Expiry }, up_since);
        }
    }
}
