//! What follows from what: the decisions.
//!
//! Every decision is emitted as a fact and applied at once, so that the next decision of the same
//! event sees it. The rules' numbers are those of the [machine](super).

mod routes;

use std::sync::Arc;

use dispatch_contract::{ErrorKind, Failure, Fault, Report, Status, UnixMillis};

pub use routes::{NoRoutes, RouteCandidate, Router};

use super::{
    AcceptedBy, AttemptState, CallFailure, Deadline, DeadlineKind, EndState, Event, Fact, Moment,
    OnLateSuccess, OnUnknown, Outcome, Phase, Reason, SendResult, StepStatus, Update, Workflow,
    retry_delay,
};

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
        Event::Update { attempt, update } => transition.update(attempt, update),
        Event::Rerouted => transition.rerouted(),
        Event::Cancel => transition.cancel(),
    }
    transition.facts
}

struct Transition<'a> {
    workflow: &'a mut Workflow,
    now: Moment,
    routes: &'a dyn Router,
    facts: Vec<Fact>,
}

/// Time.
impl Transition<'_> {
    fn wake(&mut self, up_since: UnixMillis, hold: bool) {
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
                (DeadlineKind::Expiry | DeadlineKind::UnconfirmedAfter, Some(step)) => {
                    self.expired(step, deadline, up_since);
                }
                (DeadlineKind::ValidUntil, _) => self.valid_until_passed(),
                (
                    DeadlineKind::Retry | DeadlineKind::SendWithin | DeadlineKind::UnknownWait,
                    None,
                )
                | (DeadlineKind::Expiry | DeadlineKind::UnconfirmedAfter, None) => return,
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
    fn valid_until_passed(&mut self) {
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
    fn expired(
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
        let detail = super::describe(&fact);
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

const TOO_LATE: &str = "valid_until passed before a further message could be sent";

/// Calls.
impl Transition<'_> {
    /// Rule 11 lives here: nothing but this makes an attempt STARTED.
    fn permit_granted(&mut self, number: u16) {
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

    fn send_result(&mut self, number: u16, call: u16, result: SendResult) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        if attempt.state != AttemptState::Started || attempt.calls != call {
            return;
        }
        if self.workflow.has_ended() {
            let (provider_id, unknown) = match result {
                SendResult::Accepted { provider_id } => (Some(provider_id), false),
                SendResult::Rejected(_) | SendResult::RetryLater { .. } => (None, false),
                SendResult::Unknown(_) => (None, true),
            };
            return self.emit(Fact::LateSendResult { attempt: number, provider_id, unknown });
        }
        match result {
            SendResult::Accepted { provider_id } => {
                self.accepted(number, provider_id, AcceptedBy::Response);
            }
            SendResult::Rejected(failure) => self.rejected(number, failure),
            SendResult::RetryLater { failure, after_ms } => {
                self.retry_later(number, failure, after_ms)
            }
            SendResult::Unknown(failure) => self.unknown(number, Some(failure)),
        }
    }

    /// The service died between STARTED and the answer: the outcome is unknown.
    fn lost(&mut self, number: u16) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        if attempt.state != AttemptState::Started {
            return;
        }
        if self.workflow.has_ended() {
            let fact = Fact::LateSendResult { attempt: number, provider_id: None, unknown: true };
            return self.emit(fact);
        }
        self.unknown(number, None);
    }

    fn accepted(&mut self, number: u16, provider_id: String, by: AcceptedBy) {
        self.emit(Fact::AttemptAccepted { attempt: number, provider_id, by });
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
    fn unknown(&mut self, number: u16, failure: Option<CallFailure>) {
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
    fn leave_unknown(&mut self, number: u16, failure: Option<CallFailure>) {
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
    fn decide_unknown(&mut self, step: u8) {
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

/// Receipts.
impl Transition<'_> {
    fn update(&mut self, number: u16, update: Update) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        if attempt.calls == 0 {
            // Nothing of it ever left; a receipt for it is somebody's mistake.
            return;
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
        if attempt.state != AttemptState::Accepted {
            let provider_id = update.provider_id.clone().unwrap_or_default();
            self.accepted(number, provider_id, AcceptedBy::Receipt);
            // Acceptance alone may have ended it.
            if self.workflow.has_ended() {
                return self.update(number, update);
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
            Report::Failed(failure) => self.status_failed(number, failure, update),
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

    fn status_failed(&mut self, number: u16, failure: Failure, update: Update) {
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
        let (reason, usual) = match failure {
            Failure::Rejected => (Reason::Rejected, "the provider refused it after accepting it"),
            Failure::Undeliverable => (Reason::Undeliverable, "the provider could not deliver it"),
        };
        self.fail_step(step, reason, code, detail.unwrap_or_else(|| usual.to_owned()));
    }

    /// An attempt's message got higher: does that meet its step?
    fn status_advanced(&mut self, number: u16) {
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

    fn cancel(&mut self) {
        if !self.workflow.has_ended() {
            let detail = "canceled by the caller".to_owned();
            self.end(EndState::Canceled, Reason::Canceled, None, detail);
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

/// Until when the provider honours the attempt's id, so that a repeated call sends nothing twice.
fn honoured_until(attempt: &super::Attempt) -> UnixMillis {
    match (attempt.started_at, attempt.properties.idempotent_for_ms) {
        (Some(from), Some(ms)) => UnixMillis(from.engine.0.saturating_add(ms)),
        (Some(_) | None, None) | (None, Some(_)) => UnixMillis(0),
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
    fn pending(&self, step: u8) -> Option<(u16, &super::Attempt)> {
        self.workflow.attempts_of(step).find(|(_, attempt)| match attempt.state {
            AttemptState::Planned | AttemptState::RetryScheduled { .. } => true,
            AttemptState::Started
            | AttemptState::Accepted
            | AttemptState::Unknown { .. }
            | AttemptState::Rejected => false,
        })
    }

    /// Whether something of `step` may still reach its condition.
    fn has_alive(&self, step: u8) -> bool {
        self.workflow.attempts_of(step).any(|(_, attempt)| match attempt.state {
            AttemptState::Rejected => false,
            AttemptState::Accepted => attempt.failure.is_none(),
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
