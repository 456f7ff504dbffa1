//! What was erased, or is old enough: nothing of whom it was about is kept, and nobody else's is gone.

use dispatch::{
    engine::{EngineError, MarkedErased},
    machine::{Fact, WorkflowId},
};

use super::{ACKED, CANCELS, ERASED, Fine, Judge, TryState, want};

impl Judge {
    /// Whoever had something erased was answered.
    pub fn erased(&mut self, id: WorkflowId, answer: &Result<MarkedErased, EngineError>) -> Fine {
        let past = self.past();
        let case = self.cases.get(&id);
        let MarkedErased { may_arrive, .. } = match answer {
            Ok(marked) => marked,
            Err(error) => {
                return want(false, ERASED, id, || format!("an erasure is told {error:?}"));
            }
        };
        let Some(case) = case.filter(|case| !case.forgotten && !case.is_past(past)) else {
            return Ok(());
        };
        want(case.is_erased && case.ended.is_some(), ACKED, id, || {
            format!("erased, and the journal says {:?}", case.told)
        })?;
        for (number, attempt) in (1..).zip(&case.tries) {
            let is_out = matches!(attempt.state, TryState::Out { .. });
            let is_named = may_arrive.iter().any(|attempt| attempt.number == number);
            want(is_named || !is_out, CANCELS, id, || {
                format!("attempt {number} may be out, and the answer names {may_arrive:?}")
            })?;
        }
        self.acked_cancels.insert(id);
        Ok(())
    }

    /// Whether nobody can open its contents any more.
    pub fn is_destroyed(&self, id: WorkflowId) -> bool {
        self.cases.get(&id).is_some_and(|case| case.is_destroyed)
    }

    /// From now on nobody can.
    pub fn destroyed(&mut self, id: WorkflowId) {
        if let Some(case) = self.cases.get_mut(&id) {
            case.is_destroyed = true;
        }
    }

    /// Keys went by age: those of what ended so long ago, and no others.
    pub fn aged(&mut self, now: u64, kept_ms: u64) -> Fine {
        for (id, case) in &mut self.cases {
            if case.is_destroyed || case.forgotten {
                continue;
            }
            case.is_destroyed = self.contents.open(&case.record).is_err();
            let is_old = case.ended.is_some_and(|(at, ..)| at + kept_ms <= now);
            want(!case.is_destroyed || is_old, ERASED, *id, || {
                format!("its key is gone at {now}, and it ended {:?}", case.ended)
            })?;
        }
        Ok(())
    }

    /// A call leaves, which nothing may whose key was destroyed.
    pub(super) fn is_there_to_leave(&self, id: WorkflowId) -> Fine {
        want(!self.is_destroyed(id), ERASED, id, || "a call leaves".to_owned())
    }
}

/// Whether a fact may be kept of what was erased: that an answer came, and nothing of what it said.
pub(super) fn may_be_kept(fact: &Fact) -> bool {
    match fact {
        Fact::LateSendResult { provider_ids, .. } => {
            provider_ids.as_ref().is_none_or(Vec::is_empty)
        }
        _ => false,
    }
}
