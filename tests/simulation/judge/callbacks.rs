//! What callers are told of: each status that a message of theirs reaches, once and upwards, that it failed unless it
//! was there already, and how it all ended.

use std::collections::{BTreeMap, BTreeSet};

use dispatch::{
    callbacks::Subject,
    machine::{Fact, Reason, WorkflowId},
    store::ApiDialect,
};
use dispatch_contract::Status;

use super::{CALLBACKS, Case, Fine, Judge, want};

/// The callbacks of one workflow, by the number of their fact.
pub(super) type Made = BTreeMap<u32, Subject>;

/// How far a caller was told that a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rung {
    #[default]
    Nothing,
    Submitted,
    Failed,
    Delivered,
    Read,
}

/// What a fact means to whoever asked for the workflow.
enum Means {
    /// A message of this step is so far.
    Reached(u8, Rung),
    /// Perhaps that this step's message failed: perhaps another attempt may still get there. Whether the step has
    /// failed with it.
    Failed(u8, bool),
    TheEnd,
    Nothing,
}

impl Judge {
    /// Whoever makes callbacks has just looked. `anew` if that was for the first time in its life.
    ///
    /// `made` tells the callbacks of a workflow. What is past retention by now may have been gone when it looked.
    pub fn followed(
        &mut self,
        anew: bool,
        mut made: impl FnMut(WorkflowId) -> BTreeMap<u32, Subject>,
    ) -> Fine {
        let from = if anew { 0 } else { self.followed_to };
        self.followed_to = self.journal.len();
        let looked_at: BTreeSet<_> = self.journal[from..].iter().map(|row| row.workflow).collect();
        let past = self.past();
        for id in looked_at {
            let Some(case) = self.cases.get(&id).filter(|case| !case.forgotten) else { continue };
            case.is_told(id, &made(id), past)?;
        }
        Ok(())
    }
}

impl Case {
    fn is_told(&self, id: WorkflowId, made: &Made, past: u64) -> Fine {
        let mut told = vec![Rung::Nothing; self.steps.len()];
        // Whether it is not known if a failure was told.
        let mut is_unsure = vec![false; self.steps.len()];
        for (number, (at, fact)) in (1..).zip(&self.told) {
            // Where to, its contents say.
            let is_lost = self.is_erased || self.is_destroyed;
            let may_be_gone = is_lost || at.engine.0 < past || self.is_past(past);
            let subject = made.get(&number).copied();
            let is_made = subject.is_some();
            let (must, may) = match self.means(fact) {
                _ if self.record.requester.application.is_none() => (false, false),
                Means::Nothing => (false, false),
                Means::TheEnd => (self.wants_report(), self.wants_report()),
                Means::Reached(step, rung) => {
                    let step = usize::from(step);
                    let (before, unsure) = (told[step], is_unsure[step]);
                    told[step] = before.max(rung);
                    (rung > before && !(unsure && rung < Rung::Failed), rung > before)
                }
                Means::Failed(step, is_over) => {
                    let step = usize::from(step);
                    let may = told[step] < Rung::Failed;
                    if may && is_made {
                        told[step] = Rung::Failed;
                    }
                    is_unsure[step] |= may && !is_made && may_be_gone;
                    (may && is_over && !is_unsure[step], may)
                }
            };
            let is_right = if is_made { may } else { !must || may_be_gone };
            want(is_right, CALLBACKS, id, || {
                format!(
                    "fact {number} {}: {fact:?}",
                    if is_made { "is told" } else { "is not told" }
                )
            })?;
            let right =
                if matches!(fact, Fact::Ended(_)) { Subject::Report } else { Subject::Status };
            want(subject.is_none_or(|is| is == right), CALLBACKS, id, || {
                format!("fact {number} is told as {subject:?}: {fact:?}")
            })?;
        }
        let most = self.told.len() as u32;
        want(made.keys().all(|number| *number <= most), CALLBACKS, id, || {
            format!("there are {most} facts, and told are {made:?}")
        })
    }

    fn wants_report(&self) -> bool {
        !matches!(self.record.requester.dialect, ApiDialect::MessagesV1 | ApiDialect::MessagesV01)
    }

    fn means(&self, fact: &Fact) -> Means {
        let step = |attempt: u16| self.at(attempt).map(|of| of.step);
        let reached = |attempt, rung| step(attempt).map(|step| Means::Reached(step, rung));
        let failed = |attempt| step(attempt).map(|step| Means::Failed(step, false));
        let means = match fact {
            Fact::AttemptAccepted { attempt, .. }
            | Fact::LateSendResult { attempt, provider_ids: Some(_), .. } => {
                reached(*attempt, Rung::Submitted)
            }
            Fact::StatusReached { attempt, status, .. }
            | Fact::LateStatus { attempt, status, .. } => reached(*attempt, rung(*status)),
            Fact::StatusFailed { attempt, .. }
            | Fact::LateFailure { attempt, .. }
            | Fact::AttemptRejected { attempt, .. }
            | Fact::LateSendResult { attempt, provider_ids: None, unknown: false } => {
                failed(*attempt)
            }
            // Of an outcome that nobody knows nobody is told.
            Fact::StepFailed { step, reason, .. } => {
                (*reason != Reason::OutcomeUnknown).then_some(Means::Failed(*step, true))
            }
            Fact::Ended(_) => Some(Means::TheEnd),
            _ => None,
        };
        means.unwrap_or(Means::Nothing)
    }
}

fn rung(status: Status) -> Rung {
    match status {
        Status::Pending => Rung::Nothing,
        Status::Submitted => Rung::Submitted,
        Status::Delivered => Rung::Delivered,
        Status::Read | Status::Replied => Rung::Read,
    }
}
