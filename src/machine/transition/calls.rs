//! Calls to providers: when one may be made, and what follows from how it went.

use std::sync::Arc;

use dispatch_contract::{ErrorKind, Fault, UnixMillis};

use super::{RouteCandidate, Transition};
use crate::machine::{
    AcceptedBy, Attempt, AttemptState, CallFailure, EndState, Fact, OnUnknown, Reason, SendResult,
    retry_delay,
};

impl Transition<'_> {
    /// Rule 11 lives here: nothing but this makes an attempt STARTED.
    pub(super) fn permit_granted(&mut self, number: u16) {
        if self.workflow.wants_permit() != Some(number) {
            return;
        }
        let Some(attempt) = self.workflow.attempt(number) else { return };
        if self.workflow.valid_until.is_some_and(|until| self.now.wall > until) {
            return self.valid_until_passed();
        }
        if attempt.is_uncertain && self.now.engine > honoured_until(attempt) {
            // Rule 6: the place came too late for a repeat that sends nothing twice.
            return self.unknown(number, None);
        }
        let call = attempt.calls.saturating_add(1);
        match self.serving(attempt) {
            Some(RouteCandidate { account, .. }) => {
                self.emit(Fact::AttemptStarted { attempt: number, call, account });
            }
            None => self.route_gone(number),
        }
    }

    pub(super) fn send_result(&mut self, number: u16, call: u16, result: SendResult) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        if !adds_to(attempt, &result) || attempt.calls != call {
            return;
        }
        if self.workflow.has_ended() {
            let (provider_ids, unknown) = match result {
                // By its ids whoever was erased could be found at the provider.
                SendResult::Accepted { .. } if self.workflow.is_erased => (Some(Vec::new()), false),
                SendResult::Accepted { provider_ids } => (Some(provider_ids), false),
                SendResult::Rejected(_) | SendResult::RetryLater { .. } => (None, false),
                SendResult::Unknown(_) => (None, true),
            };
            return self.emit(Fact::LateSendResult { attempt: number, provider_ids, unknown });
        }
        match result {
            SendResult::Accepted { provider_ids } => {
                self.accepted(number, provider_ids, AcceptedBy::Response);
            }
            SendResult::Rejected(failure) => self.rejected(number, failure),
            SendResult::RetryLater { failure, after_ms } => {
                self.retry_later(number, failure, after_ms)
            }
            SendResult::Unknown(failure) => self.unknown(number, Some(failure)),
        }
    }

    /// The service died between STARTED and the answer: the outcome is unknown.
    pub(super) fn lost(&mut self, number: u16) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        if attempt.state != AttemptState::Started {
            return;
        }
        if self.workflow.has_ended() {
            let fact = Fact::LateSendResult { attempt: number, provider_ids: None, unknown: true };
            return self.emit(fact);
        }
        self.unknown(number, None);
    }

    pub(super) fn accepted(&mut self, number: u16, provider_ids: Vec<String>, by: AcceptedBy) {
        self.emit(Fact::AttemptAccepted { attempt: number, provider_ids, by });
        self.status_advanced(number);
        let Some(attempt) = self.workflow.attempt(number) else { return };
        let (step, reports_delivered) = (attempt.step, attempt.properties.reports_delivered);
        let has_rule = self.workflow.steps[usize::from(step)].failover.is_some();
        if self.is_active(step) && self.workflow.is_last(step) && !has_rule && !reports_delivered {
            let detail = "accepted; this channel tells nothing further".to_owned();
            self.end(EndState::Unconfirmed, Reason::NoReceipts, None, detail);
        }
    }

    /// Rule 3: the provider will not take it.
    fn rejected(&mut self, number: u16, failure: CallFailure) {
        let Some(step) = self.workflow.attempt(number).map(|attempt| attempt.step) else { return };
        self.emit(Fact::AttemptRejected { attempt: number, failure: failure.clone() });
        if !self.is_active(step) {
            return;
        }
        if self
            .workflow
            .attempts_of(step)
            .any(|(_, a)| matches!(a.state, AttemptState::Unknown { .. }))
        {
            // This was the second send; the first may still be out.
            return self.decide_unknown(step);
        }
        if self.has_alive(step) {
            return;
        }
        // Rule 6: not after an unknown, and an earlier call of this very attempt may be one.
        let is_uncertain = self.workflow.attempts_of(step).any(|(_, attempt)| attempt.is_uncertain);
        if failure.fault == Fault::Provider
            && !is_uncertain
            && let Some(candidate) = self.another_route(step)
        {
            return self.plan_attempt(step, candidate.into_planned(), false);
        }
        let reason = match failure.kind {
            ErrorKind::OptedOut => Reason::OptedOut,
            ErrorKind::Throttled
            | ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::ProviderFailure
            | ErrorKind::Unauthorized
            | ErrorKind::InsufficientFunds
            | ErrorKind::Forbidden
            | ErrorKind::InvalidRequest
            | ErrorKind::ContentRejected
            | ErrorKind::InvalidRecipient
            | ErrorKind::OutsideWindow
            | ErrorKind::Unreached => Reason::Rejected,
        };
        self.fail_step(step, reason, failure.code, failure.detail);
    }

    /// Rule 5: certainly not processed, so it is called again inside `send_within`.
    fn retry_later(&mut self, number: u16, failure: CallFailure, after_ms: Option<u64>) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        let (step, calls) = (attempt.step, attempt.calls);
        let delay = retry_delay(&self.workflow.policy, self.workflow.id, number, calls);
        let retry_at = self.after(delay.max(after_ms.unwrap_or(0)));
        let is_uncertain = attempt.is_uncertain;
        let window_end = self.window_end(step).filter(|_| self.is_active(step) && !is_uncertain);
        let Some(end) = window_end else { return self.wait_for_retry(number, failure, retry_at) };
        let quarter = self.workflow.send_within(step) / 4;
        // Another route is worth a quarter of the time; the last moment for it is now if the
        // next retry would come after that.
        let last_moment = retry_at.0.saturating_add(quarter) > end.0;
        let other =
            self.another_route(step).filter(|_| last_moment && failure.fault == Fault::Provider);
        if let Some(candidate) = other {
            self.emit(Fact::AttemptRejected { attempt: number, failure });
            self.plan_attempt(step, candidate.into_planned(), false);
        } else if retry_at > end {
            let (code, detail) = (failure.code.clone(), failure.detail.clone());
            self.emit(Fact::AttemptRejected { attempt: number, failure });
            let within_s = self.workflow.send_within(step) as f64 / 1000.0;
            let detail =
                format!("the next try would be after send_within ({within_s} s): {detail}");
            self.fail_step(step, Reason::RetriesExhausted, code, detail);
        } else {
            self.wait_for_retry(number, failure, retry_at);
        }
    }

    fn wait_for_retry(&mut self, number: u16, failure: CallFailure, retry_at: UnixMillis) {
        self.emit(Fact::AttemptRetryScheduled { attempt: number, failure, retry_at });
        // While it was out its route may have become another one.
        self.rerouted();
    }

    /// Rule 6: it may have gone out.
    pub(super) fn unknown(&mut self, number: u16, failure: Option<CallFailure>) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        let step = attempt.step;
        let delay = retry_delay(&self.workflow.policy, self.workflow.id, number, attempt.calls);
        let retry_at = self.after(delay);
        let honoured_until = honoured_until(attempt);
        let window_end = self.window_end(step).unwrap_or_default();
        let may_start =
            self.workflow.valid_until.is_none_or(|until| self.now.wall_at(retry_at) <= until);
        if self.is_active(step) && may_start && retry_at <= honoured_until.min(window_end) {
            self.emit(Fact::AttemptRepeated { attempt: number, failure, retry_at });
            return self.rerouted();
        }
        self.leave_unknown(number, failure);
    }

    /// It may have gone out, and it is not called again.
    pub(super) fn leave_unknown(&mut self, number: u16, failure: Option<CallFailure>) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        let (step, properties) = (attempt.step, attempt.properties);
        let wait_ms = self.unknown_wait(step, properties.correlates_receipts);
        let wait_until = self.after(wait_ms);
        self.emit(Fact::AttemptUnknown { attempt: number, failure, wait_until });
        if self.is_active(step) && wait_ms == 0 {
            self.decide_unknown(step);
        }
    }

    /// How long a receipt is waited for: not at all where none could be matched, and where the
    /// caller asked to act at once.
    fn unknown_wait(&self, step: u8, correlates_receipts: bool) -> u64 {
        let expiry =
            self.workflow.steps[usize::from(step)].failover.and_then(|failover| failover.expiry_ms);
        let wait = self.workflow.policy.unknown_wait_ms.min(expiry.unwrap_or(u64::MAX));
        match self.workflow.on_unknown {
            OnUnknown::FailOver => 0,
            OnUnknown::Resend if !self.workflow.has_resent(step) => 0,
            OnUnknown::Resend | OnUnknown::WaitReceipt if correlates_receipts => wait,
            OnUnknown::Resend | OnUnknown::WaitReceipt => 0,
        }
    }

    /// No receipt came for an unknown outcome: what now?
    pub(super) fn decide_unknown(&mut self, step: u8) {
        if !self.is_active(step) {
            return;
        }
        let is_last = self.workflow.is_last(step);
        let may_start = self.workflow.valid_until.is_none_or(|until| self.now.wall <= until);
        let wants_resend = match self.workflow.on_unknown {
            OnUnknown::WaitReceipt => is_last,
            OnUnknown::Resend => true,
            OnUnknown::FailOver => false,
        };
        let is_unknown = |(_, attempt): &(u16, &super::Attempt)| {
            matches!(attempt.state, AttemptState::Unknown { .. })
        };
        let unknown = || self.workflow.attempts_of(step).filter(is_unknown);
        let Some((_, newest)) = unknown().last() else { return };
        let may_be_reported = unknown().any(|(_, attempt)| attempt.properties.correlates_receipts);
        if wants_resend && may_start && !self.workflow.has_resent(step) {
            let planned = (Arc::clone(&newest.route), newest.properties);
            self.plan_attempt(step, planned, true);
            // By that route or by none.
            return self.rerouted();
        }
        let detail = "nobody knows whether the message went out".to_owned();
        if !is_last {
            self.fail_step(step, Reason::OutcomeUnknown, None, detail);
        } else if !may_start || !may_be_reported {
            self.end(EndState::Unconfirmed, Reason::OutcomeUnknown, None, detail);
        }
        // Else a receipt may still come, and the clock that runs bounds the wait.
    }
}

/// Whether what a call came back with says something new of its attempt: it is waited for, or a receipt came
/// first, and only the answer tells what the message is called there, what its parts are, and that it stands in a
/// conversation.
fn adds_to(attempt: &Attempt, result: &SendResult) -> bool {
    match (attempt.state, result) {
        (AttemptState::Started, _) => true,
        (AttemptState::Accepted | AttemptState::Recalling { .. }, SendResult::Accepted { .. }) => {
            !attempt.is_answered
        }
        (
            AttemptState::Planned
            | AttemptState::RetryScheduled { .. }
            | AttemptState::Accepted
            | AttemptState::Unknown { .. }
            | AttemptState::Rejected
            | AttemptState::Recalling { .. },
            _,
        ) => false,
    }
}

/// Until when the provider honours the attempt's id, so that a repeated call sends nothing twice.
fn honoured_until(attempt: &Attempt) -> UnixMillis {
    match (attempt.started_at, attempt.properties.idempotent_for_ms) {
        (Some(from), Some(ms)) => UnixMillis(from.engine.0.saturating_add(ms)),
        (Some(_) | None, None) | (None, Some(_)) => UnixMillis(0),
    }
}
