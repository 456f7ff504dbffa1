//! When a workflow must be woken next. Derived from its state, never stored beside it.

use std::cmp::Reverse;

use dispatch_contract::UnixMillis;

use super::{AttemptState, ClockKind, Moment, OnUnknown, Phase, Workflow};

/// When to wake a workflow, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// When, on the clock of what it is [due](DeadlineKind::clock) for.
    pub at: UnixMillis,
    /// What for.
    pub kind: DeadlineKind,
}

/// When a workflow must be woken next. There are two, since nobody knows which comes first: the wall
/// clock may be set at any moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// The end of a duration, in engine time.
    pub timer: Option<Deadline>,
    /// A time that was given, by the wall clock.
    pub appointment: Option<Deadline>,
}

/// What a workflow is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadlineKind {
    /// `send_at` has come.
    Send,
    /// A deferred call may be made again.
    Retry,
    /// `send_within` has passed without an acceptance.
    SendWithin,
    /// `valid_until` has passed while a call was waiting.
    ValidUntil,
    /// A receipt for an unknown outcome was waited for long enough.
    UnknownWait,
    /// The condition was not reached in time.
    Expiry,
    /// Silence lasted long enough.
    UnconfirmedAfter,
    /// An answer to a recall was waited for long enough.
    RecallWait,
}

impl DeadlineKind {
    /// The name used in answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeadlineKind::Send => "send_at",
            DeadlineKind::Retry => "retry",
            DeadlineKind::SendWithin => "send_within",
            DeadlineKind::ValidUntil => "valid_until",
            DeadlineKind::UnknownWait => "unknown_wait",
            DeadlineKind::Expiry => "expiry_time",
            DeadlineKind::UnconfirmedAfter => "unconfirmed_after",
            DeadlineKind::RecallWait => "recall_wait",
        }
    }

    /// Which clock tells that it has come.
    pub const fn clock(self) -> ClockKind {
        match self {
            DeadlineKind::Send | DeadlineKind::ValidUntil => ClockKind::Wall,
            DeadlineKind::Retry
            | DeadlineKind::SendWithin
            | DeadlineKind::UnknownWait
            | DeadlineKind::Expiry
            | DeadlineKind::UnconfirmedAfter
            | DeadlineKind::RecallWait => ClockKind::Engine,
        }
    }

    /// Whether it gives something up for want of a receipt. After a downtime such deadlines wait
    /// a while, because the receipt may be on its way; retries and due sends do not.
    pub const fn awaits_receipt(self) -> bool {
        match self {
            DeadlineKind::Expiry | DeadlineKind::UnknownWait | DeadlineKind::UnconfirmedAfter => {
                true
            }
            DeadlineKind::Send
            | DeadlineKind::Retry
            | DeadlineKind::SendWithin
            | DeadlineKind::ValidUntil
            | DeadlineKind::RecallWait => false,
        }
    }
}

impl Deadlines {
    /// Either of them, if there is one.
    pub fn any(self) -> Option<Deadline> {
        self.timer.or(self.appointment)
    }

    /// Which comes first by what is known at `seen`, with its time by the wall clock: for people.
    pub fn next(self, seen: Moment) -> Option<Deadline> {
        let timer = self.timer.map(|timer| Deadline { at: seen.wall_at(timer.at), ..timer });
        timer.into_iter().chain(self.appointment).min()
    }

    /// What should have been done longest ago, of what is due.
    pub fn most_overdue(self, now: Moment) -> Option<Deadline> {
        let is_due = |deadline: &Deadline| deadline.at <= now.on(deadline.kind.clock());
        let lateness = |deadline: &Deadline| now.on(deadline.kind.clock()).since(deadline.at);
        let both = self.timer.into_iter().chain(self.appointment).filter(is_due);
        both.min_by_key(|deadline| (Reverse(lateness(deadline)), deadline.kind))
    }

    fn consider(&mut self, at: UnixMillis, kind: DeadlineKind) {
        let candidate = Deadline { at, kind };
        let place = match kind.clock() {
            ClockKind::Engine => &mut self.timer,
            ClockKind::Wall => &mut self.appointment,
        };
        *place = Some(place.map_or(candidate, |best| best.min(candidate)));
    }
}

impl Workflow {
    /// The next times that change something by themselves; none if only an event can, or nothing
    /// any more.
    pub fn deadlines(&self) -> Deadlines {
        self.deadlines_behind(UnixMillis(0))
    }

    /// The same, without the waits for receipts that were over before `held_before`, in engine time:
    /// after a downtime those are held, and what else is due must not wait behind them.
    pub fn deadlines_behind(&self, held_before: UnixMillis) -> Deadlines {
        let mut found = Deadlines::default();
        match self.phase {
            Phase::Scheduled => {
                found.consider(self.send_at.unwrap_or_default(), DeadlineKind::Send);
                if let Some(valid_until) = self.valid_until {
                    found.consider(valid_until, DeadlineKind::ValidUntil);
                }
            }
            Phase::Running(step) => self.while_running(step, held_before, &mut found),
            Phase::Ended(..) => {}
        }
        found
    }

    fn while_running(&self, index: u8, held_before: UnixMillis, found: &mut Deadlines) {
        let Some(step) = self.steps.get(usize::from(index)) else { return };
        let mut consider = |at: UnixMillis, kind: DeadlineKind| {
            if at >= held_before || !kind.awaits_receipt() {
                found.consider(at, kind);
            }
        };
        let after = |from: Moment, ms: u64| UnixMillis(from.engine.0.saturating_add(ms));

        let mut is_waiting = false;
        // Of several unknown outcomes the newest is still waited for.
        let mut unknown_until = None;
        for (_, attempt) in self.attempts_of(index) {
            match attempt.state {
                AttemptState::Planned => is_waiting = true,
                AttemptState::RetryScheduled { retry_at } => {
                    is_waiting = true;
                    consider(retry_at, DeadlineKind::Retry);
                }
                AttemptState::Unknown { wait_until } => {
                    unknown_until = unknown_until.max(Some(wait_until));
                }
                AttemptState::Started
                | AttemptState::Accepted
                | AttemptState::Recalling { .. }
                | AttemptState::Rejected => {}
            }
        }
        // The step's time is over already; it goes on when the provider has answered, or has not.
        if let Some(wait_until) = self.recalling_until(index) {
            return consider(wait_until, DeadlineKind::RecallWait);
        }
        if let Some(wait_until) = unknown_until.filter(|_| self.awaits_unknown(index)) {
            consider(wait_until, DeadlineKind::UnknownWait);
        }
        if is_waiting {
            if let (None, Some(active_at)) = (step.clock_at, step.active_at) {
                consider(after(active_at, self.send_within(index)), DeadlineKind::SendWithin);
            }
            if let Some(valid_until) = self.valid_until {
                consider(valid_until, DeadlineKind::ValidUntil);
            }
        }
        if let Some(clock_at) = step.clock_at {
            match step.failover.and_then(|failover| failover.expiry_ms) {
                Some(expiry_ms) => consider(after(clock_at, expiry_ms), DeadlineKind::Expiry),
                None => consider(
                    after(clock_at, self.policy.unconfirmed_after_ms),
                    DeadlineKind::UnconfirmedAfter,
                ),
            }
        }
    }

    /// For how long the message of step `index` is of use from `now` on, in milliseconds: until the
    /// next step goes out in its place, and until `valid_until`. `None`: for as long as it takes.
    pub fn useful_for_ms(&self, index: u8, now: Moment) -> Option<u64> {
        let step = self.steps.get(usize::from(index))?;
        let expiry_ms =
            step.failover.and_then(|failover| failover.expiry_ms).filter(|_| !self.is_last(index));
        // The clock begins with the first acceptance, which is this one unless there was one.
        let passed_ms = step.clock_at.map_or(0, |at| now.engine.0.saturating_sub(at.engine.0));
        let until_expiry = expiry_ms.map(|expiry_ms| expiry_ms.saturating_sub(passed_ms));
        let until_invalid = self.valid_until.map(|until| until.0.saturating_sub(now.wall.0));
        until_expiry.into_iter().chain(until_invalid).min()
    }

    /// Whether step `index` was sent once more after an unknown outcome.
    pub(super) fn has_resent(&self, index: u8) -> bool {
        self.attempts_of(index).any(|(_, attempt)| attempt.possible_duplicate)
    }

    /// Whether an unknown outcome of step `index` still waits to be decided: it is decided once,
    /// and not at all if another attempt of the step is alive.
    pub(super) fn awaits_unknown(&self, index: u8) -> bool {
        let mut unknown = 0;
        for (_, attempt) in self.attempts_of(index) {
            match attempt.state {
                AttemptState::Unknown { .. } => unknown += 1,
                AttemptState::Planned
                | AttemptState::Started
                | AttemptState::RetryScheduled { .. } => {
                    return false;
                }
                AttemptState::Accepted | AttemptState::Recalling { .. }
                    if attempt.failure.is_none() =>
                {
                    return false;
                }
                AttemptState::Accepted
                | AttemptState::Recalling { .. }
                | AttemptState::Rejected => {}
            }
        }
        // The last step has nowhere to fail over to: it sends once more, if it may, and then
        // waits for the end of its clock.
        let is_settled = self.on_unknown == OnUnknown::FailOver || self.has_resent(index);
        unknown > 0 && !(self.is_last(index) && is_settled)
    }
}
