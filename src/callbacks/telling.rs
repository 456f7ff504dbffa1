//! What the facts of a workflow mean to whoever asked for it: one telling for each status that a
//! message of it reaches, and one final report.
//!
//! Pure, and a function of the timeline's beginning alone: later rows never change what earlier ones
//! meant, so that a callback that is made again, or repeated a day later, says the same.
//!
//! A *message* is a step's: attempts by another route, or of an unknown outcome, are ours alone, and
//! no reader of callbacks hears of them.

use dispatch_contract::{Failure, Status, UnixMillis, Usage};

use super::usage;
use crate::{
    machine::{Attempt, AttemptState, Fact, Outcome, Reason, Workflow},
    store::{Needs, Record, Row},
};

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Telling {
    /// The fact that it tells: its number in the workflow.
    pub(super) sequence: u32,
    /// When it was so.
    pub(super) at: UnixMillis,
    /// What.
    pub(super) news: News,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A message got somewhere.
    Status {
        /// Whose: counted from 0.
        step: u8,
        /// Where.
        status: MessageStatus,
        /// What the provider charges.
        usage: Option<Usage>,
    },
    /// The workflow is over.
    Report {
        /// How it ended.
        outcome: Outcome,
        /// Each message that went out, or may have.
        messages: Vec<Reported>,
        /// What they cost together, if that can be said.
        usage: Option<Usage>,
    },
}

/// A message in the final report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reported {
    /// Whose: counted from 0.
    pub(super) step: u8,
    /// How far it got.
    pub(super) status: MessageStatus,
    /// What it cost, as far as is known.
    pub(super) usage: Option<Usage>,
}

/// A status in the words of the old API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MessageStatus {
    Submitted,
    Delivered,
    Read,
    Rejected(Trouble),
    Undeliverable(Trouble),
}

/// What was wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Our word for it.
    pub(super) reason: Reason,
    /// The provider's.
    pub(super) code: Option<String>,
    /// One sentence.
    pub(super) detail: String,
}

/// How far a message is, as it was told.
#[derive(Clone, Debug, Default)]
struct Message {
    /// What was told last.
    told: Option<MessageStatus>,
    /// What each attempt costs, by its number: a provider may tell a price twice.
    usage: Vec<(u16, Usage)>,
}

/// All that there is to tell of a workflow, in order.
pub(super) fn tellings<'a>(
    record: &Record,
    rows: impl IntoIterator<Item = &'a Row>,
) -> Vec<Telling> {
    let mut teller = Teller {
        workflow: Needs::default().workflow(record),
        messages: vec![Message::default(); record.plan.steps.len()],
        tellings: Vec::new(),
    };
    for row in rows {
        for (sequence, fact) in row.numbered() {
            teller.workflow.apply(row.at, fact);
            teller.fact(sequence, row.at.wall, fact);
        }
    }
    teller.tellings
}

struct Teller {
    workflow: Workflow,
    messages: Vec<Message>,
    tellings: Vec<Telling>,
}

impl Teller {
    /// Tells a fact that was just applied.
    fn fact(&mut self, sequence: u32, at: UnixMillis, fact: &Fact) {
        let step = fact.step().or_else(|| {
            let attempt = self.workflow.attempt(fact.attempt()?)?;
            Some(attempt.step)
        });
        match fact {
            Fact::AttemptAccepted { .. } | Fact::LateAnswer { provider_id: Some(_), .. } => {
                self.climbed(sequence, at, step, Status::Submitted, None);
            }
            Fact::StatusReached { attempt, status, provider_time, usage }
            | Fact::LateStatus { attempt, status, provider_time, usage, .. } => {
                self.charged(step, *attempt, usage.as_ref());
                let at = provider_time.unwrap_or(at);
                self.climbed(sequence, at, step, *status, usage.clone());
            }
            Fact::StatusFailed { attempt, failure, code, detail, provider_time, usage }
            | Fact::LateFailure { attempt, failure, code, detail, provider_time, usage } => {
                self.charged(step, *attempt, usage.as_ref());
                let trouble = trouble(*failure, code.clone(), detail.clone());
                let at = provider_time.unwrap_or(at);
                self.failed(sequence, at, step, told(*failure, trouble), usage.clone());
            }
            Fact::AttemptRefused { refusal, .. } => {
                // While its step is active another route may take it; else nobody will.
                if self.workflow.active_step() != step {
                    let (code, detail) = (refusal.code.clone(), Some(refusal.detail.clone()));
                    let trouble = trouble(Failure::Rejected, code, detail);
                    self.failed(sequence, at, step, MessageStatus::Rejected(trouble), None);
                }
            }
            Fact::LateAnswer { provider_id: None, unknown: false, .. } => {
                let trouble = trouble(Failure::Rejected, None, None);
                self.failed(sequence, at, step, MessageStatus::Rejected(trouble), None);
            }
            Fact::StepFailed { reason, code, detail, .. } => {
                let (code, detail) = (code.clone(), detail.clone());
                let trouble = Trouble { reason: *reason, code, detail };
                if let Some(status) = given_up(*reason, trouble) {
                    self.gave_up(sequence, at, step, status, None);
                }
            }
            Fact::Ended(outcome) => self.ended(sequence, at, outcome.clone()),
            Fact::LateAnswer { provider_id: None, unknown: true, .. }
            | Fact::Created
            | Fact::StepStarted { .. }
            | Fact::AttemptPlanned { .. }
            | Fact::AttemptStarted { .. }
            | Fact::AttemptDeferred { .. }
            | Fact::AttemptUnknown { .. }
            | Fact::AttemptRepeated { .. }
            | Fact::AttemptDue { .. }
            | Fact::StepMet { .. }
            | Fact::StepExpired { .. }
            | Fact::StepSkipped { .. }
            | Fact::StepCanceled { .. }
            | Fact::LateSuccess { .. } => {}
        }
    }

    fn climbed(
        &mut self,
        sequence: u32,
        at: UnixMillis,
        step: Option<u8>,
        reached: Status,
        usage: Option<Usage>,
    ) {
        let Some((step, message)) = self.message(step) else { return };
        let status = match reached {
            Status::Pending => return,
            Status::Submitted => MessageStatus::Submitted,
            Status::Delivered => MessageStatus::Delivered,
            // The old API has no word for an answer; who answered has read it.
            Status::Read | Status::Replied => MessageStatus::Read,
        };
        if message.told.as_ref().is_none_or(|told| told.yields_to(&status)) {
            message.told = Some(status.clone());
            self.tell(sequence, at, News::Status { step, status, usage });
        }
    }

    fn failed(
        &mut self,
        sequence: u32,
        at: UnixMillis,
        step: Option<u8>,
        status: MessageStatus,
        usage: Option<Usage>,
    ) {
        if step.is_some_and(|step| !self.is_alive(step)) {
            self.gave_up(sequence, at, step, status, usage);
        }
    }

    fn gave_up(
        &mut self,
        sequence: u32,
        at: UnixMillis,
        step: Option<u8>,
        status: MessageStatus,
        usage: Option<Usage>,
    ) {
        let Some((step, message)) = self.message(step) else { return };
        if message.told.as_ref().is_none_or(|told| *told == MessageStatus::Submitted) {
            message.told = Some(status.clone());
            self.tell(sequence, at, News::Status { step, status, usage });
        }
    }

    /// Whether another attempt of the message may still get there.
    fn is_alive(&self, step: u8) -> bool {
        self.workflow.attempts_of(step).any(|(_, attempt)| match attempt.state {
            AttemptState::Refused => false,
            AttemptState::Accepted => attempt.failure.is_none(),
            // One that waits for its next call is given up with its step.
            AttemptState::Planned | AttemptState::Deferred { .. } => {
                self.workflow.active_step() == Some(step)
            }
            AttemptState::Started | AttemptState::Unknown { .. } => true,
        })
    }

    fn charged(&mut self, step: Option<u8>, attempt: u16, usage: Option<&Usage>) {
        if let (Some((_, message)), Some(usage)) = (self.message(step), usage) {
            message.usage.retain(|(number, _)| *number != attempt);
            message.usage.push((attempt, usage.clone()));
        }
    }

    fn ended(&mut self, sequence: u32, at: UnixMillis, outcome: Outcome) {
        let messages: Vec<_> = (0_u8..)
            .zip(&self.messages)
            .filter_map(|(step, message)| {
                let may_be_out = self.workflow.attempts_of(step).any(|(_, it)| may_be_out(it));
                // No more is known of it than that.
                let usual = may_be_out.then_some(MessageStatus::Submitted);
                let status = message.told.clone().or(usual)?;
                Some(Reported { step, status, usage: usage::sum(message.prices()) })
            })
            .collect();
        let usage = usage::sum(self.messages.iter().flat_map(Message::prices));
        self.tell(sequence, at, News::Report { outcome, messages, usage });
    }

    fn message(&mut self, step: Option<u8>) -> Option<(u8, &mut Message)> {
        let step = step?;
        Some((step, self.messages.get_mut(usize::from(step))?))
    }

    fn tell(&mut self, sequence: u32, at: UnixMillis, news: News) {
        self.tellings.push(Telling { sequence, at, news });
    }
}

impl Message {
    fn prices(&self) -> impl Iterator<Item = &Usage> {
        self.usage.iter().map(|(_, usage)| usage)
    }
}

impl MessageStatus {
    /// Its name on the wire.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            MessageStatus::Submitted => "submitted",
            MessageStatus::Delivered => "delivered",
            MessageStatus::Read => "read",
            MessageStatus::Rejected(_) => "rejected",
            MessageStatus::Undeliverable(_) => "undeliverable",
        }
    }

    /// What was wrong, if something was.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        match self {
            MessageStatus::Rejected(trouble) | MessageStatus::Undeliverable(trouble) => {
                Some(trouble)
            }
            MessageStatus::Submitted | MessageStatus::Delivered | MessageStatus::Read => None,
        }
    }

    /// Whether `later` says more. A failure yields to a delivery: providers do report so.
    fn yields_to(&self, later: &MessageStatus) -> bool {
        let rung = |status: &MessageStatus| match status {
            MessageStatus::Submitted => 0,
            MessageStatus::Rejected(_) | MessageStatus::Undeliverable(_) => 1,
            MessageStatus::Delivered => 2,
            MessageStatus::Read => 3,
        };
        rung(self) < rung(later)
    }
}

/// Whether a provider has, or may have, the message of this attempt.
fn may_be_out(attempt: &Attempt) -> bool {
    match attempt.state {
        AttemptState::Started | AttemptState::Accepted | AttemptState::Unknown { .. } => true,
        // An earlier call of it may be.
        AttemptState::Planned | AttemptState::Deferred { .. } | AttemptState::Refused => {
            attempt.is_uncertain
        }
    }
}

fn told(failure: Failure, trouble: Trouble) -> MessageStatus {
    match failure {
        Failure::Rejected => MessageStatus::Rejected(trouble),
        Failure::Undeliverable => MessageStatus::Undeliverable(trouble),
    }
}

fn trouble(failure: Failure, code: Option<String>, detail: Option<String>) -> Trouble {
    let (reason, usual) = match failure {
        Failure::Rejected => (Reason::Rejected, "the provider refused the message"),
        Failure::Undeliverable => (Reason::Undeliverable, "the provider could not deliver it"),
    };
    Trouble { reason, code, detail: detail.unwrap_or_else(|| usual.to_owned()) }
}

/// What a step's failure means for its message; nothing where the message may have gone out.
fn given_up(reason: Reason, trouble: Trouble) -> Option<MessageStatus> {
    match reason {
        Reason::Rejected
        | Reason::OptedOut
        | Reason::NoRoute
        | Reason::DeadlineExceeded
        | Reason::Canceled => Some(MessageStatus::Rejected(trouble)),
        Reason::Undeliverable
        | Reason::RetriesExhausted
        | Reason::NotSentInTime
        | Reason::RouteSaturated => Some(MessageStatus::Undeliverable(trouble)),
        Reason::OutcomeUnknown
        | Reason::Expired
        | Reason::NoReceipts
        | Reason::NoConfirmation
        | Reason::ConditionMet
        | Reason::LateConditionMet => None,
    }
}
