//! What time does: what is due, what had its time, and what is too late.

use std::sync::Arc;

use dispatch_contract::{Status, UnixMillis};

use super::{TOO_LATE, Transition};
use crate::machine::{AttemptState, Deadline, DeadlineKind, EndState, Fact, Reason, describe};

impl Transition<'_> {
    pub(super) fn wake(&mut self, up_since: UnixMillis, hold: bool) {
        let held_before = if hold { up_since } else { UnixMillis(0) };
        // Each round changes what it was due for; the bound only guards against a mistake here.
        for _ in 0..32 {
            let deadlines = self.workflow.deadlines_behind(held_before);
            let Some(deadline) = deadlines.most_overdue(self.now) else { return };
            let active = self.workflow.active_step();
            match (deadline.kind, active) {
                (DeadlineKind::Send, _) => self.start_step(0),
                (DeadlineKind::Retry, Some(step)) => self.retry_due(step),
                (DeadlineKind::SendWithin, Some(step)) => {
                    self.send_within_passed(step, deadline.at < up_since);
                }
                (DeadlineKind::UnknownWait, Some(step)) => self.decide_unknown(step),
                (DeadlineKind::Expiry, Some(step)) => {
                    if !self.recalls(step) {
                        self.expired(step, deadline, up_since);
                    }
                }
                (DeadlineKind::UnconfirmedAfter, Some(step)) => {
                    self.expired(step, deadline, up_since);
                }
                (DeadlineKind::RecallWait, Some(step)) => self.recall_unanswered(step, up_since),
                (DeadlineKind::ValidUntil, _) => self.valid_until_passed(),
                (
                    DeadlineKind::Retry
                    | DeadlineKind::SendWithin
                    | DeadlineKind::UnknownWait
                    | DeadlineKind::Expiry
                    | DeadlineKind::UnconfirmedAfter
                    | DeadlineKind::RecallWait,
                    None,
                ) => return,
            }
        }
    }

    fn retry_due(&mut self, step: u8) {
        let due = self.workflow.attempts_of(step).find(|(_, attempt)| {
            matches!(attempt.state, AttemptState::RetryScheduled { retry_at } if retry_at <= self.now.engine)
        });
        if let Some((attempt, _)) = due {
            self.emit(Fact::AttemptDue { attempt });
        }
    }

    /// Rule 1: nothing was accepted in the time for sending.
    fn send_within_passed(&mut self, step: u8, while_down: bool) {
        let Some((number, attempt)) = self.pending(step) else { return };
        let within_s = self.workflow.send_within(step) as f64 / 1000.0;
        if attempt.is_uncertain {
            self.unknown(number, None);
        } else if attempt.calls > 0 {
            let detail = format!("no provider accepted it within {within_s} s");
            self.fail_step(step, Reason::RetriesExhausted, None, detail);
        } else {
            let route = Arc::clone(&attempt.route);
            let is_served = self.serving(attempt).is_some();
            let (reason, why) = match (is_served, while_down) {
                (true, false) => (Reason::RouteSaturated, "was full"),
                (true, true) => {
                    (Reason::NotSentInTime, "had no time for it while the service was down")
                }
                (false, _) => (Reason::NotSentInTime, "is not there"),
            };
            let detail = format!("not sent within {within_s} s: its route {route} {why}");
            self.fail_step(step, reason, None, detail);
        }
    }

    /// Rule 10: what has not started by now never will.
    pub(super) fn valid_until_passed(&mut self) {
        let Some(step) = self.workflow.active_step() else {
            return self.end(EndState::Failed, Reason::DeadlineExceeded, None, TOO_LATE.to_owned());
        };
        if let Some((number, attempt)) = self.pending(step)
            && attempt.is_uncertain
        {
            return self.unknown(number, None);
        }
        // A message whose outcome is unknown may be out, and then FAILED would say too much.
        let may_be_out = self.workflow.steps[usize::from(step)].clock_at.is_some();
        let state = if may_be_out { EndState::Unconfirmed } else { EndState::Failed };
        self.leave_step(step, Reason::DeadlineExceeded, None, TOO_LATE.to_owned());
        self.end(state, Reason::DeadlineExceeded, None, TOO_LATE.to_owned());
    }

    /// Rules 4 and 7: the step's time passed.
    pub(super) fn expired(
        &mut self,
        index: u8,
        Deadline { at: deadline, kind }: Deadline,
        up_since: UnixMillis,
    ) {
        let step = &self.workflow.steps[usize::from(index)];
        let expiry_ms = step.failover.and_then(|failover| failover.expiry_ms);
        let last_after_ms = match (step.reached_at, step.clock_at) {
            (Some(at), Some(from)) => Some(at.engine.0.saturating_sub(from.engine.0)),
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        let fact = Fact::StepExpired {
            step: index,
            condition: self.workflow.target(index),
            expiry_ms: expiry_ms.unwrap_or(self.workflow.policy.unconfirmed_after_ms),
            last: step.reached,
            last_after_ms,
            late_ms: self.now.engine.0.saturating_sub(deadline.0),
            while_down: deadline < up_since,
        };
        let detail = describe(&fact);
        let is_unknown_only = step.reached == Status::Pending;
        self.emit(fact);
        if kind == DeadlineKind::UnconfirmedAfter {
            // Nobody refused it and nobody confirmed it: neither success nor failure.
            let reason =
                if is_unknown_only { Reason::OutcomeUnknown } else { Reason::NoConfirmation };
            self.end(EndState::Unconfirmed, reason, None, detail);
        } else {
            self.next_step(index, Reason::Expired, None, detail);
        }
    }
}
