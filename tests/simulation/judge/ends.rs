//! The facts with which something is over: a step failed or expired, a workflow ended. Each has a
//! reason, and the reason is on the timeline.

use dispatch::machine::{EndState, Fact, OnUnknown, Outcome, Reason};
use dispatch_contract::{ErrorKind, Failure, Report, Status};

use super::{
    Case, EARLY, Fine, ORDER, REASONS, RECALLS, RecallSeen, TRUE, Try, TryState,
    facts::{Here, serves},
};
use crate::scenario::RouteSpec;

impl Here<'_> {
    pub(super) fn failed(&mut self, index: u8, reason: Reason, fact: &Fact) -> Fine {
        self.want(self.case.running == Some(index), ORDER, || format!("not running: {fact:?}"))?;
        let step = self.step(index).clone();
        let tries: Vec<Try> =
            self.case.tries.iter().filter(|of| of.step == index).cloned().collect();
        let last = tries.last();
        let failure = last.and_then(|of| of.failure.clone());
        let plan = self.case.record.plan.clone();
        let send_end = step.begun.unwrap_or(0) + self.case.send_within(index);
        let given_up = |failure| {
            self.causes.news.values().flatten().any(|news| news.report == Report::Failed(failure))
        };
        let is_so = match reason {
            Reason::Rejected => {
                last.is_some_and(|of| of.state == TryState::Refused) || given_up(Failure::Rejected)
            }
            Reason::OptedOut => failure.is_some_and(|of| of.kind == ErrorKind::OptedOut),
            Reason::Undeliverable => given_up(Failure::Undeliverable),
            Reason::RetriesExhausted => {
                let waits = last.is_some_and(|of| {
                    of.state == TryState::Refused
                        || of.state == TryState::Planned
                        || matches!(of.state, TryState::Later { .. })
                });
                if last.is_some_and(|of| of.state != TryState::Refused) {
                    self.timer(send_end, false, fact)?;
                }
                waits && last.is_some_and(|of| of.calls > 0) && step.clock.is_none()
            }
            Reason::NotSentInTime | Reason::RouteSaturated => {
                self.timer(send_end, false, fact)?;
                // A route that is there is full, unless the service was down at the time.
                let is_gone =
                    last.is_some_and(|of| self.case.way(of, self.routes, self.names).is_none());
                let was_full = !is_gone && send_end >= self.batch.started_at;
                last.is_some_and(|of| of.calls == 0)
                    && (reason == Reason::RouteSaturated) == was_full
            }
            Reason::OutcomeUnknown => {
                self.unknown_waited(index)?;
                tries.iter().any(|of| matches!(of.state, TryState::Unknown { .. }))
            }
            Reason::NoRoute => {
                let asked = &plan.steps[usize::from(index)];
                let is_untried = |(at, spec): (usize, &RouteSpec)| {
                    let name = self.names.of(at);
                    let tried = |of: &Try| Some(&of.name) == name && of.calls > 0;
                    name.is_some() && serves(spec, asked) && !tries.iter().any(tried)
                };
                // A second send goes by the route of the first, or by none.
                let is_bound = last.is_some_and(|of| of.is_double);
                let has_none = is_bound || !self.routes.iter().enumerate().any(is_untried);
                last.is_none_or(|of| of.is_gone) && has_none
            }
            Reason::DeadlineExceeded => {
                plan.valid_until.is_some_and(|until| until.0 <= self.batch.wall)
            }
            Reason::ConditionMet
            | Reason::LateConditionMet
            | Reason::Expired
            | Reason::NoReceipts
            | Reason::Canceled
            | Reason::NoConfirmation => false,
        };
        self.want(is_so, REASONS, || format!("{fact:?} after {tries:?}"))?;
        let is_alive = tries.iter().any(|of| match of.state {
            TryState::Taken => !of.has_failed,
            TryState::Out { .. } | TryState::Unknown { .. } => true,
            TryState::Planned | TryState::Later { .. } | TryState::Refused => false,
        });
        let may_be_alive = matches!(reason, Reason::OutcomeUnknown | Reason::DeadlineExceeded);
        self.want(!is_alive || may_be_alive, REASONS, || {
            format!("{fact:?}, and alive: {tries:?}")
        })?;
        self.leave(index, Some(reason));
        Ok(())
    }

    pub(super) fn expired(&mut self, index: u8, fact: &Fact) -> Fine {
        self.want(self.case.running == Some(index), ORDER, || format!("not running: {fact:?}"))?;
        let clock = self.step(index).clock;
        let rule = self.case.record.plan.steps[usize::from(index)].failover;
        let wait = rule.and_then(|failover| failover.expiry_ms);
        let wait = wait.unwrap_or(self.case.record.policy.unconfirmed_after_ms);
        let Some(clock) = clock else {
            return self.want(false, EARLY, || format!("its clock does not run: {fact:?}"));
        };
        let tries = || self.case.tries.iter().filter(|of| of.step == index);
        if tries().any(|of| of.recall != RecallSeen::None) {
            // It was on time that it was asked for.
            // What failed, as its provider told, is waited for no longer.
            let waits = tries().find(|of| of.recalling_until().is_some() && !of.has_failed);
            self.want(waits.is_none(), RECALLS, || format!("{fact:?}, and asked back: {waits:?}"))?;
        } else {
            self.timer(clock + wait, true, fact)?;
            let until = self.case.record.plan.valid_until;
            let goes_on = rule.is_some_and(|rule| rule.expiry_ms.is_some())
                && !self.case.is_last(index)
                && until.is_none_or(|until| self.batch.wall <= until.0);
            let can = tries().find(|of| {
                of.state == TryState::Taken && !of.has_failed && self.routes[of.route].recalls
            });
            self.want(!goes_on || can.is_none(), RECALLS, || {
                format!("{fact:?}, and nobody asked for {can:?}")
            })?;
        }
        let Fact::StepExpired { condition, last, late_ms, while_down, .. } = fact else {
            return Ok(());
        };
        let expected = (
            self.case.target(index),
            self.case.reached(index),
            self.batch.now - (clock + wait),
            clock + wait < self.batch.started_at,
        );
        self.want((*condition, *last, *late_ms, *while_down) == expected, TRUE, || {
            format!("{fact:?}, and it is {expected:?}")
        })?;
        self.leave(index, None);
        Ok(())
    }

    /// What came of an unknown outcome was decided only after its wait.
    pub(super) fn unknown_waited(&self, index: u8) -> Fine {
        let mut tries = self.case.tries.iter().filter(|of| of.step == index);
        let was_refused = tries.any(|of| of.is_double && of.state == TryState::Refused);
        match self.case.unknown_until(index) {
            Some((until, true)) if !was_refused => {
                self.timer_at(until, true, || "the wait for an unknown outcome".to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn ended(&mut self, outcome: &Outcome) -> Fine {
        let Outcome { state, reason, .. } = outcome;
        let last = self
            .case
            .told
            .iter()
            .rev()
            .map(|(_, fact)| fact)
            .find(|fact| !matches!(fact, Fact::StepSkipped { .. } | Fact::StepCanceled { .. }));
        let running = self.case.running;
        let is_met = |case: &Case, index: u8| case.reached(index) >= case.target(index);
        let met_late = (0..self.case.steps.len() as u8).any(|index| {
            self.case.steps[usize::from(index)].left.is_some() && is_met(self.case, index)
        });
        let step = running.map(|index| self.case.steps[usize::from(index)].clone());
        let is_last = running.is_some_and(|index| self.case.is_last(index));
        let has_clock = step.as_ref().is_some_and(|step| step.clock.is_some());
        let valid_until = self.case.record.plan.valid_until;
        let too_late = valid_until.is_some_and(|until| until.0 <= self.batch.wall);
        let is_so = match (state, reason) {
            (EndState::Succeeded, Reason::ConditionMet) => {
                matches!(last, Some(Fact::StepMet { .. }))
            }
            (EndState::Succeeded, Reason::LateConditionMet) => met_late,
            (EndState::Canceled, Reason::Canceled) => self.causes.is_canceled,
            (EndState::Unconfirmed, Reason::NoReceipts) => {
                is_last && matches!(last, Some(Fact::AttemptAccepted { .. }))
            }
            (EndState::Unconfirmed, Reason::NoConfirmation) => {
                matches!(last, Some(Fact::StepExpired { last, .. }) if *last >= Status::Submitted)
            }
            (EndState::Unconfirmed, Reason::OutcomeUnknown) => {
                if !matches!(last, Some(Fact::StepExpired { .. }))
                    && let Some(index) = running
                {
                    self.unknown_waited(index)?;
                }
                has_clock
                    && running.is_some_and(|index| {
                        self.case.reached(index) == Status::Pending
                            || self.case.tries.iter().any(|of| {
                                of.step == index && matches!(of.state, TryState::Unknown { .. })
                            })
                    })
            }
            (EndState::Unconfirmed, Reason::DeadlineExceeded) => too_late && has_clock,
            (EndState::Failed, Reason::DeadlineExceeded) => too_late,
            (EndState::Failed, Reason::Expired) => {
                is_last && matches!(last, Some(Fact::StepExpired { .. }))
            }
            (EndState::Failed, reason) => {
                is_last && matches!(last, Some(Fact::StepFailed { reason: of, .. }) if of == reason)
            }
            (EndState::Succeeded | EndState::Canceled | EndState::Unconfirmed, _) => false,
        };
        self.want(is_so, REASONS, || format!("{state:?} {reason} after {last:?}"))?;
        let is_success = *state == EndState::Succeeded || *state == EndState::Canceled;
        self.want(is_success || !met_late, REASONS, || {
            format!("{state:?} {reason}, and a condition was reached")
        })?;
        self.case.running = None;
        self.case.ended = Some((self.batch.now, *state, *reason));
        Ok(())
    }
}

impl Case {
    /// Until when a step's unknown outcomes are waited for, and whether that is any time at all.
    pub(super) fn unknown_until(&self, index: u8) -> Option<(u64, bool)> {
        let plan = &self.record.plan;
        let rule = plan.steps[usize::from(index)].failover;
        let expiry = rule.and_then(|failover| failover.expiry_ms).unwrap_or(u64::MAX);
        let wait_ms = self.record.policy.unknown_wait_ms.min(expiry);
        let until = self.tries.iter().filter(|of| of.step == index).filter_map(|of| {
            let TryState::Unknown { since, echoes } = of.state else { return None };
            // Who asked to resend or to fail over asked for no wait; a resend has nothing after it.
            let waits = echoes
                && match plan.on_unknown {
                    OnUnknown::FailOver => false,
                    OnUnknown::Resend => of.is_double,
                    OnUnknown::WaitReceipt => true,
                };
            Some((since + if waits { wait_ms } else { 0 }, waits && wait_ms > 0))
        });
        until.max()
    }
}
