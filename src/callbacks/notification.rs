//! What the facts of a workflow mean to whoever asked for it: one notification for each status that a
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
    store::{Record, RequirementInterner, Row},
};

/// One thing to notify an application of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notification {
    /// The number of its fact in the workflow.
    pub(super) sequence: u32,
    /// When it happened: by the provider's clock, where the provider says so.
    pub(super) at: UnixMillis,
    pub(super) kind: NotificationKind,
}

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotificationKind {
    /// A message reached a status.
    Status {
        /// The message's step, counted from 0.
        step: u8,
        status: MessageStatus,
        /// What the provider charges.
        usage: Option<Usage>,
    },
    /// The workflow ended.
    Report {
        /// How it ended.
        outcome: Outcome,
        /// Each message that went out, or may have.
        messages: Vec<MessageSummary>,
        /// What they cost together, if that can be said.
        usage: Option<Usage>,
    },
}

/// A message in the final report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageSummary {
    /// Its step, counted from 0.
    pub(super) step: u8,
    /// The last status that was reported.
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
    Rejected(MessageFailure),
    Undeliverable(MessageFailure),
}

/// Why a message failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageFailure {
    pub(super) reason: Reason,
    /// The provider's own code.
    pub(super) code: Option<String>,
    /// One sentence.
    pub(super) detail: String,
}

/// What is reported of one message so far.
#[derive(Clone, Debug, Default)]
struct MessageProgress {
    /// The status that was reported last.
    reported: Option<MessageStatus>,
    /// What each attempt costs, or each part of its message, by their numbers: a provider may report a price
    /// twice.
    usage: Vec<((u16, u16), Usage)>,
}

/// The notifications that a workflow's timeline means, in order.
pub(super) fn notifications<'a>(
    record: &Record,
    rows: impl IntoIterator<Item = &'a Row>,
) -> Vec<Notification> {
    let mut projector = Projector {
        workflow: RequirementInterner::default().workflow(record),
        messages: vec![MessageProgress::default(); record.plan.steps.len()],
        notifications: Vec::new(),
    };
    for row in rows {
        for (sequence, fact) in row.numbered() {
            projector.workflow.apply(row.at, fact);
            projector.fact(sequence, row.at.wall, fact);
        }
    }
    projector.notifications
}

/// Follows a timeline, and collects what it means.
struct Projector {
    workflow: Workflow,
    messages: Vec<MessageProgress>,
    notifications: Vec<Notification>,
}

impl Projector {
    /// Projects a fact that was just applied to the workflow.
    fn fact(&mut self, sequence: u32, at: UnixMillis, fact: &Fact) {
        let step = fact.step().or_else(|| {
            let attempt = self.workflow.attempt(fact.attempt()?)?;
            Some(attempt.step)
        });
        match fact {
            Fact::AttemptAccepted { .. } | Fact::LateSendResult { provider_ids: Some(_), .. } => {
                self.advance(sequence, at, step, Status::Submitted, None);
            }
            Fact::StatusReached { attempt, status, provider_time, usage }
            | Fact::LateStatus { attempt, status, provider_time, usage, .. } => {
                self.charged(step, (*attempt, 0), usage.as_ref());
                let at = provider_time.unwrap_or(at);
                self.advance(sequence, at, step, *status, usage.clone());
            }
            Fact::StatusFailed { attempt, failure, code, detail, provider_time, usage }
            | Fact::LateFailure { attempt, failure, code, detail, provider_time, usage } => {
                self.charged(step, (*attempt, 0), usage.as_ref());
                let status = failed_status(*failure, code.clone(), detail.clone());
                let at = provider_time.unwrap_or(at);
                self.fail_unless_alive(sequence, at, step, status, usage.clone());
            }
            Fact::AttemptRejected { failure, .. } => {
                // While its step is active another route may take it; else nobody will.
                if self.workflow.active_step() != step {
                    let (code, detail) = (failure.code.clone(), Some(failure.detail.clone()));
                    let status = failed_status(Failure::Rejected, code, detail);
                    self.fail_unless_alive(sequence, at, step, status, None);
                }
            }
            Fact::LateSendResult { provider_ids: None, unknown: false, .. } => {
                let status = failed_status(Failure::Rejected, None, None);
                self.fail_unless_alive(sequence, at, step, status, None);
            }
            Fact::StepFailed { reason, code, detail, .. } => {
                let (code, detail) = (code.clone(), detail.clone());
                let failure = MessageFailure { reason: *reason, code, detail };
                if let Some(status) = failed_step_status(*reason, failure) {
                    self.fail(sequence, at, step, status, None);
                }
            }
            Fact::Ended(outcome) => self.ended(sequence, at, outcome.clone()),
            Fact::PartReached { attempt, part, usage, .. } => {
                self.charged(step, (*attempt, *part), usage.as_ref());
            }
            Fact::LateSendResult { provider_ids: None, unknown: true, .. }
            | Fact::Created
            | Fact::StepStarted { .. }
            | Fact::AttemptPlanned { .. }
            | Fact::AttemptStarted { .. }
            | Fact::AttemptRetryScheduled { .. }
            | Fact::AttemptUnknown { .. }
            | Fact::AttemptRepeated { .. }
            | Fact::AttemptDue { .. }
            | Fact::StepMet { .. }
            | Fact::StepExpired { .. }
            | Fact::StepSkipped { .. }
            | Fact::StepCanceled { .. }
            | Fact::LateSuccess { .. }
            | Fact::RecallStarted { .. }
            | Fact::RecallEnded { .. }
            | Fact::ContentsErased { .. } => {}
        }
    }

    fn advance(
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
        if message.reported.as_ref().is_none_or(|reported| reported.yields_to(&status)) {
            message.reported = Some(status.clone());
            self.notify(sequence, at, NotificationKind::Status { step, status, usage });
        }
    }

    fn fail_unless_alive(
        &mut self,
        sequence: u32,
        at: UnixMillis,
        step: Option<u8>,
        status: MessageStatus,
        usage: Option<Usage>,
    ) {
        if step.is_some_and(|step| !self.is_alive(step)) {
            self.fail(sequence, at, step, status, usage);
        }
    }

    fn fail(
        &mut self,
        sequence: u32,
        at: UnixMillis,
        step: Option<u8>,
        status: MessageStatus,
        usage: Option<Usage>,
    ) {
        let Some((step, message)) = self.message(step) else { return };
        if message.reported.as_ref().is_none_or(|reported| *reported == MessageStatus::Submitted) {
            message.reported = Some(status.clone());
            self.notify(sequence, at, NotificationKind::Status { step, status, usage });
        }
    }

    /// Whether another attempt of the message may still get there.
    fn is_alive(&self, step: u8) -> bool {
        self.workflow.attempts_of(step).any(|(_, attempt)| match attempt.state {
            AttemptState::Rejected => false,
            AttemptState::Accepted | AttemptState::Recalling { .. } => attempt.failure.is_none(),
            // One that waits for its next call is given up with its step.
            AttemptState::Planned | AttemptState::RetryScheduled { .. } => {
                self.workflow.active_step() == Some(step)
            }
            AttemptState::Started | AttemptState::Unknown { .. } => true,
        })
    }

    /// `of` is the attempt, and the part of its message, or 0.
    fn charged(&mut self, step: Option<u8>, of: (u16, u16), usage: Option<&Usage>) {
        if let (Some((_, message)), Some(usage)) = (self.message(step), usage) {
            message.usage.retain(|(number, _)| *number != of);
            message.usage.push((of, usage.clone()));
        }
    }

    fn ended(&mut self, sequence: u32, at: UnixMillis, outcome: Outcome) {
        let messages: Vec<_> = (0_u8..)
            .zip(&self.messages)
            .filter_map(|(step, message)| {
                let may_be_out = self.workflow.attempts_of(step).any(|(_, it)| may_be_out(it));
                // No more is known of it than that.
                let usual = may_be_out.then_some(MessageStatus::Submitted);
                let status = message.reported.clone().or(usual)?;
                Some(MessageSummary { step, status, usage: usage::sum(message.prices()) })
            })
            .collect();
        let usage = usage::sum(self.messages.iter().flat_map(MessageProgress::prices));
        self.notify(sequence, at, NotificationKind::Report { outcome, messages, usage });
    }

    fn message(&mut self, step: Option<u8>) -> Option<(u8, &mut MessageProgress)> {
        let step = step?;
        Some((step, self.messages.get_mut(usize::from(step))?))
    }

    fn notify(&mut self, sequence: u32, at: UnixMillis, kind: NotificationKind) {
        self.notifications.push(Notification { sequence, at, kind });
    }
}

impl MessageProgress {
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

    /// Why the message failed, if it did.
    pub(super) fn failure(&self) -> Option<&MessageFailure> {
        match self {
            MessageStatus::Rejected(failure) | MessageStatus::Undeliverable(failure) => {
                Some(failure)
            }
            MessageStatus::Submitted | MessageStatus::Delivered | MessageStatus::Read => None,
        }
    }

    /// Whether `later` says more. A failure yields to a delivery: providers do report so.
    fn yields_to(&self, later: &MessageStatus) -> bool {
        let order = |status: &MessageStatus| match status {
            MessageStatus::Submitted => 0,
            MessageStatus::Rejected(_) | MessageStatus::Undeliverable(_) => 1,
            MessageStatus::Delivered => 2,
            MessageStatus::Read => 3,
        };
        order(self) < order(later)
    }
}

/// Whether a provider has, or may have, the message of this attempt.
fn may_be_out(attempt: &Attempt) -> bool {
    match attempt.state {
        AttemptState::Started
        | AttemptState::Accepted
        | AttemptState::Recalling { .. }
        | AttemptState::Unknown { .. } => true,
        // An earlier call of it may be.
        AttemptState::Planned | AttemptState::RetryScheduled { .. } | AttemptState::Rejected => {
            attempt.is_uncertain
        }
    }
}

fn failed_status(failure: Failure, code: Option<String>, detail: Option<String>) -> MessageStatus {
    let (reason, usual) = match failure {
        Failure::Rejected => (Reason::Rejected, "the provider refused the message"),
        Failure::Undeliverable => (Reason::Undeliverable, "the provider could not deliver it"),
    };
    let detail = detail.unwrap_or_else(|| usual.to_owned());
    let message_failure = MessageFailure { reason, code, detail };
    match failure {
        Failure::Rejected => MessageStatus::Rejected(message_failure),
        Failure::Undeliverable => MessageStatus::Undeliverable(message_failure),
    }
}

/// What a step's failure means for its message; nothing where the message may have gone out.
fn failed_step_status(reason: Reason, failure: MessageFailure) -> Option<MessageStatus> {
    match reason {
        Reason::Rejected
        | Reason::OptedOut
        | Reason::NoRoute
        | Reason::DeadlineExceeded
        | Reason::Canceled => Some(MessageStatus::Rejected(failure)),
        Reason::Undeliverable
        | Reason::RetriesExhausted
        | Reason::NotSentInTime
        | Reason::RouteSaturated => Some(MessageStatus::Undeliverable(failure)),
        Reason::OutcomeUnknown
        | Reason::Expired
        | Reason::NoReceipts
        | Reason::NoConfirmation
        | Reason::ConditionMet
        | Reason::LateConditionMet => None,
    }
}
