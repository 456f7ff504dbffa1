//! What stateright checks, by name.

use dispatch::machine::{Phase, Reason};
use dispatch_contract::Status;
use stateright::Property;

use super::{
    model::Workflows,
    promise::{PROMISES, Promise},
    world::{Recall, Sent, World},
};

/// What must hold in every state, what every path must come to, and what must be seen at least once:
/// a model in which nothing happens would keep every promise.
pub fn properties(steps: usize) -> Vec<Property<Workflows>> {
    macro_rules! kept {
            ($($promise:ident)*) => {
                vec![$(Property::always(PROMISES[Promise::$promise as usize].1, |_, world: &World| {
                    !world.broken.has(Promise::$promise)
                })),*]
            };
        }
    macro_rules! ends {
            ($($reason:ident)*) => {
                vec![$(Property::sometimes(Reason::$reason.as_str(), |_, world: &World| {
                    matches!(world.workflow.phase, Phase::Ended(_, Reason::$reason))
                })),*]
            };
        }
    let mut properties = kept! {
        M1 M2 M3 M4 M5 M6 M7 M8 M9 M10 M11
        NoStartAfterTheEnd OnlyTheRunningStepSends NoStartAfterValidUntil OneIdOneMessage DoublesAreCounted StepsInOrder
        EndIsFinal ReplayIsTheState NeverEarly ClockNeverRestarts SuccessIsTold SuccessIsKept
        AskedBackOnce AskedBackInTime NextWaitsForTheRecall AnswerIsKept NothingKeptOfTheErased
    };
    properties
        .push(Property::always("a stale or repeated event changes nothing", |_, world: &World| {
            world.is_deaf_to_the_past()
        }));
    // Exact here, because an end is final: a state without a successor says itself whether it is
    // one.
    properties.push(Property::eventually("every path ends in an end", |_, world: &World| {
        world.workflow.has_ended()
    }));
    properties.extend(ends! {
        ConditionMet Rejected Undeliverable Expired RetriesExhausted OutcomeUnknown NoRoute
        NoReceipts DeadlineExceeded Canceled NotSentInTime NoConfirmation RouteSaturated
    });
    properties.extend([
        Property::sometimes("a counted double really was one", |_, world: &World| {
            world.sent.iter().map(|sent| sent.messages).sum::<u8>() == 2
                && world.workflow.attempts.iter().any(|attempt| attempt.possible_duplicate)
        }),
        Property::sometimes("a receipt came before the answer", |_, world: &World| {
            let mut attempts = world.sent.iter().zip(&world.workflow.attempts);
            attempts.any(|(sent, attempt)| sent.out.is_some() && attempt.status > Status::Pending)
        }),
        Property::sometimes("a call came back of what was erased", |_, world: &World| {
            world.workflow.is_erased && world.sent.iter().any(|sent| sent.out.is_some())
        }),
        Property::sometimes("a workflow ended with a call out", |_, world: &World| {
            world.workflow.has_ended() && world.sent.iter().any(|sent| sent.out.is_some())
        }),
    ]);
    if steps == 1 {
        properties.extend(ends!(OptedOut));
    } else {
        properties.extend(ends!(LateConditionMet));
        properties.extend(recalls());
        properties.push(Property::sometimes("two calls are out at once", |_, world: &World| {
            world.sent.iter().filter(|sent| sent.out.is_some()).count() == 2
        }));
    }
    properties
}

/// What a recall may come to. What was answered leaves the same state whatever it was, unless it told success.
fn recalls() -> Vec<Property<Workflows>> {
    vec![
        Property::sometimes(
            "a recall was answered, and the next step started",
            |_, world: &World| {
                let is_over = |sent: &Sent| sent.recall == Recall::Over;
                world.workflow.active_step() == Some(1) && world.sent.iter().any(is_over)
            },
        ),
        Property::sometimes("nobody answered a recall in its time", |_, world: &World| {
            let is_due = |sent: &Sent| sent.asked_until().is_some_and(|until| until <= world.now);
            world.sent.iter().any(is_due)
        }),
        Property::sometimes("two messages were asked back at once", |_, world: &World| {
            world.sent.iter().filter(|sent| sent.asked_until().is_some()).count() == 2
        }),
        Property::sometimes("a recall told success", |_, world: &World| {
            let has_met = matches!(world.workflow.phase, Phase::Ended(_, Reason::ConditionMet));
            has_met && world.sent.len() == 1 && world.sent[0].recall == Recall::Over
        }),
        Property::sometimes(
            "the service died while a message was asked back",
            |_, world: &World| {
                let is_lost =
                    |sent: &Sent| matches!(sent.recall, Recall::Asked { is_out: false, .. });
                world.sent.iter().any(is_lost)
            },
        ),
    ]
}
