//! What may happen next, and what it does.

use std::sync::Arc;

use dispatch::machine::{Attempt, CallFailure, Event, RecallResult, SendResult, Update};
use dispatch_contract::{ErrorKind, Failure, Fault, Report, Status, UnixMillis};
use stateright::{Model, Property};

use super::{
    property::properties,
    setting::{START, Setting, settings},
    world::{Recall, World},
};

/// Workflows of so many steps, with every policy.
pub struct Workflows {
    pub steps: usize,
    pub settings: Vec<Arc<Setting>>,
    /// What a call may be refused with, and what a receipt may say.
    pub rejections: &'static [Reply],
    pub reports: &'static [Report],
    /// How often the service dies in one life of a workflow.
    pub deaths: u8,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time runs to the next moment at which anything depends on it.
    TimePasses,
    /// The engine wakes the workflow.
    Wake { hold: bool },
    /// The route has a place.
    Slot(u16),
    /// The provider takes the call that is out; nobody here knows.
    Lands(u16),
    /// The provider takes a call whose outcome had been given up.
    LandsLate { attempt: u16, is_honoured: bool },
    /// The call comes back.
    SendResult(u16, Reply),
    /// The provider tells.
    Receipt(u16, Report),
    /// The provider answers a recall.
    RecallResult(u16, RecallAnswer),
    /// The caller cancels.
    Cancel,
    /// What is personal of it is erased.
    Erase,
    /// The service dies, and starts again.
    Death,
}

/// What a call comes back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Accepted,
    Refused(ErrorKind, Fault),
    Deferred { fault: Fault, after_ms: Option<u64> },
    Unknown,
}

/// What a recall comes back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecallAnswer {
    Recalled,
    TooLate(Option<Status>),
    Failed,
}

pub const RECALL_ANSWERS: [RecallAnswer; 5] = [
    RecallAnswer::Recalled,
    RecallAnswer::TooLate(None),
    RecallAnswer::TooLate(Some(Status::Delivered)),
    RecallAnswer::TooLate(Some(Status::Read)),
    RecallAnswer::Failed,
];

const REFUSALS: [Reply; 7] = [
    Reply::Refused(ErrorKind::ProviderFailure, Fault::Provider),
    Reply::Refused(ErrorKind::InvalidRecipient, Fault::Recipient),
    Reply::Deferred { fault: Fault::Provider, after_ms: None },
    Reply::Refused(ErrorKind::OptedOut, Fault::Recipient),
    Reply::Refused(ErrorKind::ContentRejected, Fault::Content),
    Reply::Refused(ErrorKind::Unauthorized, Fault::Account),
    // Longer than the provider honours our id, and inside the time for sending.
    Reply::Deferred { fault: Fault::Recipient, after_ms: Some(3) },
];

const REPORTS: [Report; 5] = [
    Report::Reached(Status::Delivered),
    Report::Reached(Status::Read),
    Report::Failed(Failure::Undeliverable),
    Report::Reached(Status::Submitted),
    Report::Failed(Failure::Rejected),
];

impl Workflows {
    pub fn of(steps: usize) -> Workflows {
        let settings = settings(steps).into_iter().map(Arc::new).collect();
        let (rejections, reports) = match steps {
            1 => (&REFUSALS[..], &REPORTS[..]),
            // One of each that leads to a state of its own; the reasons differ, and were seen.
            _ => (&REFUSALS[..3], &REPORTS[..3]),
        };
        Workflows { steps, settings, rejections, reports, deaths: 1 }
    }
}

impl Model for Workflows {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let setting = |setting: &Arc<Setting>| World::new(Arc::clone(setting), self.deaths);
        self.settings.iter().map(setting).collect()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let is_open = !world.workflow.has_ended();
        if is_open {
            actions.push(Action::Cancel);
            let is_due = world.deadline().is_some_and(|deadline| deadline.at <= world.now);
            if is_due {
                actions.push(Action::Wake { hold: false });
                if world.is_recovered {
                    actions.push(Action::Wake { hold: true });
                }
            }
            if (!is_due || world.delays > 0) && world.next_moment().is_some() {
                actions.push(Action::TimePasses);
            }
            actions.extend(world.workflow.wants_permit().map(Action::Slot));
        }
        // Of several steps an end is told apart by little else.
        if !world.workflow.is_erased && (is_open || self.steps == 1) {
            actions.push(Action::Erase);
        }
        for (number, sent) in (1..).zip(&world.sent) {
            if let Some(call) = sent.out {
                actions.push(Action::SendResult(number, Reply::Unknown));
                if call.has_landed {
                    actions.push(Action::SendResult(number, Reply::Accepted));
                } else {
                    actions.push(Action::Lands(number));
                    let rejections = self.rejections.iter();
                    actions.extend(rejections.map(|reply| Action::SendResult(number, *reply)));
                }
            }
            if is_open && let Recall::Asked { is_out: true, .. } = sent.recall {
                actions.extend(RECALL_ANSWERS.map(|answer| Action::RecallResult(number, answer)));
            }
            if is_open {
                let astray = [true, false].into_iter().zip(sent.astray);
                let astray = astray.filter(|(_, count)| *count > 0);
                actions.extend(
                    astray
                        .map(|(is_honoured, _)| Action::LandsLate { attempt: number, is_honoured }),
                );
            }
            if sent.messages > 0 && (is_open || world.late_receipts > 0) {
                let attempt = &world.workflow.attempts[usize::from(number) - 1];
                let told = self.reports.iter().filter(|report| is_news(attempt, **report));
                actions.extend(told.map(|report| Action::Receipt(number, *report)));
            }
        }
        let is_out = world.sent.iter().any(|sent| sent.out.is_some());
        if if is_open { world.deaths > 0 } else { is_out } {
            actions.push(Action::Death);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        let has_happened = match action {
            Action::TimePasses => {
                let is_due = world.deadline().is_some_and(|due| due.at <= world.now);
                world.delays -= u8::from(is_due);
                world.now = world.next_moment()?;
                true
            }
            Action::Wake { hold } => {
                // Where it holds, all that is due came due while the service was down.
                let up_since = if hold { UnixMillis(world.now.0 + 1) } else { START };
                world.tell(Event::Wake { up_since, hold })
            }
            Action::Slot(attempt) => world.tell(Event::PermitGranted { attempt }),
            Action::Lands(attempt) => {
                let number = usize::from(attempt) - 1;
                let call = world.sent[number].out.as_mut()?;
                call.has_landed = true;
                let is_honoured = call.is_honoured;
                world.land(number, is_honoured);
                true
            }
            Action::LandsLate { attempt, is_honoured } => {
                let number = usize::from(attempt) - 1;
                world.sent[number].astray[usize::from(!is_honoured)] -= 1;
                world.land(number, is_honoured);
                true
            }
            Action::SendResult(attempt, reply) => {
                let call = world.sent[usize::from(attempt) - 1].out?.number;
                match reply {
                    Reply::Unknown => {
                        let is_single = world.workflow.steps.len() == 1;
                        world.sent[usize::from(attempt) - 1].lose(is_single);
                    }
                    Reply::Accepted => {
                        world.note_told(attempt, Status::Submitted);
                        world.sent[usize::from(attempt) - 1].out = None;
                    }
                    Reply::Refused(..) | Reply::Deferred { .. } => {
                        world.sent[usize::from(attempt) - 1].out = None;
                    }
                }
                world.tell(Event::SendResult { attempt, call, result: reply.into() });
                if reply == Reply::Accepted {
                    world.judge_answer(&last.workflow, attempt);
                }
                true
            }
            Action::Receipt(attempt, report) => {
                if last.workflow.has_ended() {
                    world.late_receipts -= 1;
                }
                world.note_told(
                    attempt,
                    match report {
                        Report::Reached(status) => status,
                        Report::Failed(_) => Status::Submitted,
                    },
                );
                world.tell(Event::Update { attempt, update: update(report), up_since: START })
            }
            Action::RecallResult(attempt, answer) => {
                if let RecallAnswer::TooLate(Some(status)) = answer {
                    world.note_told(attempt, status);
                }
                world.sent[usize::from(attempt) - 1].is_answered();
                let result = answer.into();
                world.tell(Event::RecallResult { attempt, result, up_since: START });
                true
            }
            Action::Cancel => world.tell(Event::Cancel),
            Action::Erase => world.tell(erase()),
            Action::Death => {
                world.die();
                true
            }
        };
        has_happened.then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties(self.steps)
    }
}

/// Whether a receipt may say something new. What says nothing new is told in
/// [`World::is_deaf_to_the_past`].
fn is_news(attempt: &Attempt, report: Report) -> bool {
    match report {
        // What a channel does not declare it does not tell.
        Report::Reached(Status::Submitted) => attempt.status < Status::Submitted,
        Report::Reached(status) => attempt.properties.reports_delivered && attempt.status < status,
        Report::Failed(_) => attempt.failure.is_none(),
    }
}

/// An answer that tells success and one that tells nothing.
pub fn some_answers() -> impl Iterator<Item = SendResult> {
    [Reply::Accepted, Reply::Unknown].into_iter().map(SendResult::from)
}

/// An erasure; which one decides nothing.
pub fn erase() -> Event {
    Event::Erase { erasure: uuid::Uuid::nil() }
}

/// A receipt that says no more than this.
pub fn update(report: Report) -> Update {
    Update {
        report,
        provider_id: None,
        part: None,
        provider_time: None,
        code: None,
        detail: None,
        usage: None,
    }
}

fn failure(kind: ErrorKind, fault: Fault) -> CallFailure {
    CallFailure { kind, fault, code: None, detail: String::new(), cause: None }
}

impl From<RecallAnswer> for RecallResult {
    fn from(answer: RecallAnswer) -> RecallResult {
        match answer {
            RecallAnswer::Recalled => RecallResult::Recalled,
            RecallAnswer::TooLate(reached) => RecallResult::TooLate(reached),
            RecallAnswer::Failed => {
                RecallResult::Failed(failure(ErrorKind::Timeout, Fault::Provider))
            }
        }
    }
}

impl From<Reply> for SendResult {
    fn from(reply: Reply) -> SendResult {
        match reply {
            Reply::Accepted => SendResult::Accepted { provider_ids: vec!["p".to_owned()] },
            Reply::Refused(kind, fault) => SendResult::Rejected(failure(kind, fault)),
            Reply::Deferred { fault, after_ms } => {
                SendResult::RetryLater { failure: failure(ErrorKind::Throttled, fault), after_ms }
            }
            Reply::Unknown => SendResult::Unknown(failure(ErrorKind::Timeout, Fault::Provider)),
        }
    }
}
