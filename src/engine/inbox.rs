//! What waits for the writer, in lanes.
//!
//! Cancels, receipts and answers are never starved by creates. Every lane is bounded: full means a
//! refusal before any promise is made.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dispatch_contract::Busy;

use super::turn::Input;

/// How many inputs may wait, by lane. Answers are bounded by the places of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Creates.
    pub creates: usize,
    /// Cancels.
    pub cancels: usize,
    /// Receipts.
    pub receipts: usize,
}

impl Default for LaneLimits {
    fn default() -> Self {
        LaneLimits { creates: 4096, cancels: 4096, receipts: 16_384 }
    }
}

/// How many creates one turn takes: enough to share a sync, few enough to keep answers quick.
const CREATES_A_TURN: usize = 512;
const OTHERS_A_TURN: usize = 4096;

/// The lanes.
pub(super) struct Inbox {
    lanes: Mutex<Lanes>,
    changed: Condvar,
    limits: LaneLimits,
}

#[derive(Default)]
struct Lanes {
    control: VecDeque<Waiting>,
    cancels: VecDeque<Waiting>,
    receipts: VecDeque<Waiting>,
    answers: VecDeque<Waiting>,
    creates: VecDeque<Waiting>,
    is_closed: bool,
    /// The writer sleeps until something comes. Waking it when it does not is a call of the system
    /// for nothing, several for each workflow.
    is_awaited: bool,
}

/// An input, and the sign that it is under way.
pub(super) type Waiting = (Input, Busy);

/// Why an input was not taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// Its lane is full.
    Full,
    /// The engine has stopped.
    Closed,
}

impl Inbox {
    pub(super) fn new(limits: LaneLimits) -> Self {
        Inbox { lanes: Mutex::default(), changed: Condvar::new(), limits }
    }

    pub(super) fn push(&self, input: Input, busy: Busy) -> Result<(), NotTaken> {
        let mut lanes = self.lanes();
        if lanes.is_closed {
            return Err(NotTaken::Closed);
        }
        let Lanes { control, cancels, receipts, answers, creates, .. } = &mut *lanes;
        let (lane, most) = match &input {
            Input::Create { .. } => (creates, self.limits.creates),
            Input::Cancel { .. } => (cancels, self.limits.cancels),
            Input::Inbound { .. } => (receipts, self.limits.receipts),
            Input::Answer { .. } => (answers, usize::MAX),
            Input::Tick | Input::Resume { .. } | Input::Drain { .. } | Input::Stop => {
                (control, usize::MAX)
            }
        };
        if lane.len() >= most {
            return Err(NotTaken::Full);
        }
        lane.push_back((input, busy));
        let is_awaited = std::mem::take(&mut lanes.is_awaited);
        drop(lanes);
        if is_awaited {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Whether a create would be refused.
    pub(super) fn is_full_of_creates(&self) -> bool {
        self.lanes().creates.len() >= self.limits.creates
    }

    /// Waits for inputs, at most for `wait`; then takes what waits, in the order of the lanes.
    pub(super) fn take(&self, wait: Option<Duration>) -> Vec<Waiting> {
        let mut lanes = self.lanes();
        match wait {
            Some(time) => {
                let waited = self.changed.wait_timeout_while(lanes, time, Lanes::await_more);
                lanes = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            None => {
                let waited = self.changed.wait_while(lanes, Lanes::await_more);
                lanes = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        lanes.is_awaited = false;
        let Lanes { control, cancels, receipts, answers, creates, .. } = &mut *lanes;
        let mut taken: Vec<_> = control.drain(..).collect();
        for (lane, most) in [
            (cancels, OTHERS_A_TURN),
            (receipts, OTHERS_A_TURN),
            (answers, OTHERS_A_TURN),
            (creates, CREATES_A_TURN),
        ] {
            let count = lane.len().min(most);
            taken.extend(lane.drain(..count));
        }
        taken
    }

    /// Takes nothing any more; what waits is dropped, and its callers are told.
    pub(super) fn close(&self) {
        let mut lanes = self.lanes();
        *lanes = Lanes { is_closed: true, ..Lanes::default() };
        drop(lanes);
        self.changed.notify_all();
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    /// Whether the writer, who asks, has to sleep.
    fn await_more(&mut self) -> bool {
        self.is_awaited = self.is_empty();
        self.is_awaited
    }

    fn is_empty(&self) -> bool {
        let Lanes { control, cancels, receipts, answers, creates, is_closed, .. } = self;
        !is_closed
            && [control, cancels, receipts, answers, creates].iter().all(|lane| lane.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::machine::WorkflowId;

    #[test]
    fn what_waits_is_bounded_and_needs_no_room_among_the_creates() {
        let inbox = Inbox::new(LaneLimits { creates: 0, cancels: 2, receipts: 1 });
        let cancel = || Input::Cancel {
            tenant: Arc::from("default"),
            id: WorkflowId(Uuid::nil()),
            reply: Box::new(|_| {}),
        };
        let receipt = || Input::Inbound {
            provider: Arc::from("p"),
            account: Arc::from("a"),
            items: Vec::new(),
            reply: Box::new(|_| {}),
        };
        let push = |input| inbox.push(input, Busy::untracked()).is_ok();
        assert!(push(receipt()) && !push(receipt()), "the lane of receipts has one place");
        assert!(push(cancel()) && push(cancel()) && !push(cancel()), "that of cancels two");
        let taken = inbox.take(None);
        let is_cancel = |(input, _): &Waiting| matches!(input, Input::Cancel { .. });
        assert!(taken[..2].iter().all(is_cancel), "cancels first");
        assert!(!is_cancel(&taken[2]));
    }
}
