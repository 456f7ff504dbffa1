//! What must always hold. The same predicates run in unit tests, in the simulator, in the model
//! checker, and (counted) in production.

use dispatch_contract::Status;

use super::{AttemptState, Phase, StepStatus, Workflow};

/// An invariant that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BrokenInvariant {
    /// Its id.
    pub id: &'static str,
    /// What should have held.
    pub rule: &'static str,
}

type Invariant = (&'static str, &'static str, fn(&Workflow) -> bool);

const INVARIANTS: &[Invariant] = &[
    ("M1", "exactly the running step is active", |w| {
        let active = |(_, step): &(usize, &super::Step)| step.status == StepStatus::Active;
        let found: Vec<_> = w.steps.iter().enumerate().filter(active).map(|(at, _)| at).collect();
        match w.phase {
            Phase::Running(step) => found == [usize::from(step)],
            Phase::Scheduled | Phase::Ended(..) => found.is_empty(),
        }
    }),
    ("M2", "no step waits behind the running one's back: earlier steps are decided", |w| {
        match w.phase {
            Phase::Running(step) => {
                w.steps.iter().take(usize::from(step)).all(|s| s.status != StepStatus::Waiting)
            }
            Phase::Scheduled => w.steps.iter().all(|s| s.status == StepStatus::Waiting),
            Phase::Ended(..) => w.steps.iter().all(|s| s.status != StepStatus::Waiting),
        }
    }),
    ("M3", "at most one attempt of a workflow waits for or holds a place on a route", |w| {
        let busy = |step: u8| {
            w.attempts_of(step)
                .filter(|(_, a)| match a.state {
                    AttemptState::Planned
                    | AttemptState::Started
                    | AttemptState::RetryScheduled { .. } => true,
                    AttemptState::Accepted
                    | AttemptState::Recalling { .. }
                    | AttemptState::Unknown { .. }
                    | AttemptState::Rejected => false,
                })
                .count()
        };
        w.active_step().is_none_or(|step| busy(step) <= 1)
    }),
    ("M4", "an attempt that was never STARTED has touched nothing", |w| {
        w.attempts.iter().all(|a| {
            // One that was refused before it started is one whose route was taken away.
            let is_untouched = matches!(a.state, AttemptState::Planned | AttemptState::Rejected);
            a.calls > 0 || (is_untouched && a.status == Status::Pending)
        })
    }),
    ("M5", "a step is sent at most twice after unknown outcomes", |w| {
        (0..w.steps.len()).all(|step| {
            let doubles =
                w.attempts.iter().filter(|a| usize::from(a.step) == step && a.possible_duplicate);
            doubles.count() <= 1
        })
    }),
    ("M6", "a running workflow has something to wait for", |w| {
        w.active_step().is_none_or(|step| {
            let is_out = w.attempts_of(step).any(|(_, a)| a.state == AttemptState::Started);
            is_out || w.wants_permit().is_some() || w.deadlines().any().is_some()
        })
    }),
    ("M7", "a met step ended the workflow, unless late success continues", |w| {
        let is_met = w.steps.iter().any(|step| step.status == StepStatus::Met);
        !is_met || w.has_ended() || w.on_late_success == super::OnLateSuccess::Continue
    }),
    ("M8", "a step's status is the highest of its attempts'", |w| {
        (0u8..).zip(&w.steps).all(|(index, step)| {
            let highest = w.attempts_of(index).map(|(_, a)| a.status).max();
            step.reached == highest.unwrap_or(Status::Pending)
        })
    }),
    ("M9", "a condition clock runs exactly if an attempt was accepted or is unknown", |w| {
        (0u8..).zip(&w.steps).all(|(index, step)| {
            let is_out = w.attempts_of(index).any(|(_, a)| match a.state {
                AttemptState::Accepted
                | AttemptState::Recalling { .. }
                | AttemptState::Unknown { .. } => true,
                AttemptState::Planned
                | AttemptState::Started
                | AttemptState::RetryScheduled { .. }
                | AttemptState::Rejected => false,
            });
            // After the end nothing is decided, so a late answer starts no clock.
            !is_out || step.clock_at.is_some() || w.has_ended()
        })
    }),
    ("M10", "a message in parts is as far as its last part", |w| {
        let last = |attempt: &super::Attempt| attempt.parts.iter().min().copied();
        w.attempts.iter().all(|attempt| last(attempt).is_none_or(|last| last == attempt.status))
    }),
    ("M11", "nothing that is open was erased", |w| !w.is_erased || w.has_ended()),
];

/// Every invariant that `workflow` breaks; empty for a sound one.
pub fn check(workflow: &Workflow) -> Vec<BrokenInvariant> {
    let broken = INVARIANTS.iter().filter(|(_, _, holds)| !holds(workflow));
    broken.map(|(id, rule, _)| BrokenInvariant { id, rule }).collect()
}
