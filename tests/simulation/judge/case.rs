//! One workflow as the judge knows it: its plan, and what its facts add up to.

use std::sync::Arc;

use dispatch::{
    machine::{CallFailure, EndState, Fact, Moment, OnLateSuccess, Reason},
    store::Record,
};
use dispatch_contract::Status;

/// What is known of one workflow.
pub struct Case {
    pub record: Arc<Record>,
    pub told: Vec<(Moment, Fact)>,
    pub(super) steps: Vec<StepSeen>,
    pub(super) tries: Vec<Try>,
    pub(super) running: Option<u8>,
    pub(super) ended: Option<(u64, EndState, Reason)>,
    pub(super) forgotten: bool,
    /// It is marked: nothing is kept of whom it was about from then on.
    pub(super) is_erased: bool,
    /// Nobody can open its contents any more.
    pub is_destroyed: bool,
    pub(super) timer: Option<u64>,
    pub(super) appointment: Option<u64>,
    pub(super) waits_on: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct StepSeen {
    pub(super) begun: Option<u64>,
    /// When the first attempt was accepted or unknown.
    pub(super) clock: Option<u64>,
    pub(super) left: Option<Option<Reason>>,
    pub(super) is_met: bool,
    pub(super) messages: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) step: u8,
    /// By which it goes, or would go as the routes are now called.
    pub(super) route: usize,
    /// What that was called when it was planned, and which it was.
    pub(super) name: Arc<str>,
    pub(super) planned_on: usize,
    pub(super) is_double: bool,
    pub(super) calls: u16,
    pub(super) first_call: Option<u64>,
    pub(super) last_call: Option<u64>,
    pub(super) state: TryState,
    pub(super) status: Status,
    pub(super) has_failed: bool,
    /// A call of it may have gone out without our knowing.
    pub(super) is_uncertain: bool,
    pub(super) failure: Option<CallFailure>,
    /// It was given up because its route is not configured any more.
    pub(super) is_gone: bool,
    pub(super) messages: u32,
    /// How far each part of its message is; empty of one that went out whole, or of which no answer told.
    pub(super) parts: Vec<Status>,
    pub(super) recall: RecallSeen,
    /// How far it is at least, by what the answer to its recall said.
    pub(super) recall_told: Status,
}

/// How far a message's recall is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecallSeen {
    None,
    /// Its mark is durable, and an answer is waited for until then; once, its provider is asked.
    Marked {
        until: u64,
        is_asked: bool,
    },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TryState {
    Planned,
    Out { life: u32 },
    Later { at: u64 },
    Taken,
    Unknown { since: u64, echoes: bool },
    Refused,
}

impl Try {
    /// An answer told by how many ids its message is known.
    pub(super) fn cut_up(&mut self, provider_ids: &[String]) {
        let count = if provider_ids.len() > 1 { provider_ids.len() } else { 0 };
        self.parts = vec![self.status; count];
    }

    pub(super) fn recalling_until(&self) -> Option<u64> {
        match self.recall {
            RecallSeen::Marked { until, .. } => Some(until),
            RecallSeen::None | RecallSeen::Over => None,
        }
    }
}

impl Case {
    /// The highest rung of a step's messages.
    pub(super) fn reached(&self, step: u8) -> Status {
        let tries = self.tries.iter().filter(|of| of.step == step);
        tries.map(|of| of.status).max().unwrap_or(Status::Pending)
    }

    pub(super) fn target(&self, step: u8) -> Status {
        let rule = self.record.plan.steps[usize::from(step)].failover;
        rule.map_or(Status::Delivered, |failover| failover.condition)
    }

    /// What a message that satisfies a step's condition means for the workflow now.
    pub(super) fn should_have_ended(&self) -> Option<u8> {
        let stops = self.record.plan.on_late_success == OnLateSuccess::Stop;
        (0..self.steps.len() as u8).find(|index| {
            let counts = self.running == Some(*index)
                || (stops && self.steps[usize::from(*index)].left.is_some());
            counts && self.reached(*index) >= self.target(*index)
        })
    }

    /// Whether something of a later step was sent.
    pub(super) fn sent_after(&self, step: u8) -> bool {
        self.tries.iter().any(|of| of.step > step && of.calls > 0)
    }

    pub(super) fn is_last(&self, step: u8) -> bool {
        usize::from(step) + 1 == self.steps.len()
    }

    /// When it was created, by the wall clock.
    pub(super) fn begun_at(&self) -> u64 {
        self.told.first().map_or(0, |(at, _)| at.wall.0)
    }

    /// The time for sending before any acceptance.
    pub(super) fn send_within(&self, step: u8) -> u64 {
        let (plan, policy) = (&self.record.plan, &self.record.policy);
        let usual =
            if self.is_last(step) { policy.last_send_within_ms } else { policy.send_within_ms };
        let expiry = plan.steps[usize::from(step)].failover.and_then(|failover| failover.expiry_ms);
        plan.send_within_ms.unwrap_or(usual.min(expiry.unwrap_or(u64::MAX)))
    }

    /// Until when an answer to a recall of a step's messages is waited for.
    pub(super) fn recalling_until(&self, step: u8) -> Option<u64> {
        let tries = self.tries.iter().filter(|of| of.step == step);
        tries.filter_map(|of| of.recalling_until()).max()
    }

    pub(super) fn at(&self, number: u16) -> Option<&Try> {
        self.tries.get(usize::from(number).checked_sub(1)?)
    }

    /// Whether it ended before `before`, so that retention may have dropped it.
    pub(super) fn is_past(&self, before: u64) -> bool {
        self.ended.is_some_and(|(at, ..)| at < before)
    }
}
