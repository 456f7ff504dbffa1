//! One fact after the other: is it allowed here, had it a cause, was it time?

use std::{collections::HashMap, sync::Arc};

use dispatch::machine::{
    self, AcceptedBy, Fact, OnUnknown, RECALL_WAIT_MS, Reason, RecallResult, SendResult, StepPlan,
    WorkflowId,
};
use dispatch_contract::{Fault, Report, Status};

use super::{
    BatchSeen, CLOCKS, COVERED, Case, EARLY, ERASED, Fine, GRACE, LADDER, LATE, NO_REPEAT, ORDER,
    OVER, Promise, RECALLS, RETRIES, RecallSeen, StepSeen, TRUE, Try, TryState,
    erasures::may_be_kept, want,
};
use crate::{routes::Names, scenario::RouteSpec};

/// What a batch was given for one workflow.
#[derive(Debug, Default)]
pub struct Causes {
    pub is_canceled: bool,
    pub is_erased: bool,
    pub answers: HashMap<u16, (u16, SendResult)>,
    pub recalls: HashMap<u16, RecallResult>,
    /// Receipts by attempt.
    pub news: HashMap<u16, Vec<News>>,
}

/// What a receipt says.
#[derive(Clone, Copy, Debug)]
pub struct News {
    /// Of which part of the message, counted from 1; of the whole if of none.
    pub part: Option<u16>,
    pub report: Report,
    /// It must be heard: one that was parked for long may be.
    pub must: bool,
    /// By which promise it counts.
    pub by: Promise,
}

/// Whether a step may go by a route.
pub fn serves(route: &RouteSpec, step: &StepPlan) -> bool {
    let is_told = |rule: machine::FailoverCondition| route.tells.contains(&rule.condition);
    route.channel == step.channel && step.failover.is_none_or(is_told)
}

/// A fact, where it stands.
pub struct Here<'a> {
    pub case: &'a mut Case,
    pub routes: &'a [RouteSpec],
    pub names: &'a Names,
    pub batch: &'a BatchSeen,
    pub causes: &'a Causes,
    pub id: WorkflowId,
}

impl Here<'_> {
    pub fn fact(&mut self, fact: &Fact) -> Fine {
        let now = self.batch.now;
        let is_late_kind = matches!(
            fact,
            Fact::LateStatus { .. }
                | Fact::LateFailure { .. }
                | Fact::LateSendResult { .. }
                | Fact::PartReached { late: true, .. }
                | Fact::ContentsErased { .. }
        );
        self.want(self.case.ended.is_some() == is_late_kind, OVER, || format!("{fact:?}"))?;
        self.want(!self.case.is_erased || may_be_kept(fact), ERASED, || format!("{fact:?}"))?;
        if let Some(number) = fact.attempt()
            && !matches!(fact, Fact::AttemptPlanned { .. })
        {
            self.want(self.case.at(number).is_some(), TRUE, || {
                format!("no such attempt: {fact:?}")
            })?;
        }
        match fact {
            Fact::Created => {
                self.want(self.case.told.is_empty(), OVER, || "created twice".to_owned())?;
            }
            Fact::StepStarted { step } => self.step_started(*step)?,
            Fact::AttemptPlanned { attempt, step, route, possible_duplicate, .. } => {
                self.planned(*attempt, *step, route, *possible_duplicate)?;
            }
            Fact::AttemptStarted { attempt, call, account } => {
                self.goes_by(*attempt, account)?;
                self.started(*attempt, *call)?;
            }
            Fact::AttemptAccepted { attempt, provider_ids, by } => {
                let has_cause = match by {
                    AcceptedBy::Response => matches!(
                        self.answer(*attempt),
                        Some(SendResult::Accepted { provider_ids: ids }) if ids == provider_ids
                    ),
                    AcceptedBy::Receipt => {
                        // What is told of a conversation settles nothing.
                        self.news(*attempt).iter().any(|news| news.by != COVERED)
                    }
                };
                self.want(has_cause, TRUE, || format!("{fact:?}"))?;
                let tried = self.attempt(*attempt);
                if tried.state != TryState::Taken {
                    tried.state = TryState::Taken;
                    tried.is_uncertain = false;
                    tried.has_failed = false;
                }
                tried.cut_up(provider_ids);
                self.climb(*attempt, Status::Submitted, false)?;
                self.start_clock(*attempt);
            }
            Fact::AttemptRejected { attempt, failure } => {
                let has_cause = match self.answer(*attempt) {
                    Some(SendResult::Rejected(of) | SendResult::RetryLater { failure: of, .. }) => {
                        of == failure
                    }
                    Some(SendResult::Accepted { .. } | SendResult::Unknown(_)) | None => false,
                };
                let is_gone = self.has_lost_its_route(*attempt);
                self.want(has_cause || is_gone, TRUE, || format!("{fact:?}"))?;
                let tried = self.attempt(*attempt);
                tried.is_gone = is_gone && !has_cause;
                tried.state = TryState::Refused;
                tried.has_failed = true;
                tried.failure = Some(failure.clone());
            }
            Fact::AttemptRetryScheduled { attempt, failure, retry_at } => {
                let after = match self.answer(*attempt) {
                    Some(SendResult::RetryLater { failure: of, after_ms }) if of == failure => {
                        Some(after_ms.unwrap_or(0))
                    }
                    _ => None,
                };
                self.want(after.is_some(), TRUE, || format!("{fact:?}"))?;
                self.backs_off(*attempt, retry_at.0, after.unwrap_or(0), fact)?;
                self.attempt(*attempt).state = TryState::Later { at: retry_at.0 };
                self.attempt(*attempt).failure = Some(failure.clone());
                self.waits_again(*attempt);
            }
            Fact::AttemptRepeated { attempt, failure, retry_at } => {
                self.became_unknown(*attempt, failure.is_some(), fact)?;
                self.backs_off(*attempt, retry_at.0, 0, fact)?;
                let tried = self.attempt(*attempt);
                tried.state = TryState::Later { at: retry_at.0 };
                tried.is_uncertain = true;
                self.waits_again(*attempt);
            }
            Fact::AttemptUnknown { attempt, failure, .. } => {
                self.became_unknown(*attempt, failure.is_some(), fact)?;
                let route = self.attempt(*attempt).route;
                let echoes = self.routes[route].echoes;
                let tried = self.attempt(*attempt);
                tried.state = TryState::Unknown { since: now, echoes };
                tried.is_uncertain = true;
                self.start_clock(*attempt);
            }
            Fact::AttemptDue { attempt } => {
                let TryState::Later { at } = self.attempt(*attempt).state else {
                    return self.want(false, TRUE, || format!("{fact:?}"));
                };
                self.timer(at, false, fact)?;
                self.attempt(*attempt).state = TryState::Planned;
            }
            Fact::StatusReached { attempt, status, .. }
            | Fact::LateStatus { attempt, status, .. } => {
                self.heard(*attempt, Report::Reached(*status), fact)?;
                if let Fact::LateStatus { unnecessary_failover, .. } = fact {
                    let tried = self.attempt(*attempt).clone();
                    let target = self.case.target(tried.step);
                    let is_late = tried.status < target && *status >= target;
                    let is_regret = is_late && self.case.sent_after(tried.step);
                    self.want(*unnecessary_failover == is_regret, TRUE, || format!("{fact:?}"))?;
                }
                self.climb(*attempt, *status, true)?;
            }
            Fact::StatusFailed { attempt, failure, .. }
            | Fact::LateFailure { attempt, failure, .. } => {
                self.heard(*attempt, Report::Failed(*failure), fact)?;
                self.attempt(*attempt).has_failed = true;
            }
            Fact::StepMet { step } => {
                let reached = self.case.reached(*step);
                let is_met = self.case.running == Some(*step) && reached >= self.case.target(*step);
                self.want(is_met, TRUE, || format!("it is {reached}: {fact:?}"))?;
                self.step(*step).is_met = true;
            }
            Fact::LateSuccess { step, unnecessary_failover, .. } => {
                let is_regret = self.case.sent_after(*step);
                self.want(*unnecessary_failover == is_regret, TRUE, || format!("{fact:?}"))?;
                let reached = self.case.reached(*step);
                let is_met = self.case.running != Some(*step) && reached >= self.case.target(*step);
                let was_left = self.step(*step).left.is_some();
                self.want(is_met && was_left, TRUE, || format!("it is {reached}: {fact:?}"))?;
                self.step(*step).is_met = true;
            }
            Fact::StepFailed { step, reason, .. } => self.failed(*step, *reason, fact)?,
            Fact::StepExpired { step, .. } => self.expired(*step, fact)?,
            Fact::StepSkipped { step } => {
                let is_fresh = self.step(*step).begun.is_none();
                self.want(is_fresh, ORDER, || format!("it had begun: {fact:?}"))?;
            }
            Fact::StepCanceled { step } => {
                let is_running = self.case.running == Some(*step);
                self.want(is_running, ORDER, || format!("it is not running: {fact:?}"))?;
            }
            Fact::RecallStarted { attempt, wait_until } => {
                self.asks_back(*attempt, wait_until.0, fact)?;
            }
            Fact::RecallEnded { attempt, result } => self.asked_back(*attempt, result, fact)?,
            Fact::PartReached { attempt, part, status, .. } => {
                self.part_reached(*attempt, *part, *status, fact)?;
            }
            Fact::Ended(outcome) => self.ended(outcome)?,
            Fact::ContentsErased { .. } => {
                self.want(self.causes.is_erased, TRUE, || "nobody had it erased".to_owned())?;
                self.case.is_erased = true;
            }
            Fact::LateSendResult { attempt, provider_ids, unknown } => {
                let told = match self.answer(*attempt) {
                    Some(SendResult::Accepted { provider_ids }) => {
                        let is_erased = self.case.is_erased;
                        (Some(if is_erased { Vec::new() } else { provider_ids.clone() }), false)
                    }
                    Some(SendResult::Rejected(_) | SendResult::RetryLater { .. }) => (None, false),
                    Some(SendResult::Unknown(_)) | None => (None, true),
                };
                self.want(told == (provider_ids.clone(), *unknown), TRUE, || format!("{fact:?}"))?;
                let is_known = self.attempt(*attempt).state == TryState::Taken;
                if !(is_known && told.0.is_some()) {
                    self.lost_or_answered(*attempt, fact)?;
                }
                self.attempt(*attempt).cut_up(provider_ids.as_deref().unwrap_or_default());
                self.attempt(*attempt).state = match told {
                    (Some(_), _) => TryState::Taken,
                    (None, true) => TryState::Unknown { since: now, echoes: false },
                    (None, false) => TryState::Refused,
                };
            }
        }
        self.case.told.push((self.batch.moment(), fact.clone()));
        Ok(())
    }

    fn step_started(&mut self, step: u8) -> Fine {
        let before = self.case.told.last().map(|(_, fact)| fact);
        let follows = match (step, before) {
            (0, Some(Fact::Created)) => true,
            (
                _,
                Some(Fact::StepFailed { step: left, .. } | Fact::StepExpired { step: left, .. }),
            ) => left + 1 == step,
            _ => false,
        };
        self.want(follows, ORDER, || format!("step {} starts after {before:?}", step + 1))?;
        let is_fresh = self.step(step).begun.is_none();
        self.want(is_fresh, ORDER, || format!("step {} starts again", step + 1))?;
        if step == 0
            && let Some(send_at) = self.case.record.plan.send_at
            && send_at.0 > self.case.begun_at()
        {
            self.appointment(send_at.0, || "the first step".to_owned())?;
        }
        self.case.running = Some(step);
        self.step(step).begun = Some(self.batch.now);
        Ok(())
    }

    fn planned(&mut self, number: u16, step: u8, route: &str, possible_duplicate: bool) -> Fine {
        let is_next = usize::from(number) == self.case.tries.len() + 1;
        self.want(is_next && self.case.running == Some(step), ORDER, || {
            format!("attempt {number} is planned for step {}", step + 1)
        })?;
        let earlier: Vec<&Try> = self.case.tries.iter().filter(|of| of.step == step).collect();
        let unknown = earlier.iter().rev().find(|of| of.is_uncertain);
        // What may be out goes by the route that it went by, or by none.
        let same = unknown.filter(|of| *of.name == *route).map(|of| of.route);
        let Some(index) = same.or_else(|| self.names.route(route)) else {
            return self.want(false, TRUE, || format!("there is no route {route}"));
        };
        let asked = &self.case.record.plan.steps[usize::from(step)];
        self.want(serves(&self.routes[index], asked), TRUE, || {
            format!("{route} does not serve step {}", step + 1)
        })?;

        match unknown {
            Some(unknown) => {
                let is_last = self.case.is_last(step);
                let may = match self.case.record.plan.on_unknown {
                    OnUnknown::WaitReceipt => is_last,
                    OnUnknown::Resend => true,
                    OnUnknown::FailOver => false,
                };
                let is_second = !earlier.iter().any(|of| of.is_double);
                let is_right = possible_duplicate && may && is_second && unknown.route == index;
                self.want(is_right, NO_REPEAT, || format!("attempt {number} by {route}"))?;
                self.unknown_waited(step)?;
            }
            None => {
                self.want(!possible_duplicate, NO_REPEAT, || {
                    "a double, with nothing unknown".to_owned()
                })?;
                let may = earlier.iter().all(|of| {
                    let by_provider =
                        of.failure.as_ref().is_some_and(|of| of.fault == Fault::Provider);
                    // What bore its name before may have been another one, gone or not by then.
                    let was_it = of.calls > 0 && of.route == index;
                    let is_another =
                        *of.name != *route || of.route != index || (of.is_gone && !was_it);
                    of.state == TryState::Refused && (by_provider || of.is_gone) && is_another
                });
                self.want(may, TRUE, || format!("another route, after {earlier:?}"))?;
                let begun = self.case.steps[usize::from(step)].begun.unwrap_or(0);
                let within = self.case.send_within(step);
                let is_at_once = earlier.last().is_none_or(|of| of.is_gone);
                let in_time = is_at_once || self.batch.now + within / 4 <= begun + within;
                self.want(in_time, CLOCKS, || "another route in the last quarter".to_owned())?;
            }
        }
        self.case.tries.push(Try {
            step,
            route: index,
            name: Arc::from(route),
            planned_on: index,
            is_double: possible_duplicate,
            calls: 0,
            first_call: None,
            last_call: None,
            state: TryState::Planned,
            status: Status::Pending,
            has_failed: false,
            is_uncertain: false,
            failure: None,
            is_gone: false,
            messages: 0,
            parts: Vec::new(),
            recall: RecallSeen::None,
            recall_told: Status::Pending,
        });
        Ok(())
    }

    fn started(&mut self, number: u16, call: u16) -> Fine {
        let BatchSeen { now, wall, life, previous, .. } = *self.batch;
        let tried = self.attempt(number).clone();
        let is_planned = tried.state == TryState::Planned && call == tried.calls + 1;
        let is_running = self.case.running == Some(tried.step);
        self.want(is_planned && is_running, ORDER, || {
            format!("call {call} of attempt {number} starts, of {tried:?}")
        })?;
        let is_asking = |of: &&Try| {
            // A step that was left waits for nothing; that it was left in its time is judged there.
            let is_running = self.case.running == Some(of.step);
            is_running && of.recalling_until().is_some_and(|until| now < until)
        };
        let asking = self.case.tries.iter().find(is_asking);
        self.want(asking.is_none(), RECALLS, || {
            format!("attempt {number} starts, and {asking:?} is asked back")
        })?;
        let valid_until = self.case.record.plan.valid_until;
        self.want(valid_until.is_none_or(|until| wall <= until.0), CLOCKS, || {
            format!("attempt {number} starts after valid_until {valid_until:?}")
        })?;
        let step = &self.case.steps[usize::from(tried.step)];
        if let (None, Some(begun)) = (step.clock, step.begun) {
            let end = begun + self.case.send_within(tried.step);
            // The batch in which the time passes may still give it a place.
            let is_late = now > end && previous.is_some_and(|previous| previous.engine.0 > end);
            self.want(!is_late, CLOCKS, || {
                format!("attempt {number} starts {} ms after send_within", now - end)
            })?;
        }
        if tried.is_uncertain {
            let honours_ms = self.routes[tried.route].idempotent_ms;
            let until = honours_ms.zip(tried.first_call).map(|(ms, first)| first + ms);
            self.want(until.is_some_and(|until| now <= until), NO_REPEAT, || {
                format!("call {call} of attempt {number}, whose id is honoured until {until:?}")
            })?;
        }
        let tried = self.attempt(number);
        tried.calls = call;
        tried.first_call.get_or_insert(now);
        tried.last_call = Some(now);
        tried.state = TryState::Out { life };
        Ok(())
    }

    /// A message had its time, and another is to follow.
    fn asks_back(&mut self, number: u16, until: u64, fact: &Fact) -> Fine {
        let tried = self.attempt(number).clone();
        let (plan, wall) = (&self.case.record.plan, self.batch.wall);
        let rule = plan.steps[usize::from(tried.step)].failover;
        let is_valid = plan.valid_until.is_none_or(|until| wall <= until.0);
        let is_followed = !self.case.is_last(tried.step) && is_valid;
        let is_there = tried.state == TryState::Taken && !tried.has_failed;
        let is_running = self.case.running == Some(tried.step);
        let may = is_followed && is_there && is_running && self.routes[tried.route].recalls;
        self.want(may && tried.recall == RecallSeen::None, RECALLS, || {
            format!("{fact:?} of {tried:?}")
        })?;
        let clock = self.case.steps[usize::from(tried.step)].clock;
        let expiry = rule.and_then(|failover| failover.expiry_ms);
        let Some(due) = clock.zip(expiry).map(|(clock, expiry)| clock + expiry) else {
            return self.want(false, EARLY, || format!("no time of it is over: {fact:?}"));
        };
        self.timer(due, true, fact)?;
        let right = self.batch.now + RECALL_WAIT_MS;
        self.want(until == right, RECALLS, || format!("it waits until {until}, not {right}"))?;
        self.attempt(number).recall = RecallSeen::Marked { until, is_asked: false };
        Ok(())
    }

    /// A recall was answered, or waited for long enough.
    fn asked_back(&mut self, number: u16, result: &RecallResult, fact: &Fact) -> Fine {
        let RecallSeen::Marked { until, is_asked } = self.attempt(number).recall else {
            return self.want(false, RECALLS, || format!("nobody was asked: {fact:?}"));
        };
        if *result == RecallResult::Unanswered {
            self.timer(until, false, fact)?;
        } else {
            let is_told = is_asked && self.causes.recalls.get(&number) == Some(result);
            self.want(is_told, TRUE, || format!("nobody said so: {fact:?}"))?;
        }
        let tried = self.attempt(number);
        tried.recall = RecallSeen::Over;
        if let RecallResult::TooLate(Some(status)) = result {
            tried.recall_told = *status;
        }
        Ok(())
    }

    /// A retry comes after a delay that doubles, is scattered over its second half, and is not
    /// shorter than the provider asked.
    fn backs_off(&mut self, number: u16, retry_at: u64, asked_ms: u64, fact: &Fact) -> Fine {
        let policy = self.case.record.policy;
        let doublings = u32::from(self.attempt(number).calls).saturating_sub(1).min(30);
        let whole = (policy.retry_base_ms << doublings).min(policy.retry_max_ms);
        let delay = retry_at.saturating_sub(self.batch.now);
        let is_right = delay >= asked_ms.max(whole / 2) && delay <= asked_ms.max(whole);
        self.want(is_right, RETRIES, || format!("asked for {asked_ms} ms: {fact:?}"))
    }

    /// An unknown outcome has an unknown answer, or none that can come any more.
    fn became_unknown(&mut self, number: u16, was_told: bool, fact: &Fact) -> Fine {
        if was_told {
            let is_told = matches!(self.answer(number), Some(SendResult::Unknown(_)));
            let is_gone = self.has_lost_its_route(number);
            return self.want(is_told || is_gone, TRUE, || format!("{fact:?}"));
        }
        // Waiting for a repeat whose time is over, it is as unknown as it was.
        let tried = self.attempt(number);
        let still =
            tried.is_uncertain && matches!(tried.state, TryState::Later { .. } | TryState::Planned);
        if still { Ok(()) } else { self.lost_or_answered(number, fact) }
    }

    fn lost_or_answered(&mut self, number: u16, fact: &Fact) -> Fine {
        let TryState::Out { life } = self.attempt(number).state else {
            return self.want(false, TRUE, || format!("no call is out: {fact:?}"));
        };
        let may = life < self.batch.life || self.answer(number).is_some();
        self.want(may, TRUE, || format!("its call is out in this life: {fact:?}"))
    }

    /// A timer that was due at `due` goes off now.
    pub(super) fn timer(&self, due: u64, awaits_receipt: bool, fact: &Fact) -> Fine {
        self.timer_at(due, awaits_receipt, || format!("{fact:?}"))
    }

    pub(super) fn timer_at(
        &self,
        due: u64,
        awaits_receipt: bool,
        what: impl Fn() -> String,
    ) -> Fine {
        let BatchSeen { now, started_at, grace_until, previous, .. } = *self.batch;
        self.want(due <= now, EARLY, || format!("{} ms early: {}", due - now, what()))?;
        let is_held = awaits_receipt && due < started_at;
        self.want(!is_held || now >= grace_until, GRACE, || {
            format!("{} ms before the grace ends: {}", grace_until - now, what())
        })?;
        let may_at = due.max(if is_held { grace_until } else { started_at });
        self.want(previous.is_none_or(|previous| previous.engine.0 <= may_at), LATE, || {
            format!("{} ms late, and a batch passed meanwhile: {}", now - may_at, what())
        })
    }

    /// A time by the wall clock was `due`, and what was to be done is done now.
    fn appointment(&self, due: u64, what: impl Fn() -> String) -> Fine {
        let BatchSeen { wall, previous, .. } = *self.batch;
        self.want(due <= wall, EARLY, || format!("{} ms early: {}", due - wall, what()))?;
        self.want(previous.is_none_or(|previous| previous.wall.0 <= due), LATE, || {
            format!("the wall clock showed {previous:?} in the batch before: {}", what())
        })
    }

    /// Of the whole message a provider told so, or of its last part; that it failed, of any part.
    fn heard(&mut self, number: u16, report: Report, fact: &Fact) -> Fine {
        let news = self.news(number);
        let is_told = news.iter().any(|news| {
            news.report == report && (news.part.is_none() || matches!(report, Report::Failed(_)))
        });
        let last = self.case.at(number).and_then(|of| of.parts.iter().min().copied());
        let has_last = news.iter().any(|news| news.part.is_some())
            && last.is_some_and(|last| report == Report::Reached(last));
        let by_conversation =
            self.case.at(number).is_some_and(|of| self.routes[of.route].watermarks.is_some());
        let rule = if by_conversation { COVERED } else { TRUE };
        self.want(is_told || has_last, rule, || format!("nobody told: {fact:?}"))
    }

    /// What providers told of an attempt.
    fn news(&self, number: u16) -> &[News] {
        self.causes.news.get(&number).map_or(&[][..], Vec::as_slice)
    }

    fn part_reached(&mut self, number: u16, part: u16, status: Status, fact: &Fact) -> Fine {
        let news = self.news(number);
        let is_it = |news: &News| news.part == Some(part) && news.report == Report::Reached(status);
        let is_told = news.iter().any(is_it);
        self.want(is_told, TRUE, || format!("nobody told: {fact:?}"))?;
        let place = usize::from(part).wrapping_sub(1);
        let before = self.case.at(number).and_then(|of| of.parts.get(place)).copied();
        let climbs = before.is_some_and(|before| status > before);
        self.want(climbs, LADDER, || format!("{fact:?} after {before:?}"))?;
        self.attempt(number).parts[place] = status;
        Ok(())
    }

    fn climb(&mut self, number: u16, status: Status, must: bool) -> Fine {
        let before = self.attempt(number).status;
        self.want(!must || status > before, LADDER, || format!("{status} after {before}"))?;
        let tried = self.attempt(number);
        tried.status = before.max(status);
        tried.parts.iter_mut().for_each(|part| *part = (*part).max(status));
        if status > Status::Submitted {
            tried.has_failed = false;
        }
        Ok(())
    }

    fn start_clock(&mut self, number: u16) {
        let (step, now) = (self.attempt(number).step, self.batch.now);
        self.step(step).clock.get_or_insert(now);
    }

    pub(super) fn leave(&mut self, index: u8, reason: Option<Reason>) {
        self.step(index).left = Some(reason);
    }

    fn answer(&self, number: u16) -> Option<&SendResult> {
        let (call, answer) = self.causes.answers.get(&number)?;
        let attempt = self.case.at(number)?;
        (attempt.calls == *call).then_some(answer)
    }

    pub(super) fn attempt(&mut self, number: u16) -> &mut Try {
        &mut self.case.tries[usize::from(number) - 1]
    }

    pub(super) fn step(&mut self, index: u8) -> &mut StepSeen {
        &mut self.case.steps[usize::from(index)]
    }

    pub(super) fn want(&self, holds: bool, rule: Promise, detail: impl FnOnce() -> String) -> Fine {
        want(holds, rule, self.id, detail)
    }
}
