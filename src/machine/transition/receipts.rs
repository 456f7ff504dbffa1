//! Receipts: what they say that is new, and what follows for the message's step.

use dispatch_contract::{Failure, Report, Status, UnixMillis};

use super::Transition;
use crate::machine::{AcceptedBy, EndState, Fact, OnLateSuccess, Reason, StepStatus, Update};

impl Transition<'_> {
    pub(super) fn update(&mut self, number: u16, update: Update, up_since: UnixMillis) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        if attempt.calls == 0 {
            // Nothing of it ever left; a receipt for it is somebody's mistake.
            return;
        }
        if let Some(part) = update.part
            && let Some(reached) = attempt.parts.get(usize::from(part).wrapping_sub(1))
        {
            let reached = *reached;
            return self.part_update(number, (part, reached), update, up_since);
        }
        let says_new = match update.report {
            Report::Reached(status) => status > attempt.status,
            Report::Failed(_) => attempt.failure.is_none() && attempt.status < Status::Delivered,
        };
        if !says_new {
            return;
        }
        if self.workflow.has_ended() {
            return self.late_news(number, update);
        }
        if !attempt.is_accepted() {
            let provider_ids = update.provider_id.clone().into_iter().collect();
            self.accepted(number, provider_ids, AcceptedBy::Receipt);
            // Acceptance alone may have ended it.
            if self.workflow.has_ended() {
                return self.update(number, update, up_since);
            }
        }
        match update.report {
            Report::Reached(status) => {
                let is_higher = self.workflow.attempt(number).is_some_and(|a| status > a.status);
                if is_higher {
                    let Update { provider_time, usage, .. } = update;
                    self.emit(Fact::StatusReached {
                        attempt: number,
                        status,
                        provider_time,
                        usage,
                    });
                    self.status_advanced(number);
                }
            }
            Report::Failed(failure) => self.status_failed(number, failure, update, up_since),
        }
    }

    /// Of one part of a message, which reached a status before: the message is as far as its last part, and
    /// failed when one did.
    fn part_update(
        &mut self,
        number: u16,
        (part, before): (u16, Status),
        update: Update,
        up_since: UnixMillis,
    ) {
        let whole = Update { part: None, ..update };
        match whole.report {
            Report::Reached(status) if status > before => {
                let Update { provider_time, usage, .. } = whole.clone();
                let (attempt, late) = (number, self.workflow.has_ended());
                self.emit(Fact::PartReached { attempt, part, status, provider_time, usage, late });
                let parts = self.workflow.attempt(number).map(|attempt| attempt.parts.iter());
                if let Some(last) = parts.and_then(Iterator::min) {
                    let report = Report::Reached(*last);
                    // What it costs stands with the part.
                    self.update(number, Update { report, usage: None, ..whole }, up_since);
                }
            }
            Report::Failed(_) if before < Status::Delivered => self.update(number, whole, up_since),
            Report::Reached(_) | Report::Failed(_) => {}
        }
    }

    /// Rule 9.
    fn late_news(&mut self, number: u16, update: Update) {
        let Update { provider_time, usage, code, detail, .. } = update;
        let fact = match update.report {
            Report::Reached(status) => {
                let unnecessary_failover = self.workflow.attempt(number).is_some_and(|attempt| {
                    let target = self.workflow.target(attempt.step);
                    attempt.status < target && status >= target && self.sent_after(attempt.step)
                });
                Fact::LateStatus {
                    attempt: number,
                    status,
                    provider_time,
                    usage,
                    unnecessary_failover,
                }
            }
            Report::Failed(failure) => {
                Fact::LateFailure { attempt: number, failure, code, provider_time, detail, usage }
            }
        };
        self.emit(fact);
    }

    fn status_failed(
        &mut self,
        number: u16,
        failure: Failure,
        update: Update,
        up_since: UnixMillis,
    ) {
        let Some(step) = self.workflow.attempt(number).map(|attempt| attempt.step) else { return };
        let Update { provider_time, usage, code, detail, .. } = update;
        self.emit(Fact::StatusFailed {
            attempt: number,
            failure,
            code: code.clone(),
            detail: detail.clone(),
            provider_time,
            usage,
        });
        if !self.is_active(step) || self.has_alive(step) {
            return;
        }
        // What is asked back had its time, and that it was taken back may be told as a failure.
        if self.workflow.recalling_until(step).is_some() {
            return self.expire_recalled(step, up_since);
        }
        let (reason, usual) = match failure {
            Failure::Rejected => (Reason::Rejected, "the provider refused it after accepting it"),
            Failure::Undeliverable => (Reason::Undeliverable, "the provider could not deliver it"),
        };
        self.fail_step(step, reason, code, detail.unwrap_or_else(|| usual.to_owned()));
    }

    /// An attempt's message got higher: does that meet its step?
    pub(super) fn status_advanced(&mut self, number: u16) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        let (index, status) = (attempt.step, attempt.status);
        if status < self.workflow.target(index) || self.workflow.has_ended() {
            return;
        }
        if self.is_active(index) {
            self.emit(Fact::StepMet { step: index });
            let detail = format!("the message was {status}");
            return self.end(EndState::Succeeded, Reason::ConditionMet, None, detail);
        }
        // Rule 8: it had been given up.
        if self.workflow.steps[usize::from(index)].status == StepStatus::Met {
            return;
        }
        let unnecessary_failover = self.sent_after(index);
        self.emit(Fact::LateSuccess { step: index, attempt: number, status, unnecessary_failover });
        match self.workflow.on_late_success {
            OnLateSuccess::Stop => {
                let detail = format!("an earlier message was {status} after all");
                self.end(EndState::Succeeded, Reason::LateConditionMet, None, detail);
            }
            OnLateSuccess::Continue => {}
        }
    }
}
