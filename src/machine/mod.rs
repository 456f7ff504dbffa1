//! The failover machine: a workflow as a pure state machine.
//!
//! [`handle`] takes an event and a time and decides: it returns facts, and the workflow with those
//! facts applied. [`Workflow::apply`] only applies, so that the journal replayed gives the same
//! state. [`Workflow::deadlines`] derives when the workflow must be woken next; nothing stores it
//! beside the state. [`Workflow::unanswered`] and
//! [`Workflow::wants_permit`] say what a restart still owes.
//!
//! No clock, no randomness, no I/O, no runtime: time is an argument, and jitter is a function of
//! the workflow's id. Late, early and repeated events are harmless; the property tests say so.
//! The time is a [`Moment`] on two clocks: durations are counted on engine time, `send_at` and
//! `valid_until` are appointments by the wall clock, and a wall clock that is set moves no duration.
//!
//! The rules are numbered in [`semantics`](self#the-rules-in-one-place) below, and comments refer
//! to them.
//!
//! # The rules in one place
//!
//! 1. *Sending.* `send_within` bounds the time before any acceptance; the condition clock runs
//!    `expiry_time` from the first accepted (or unknown) attempt, and nothing restarts it.
//! 2. *Met* while the step is active: the workflow succeeds, later steps are skipped.
//! 3. *Failure* is at once: the next step, or first another route of the channel where the fault
//!    was the provider's and a quarter of the sending time is left.
//! 4. *Expiry*: the next step.
//! 5. *Temporary errors* are retried with backoff inside `send_within`.
//! 6. *Unknown outcomes* are repeated under the same id where the provider honours it; else
//!    `on_unknown` decides. After an unknown no other route of that step is tried, and no other
//!    account.
//! 7. *Last step* without a rule: `delivered` succeeds, silence for `unconfirmed_after` is UNCONFIRMED.
//! 8. *Late success* of an earlier step stops the workflow, or is noted (`on_late_success`).
//! 9. *After the end* nothing changes the state; what still comes is recorded.
//! 10. *valid_until*: no attempt starts after it.
//! 11. *Cancel*: no attempt starts that was not STARTED before it.
//! 12. *Recall*, where the provider can: a message whose step expires is asked back before the next one goes
//!     out, for [`RECALL_WAIT_MS`] at most; then the next goes out whatever came.

// A new status, fact or error must be thought of wherever something is decided.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod backoff;
mod deadline;
mod description;
mod event;
mod fact;
mod invariants;
mod message_uuid;
mod moment;
mod partition;
mod plan;
mod progress;
mod reason;

mod transition;
mod workflow;

pub use backoff::retry_delay;
pub use deadline::{Deadline, DeadlineKind, Deadlines};
pub use description::describe;
pub use event::{CallFailure, Event, SendResult, Update};
pub use fact::{AcceptedBy, Fact, Outcome, RecallResult, RouteProperties};
pub use invariants::{BrokenInvariant, check};
pub use message_uuid::message_uuid;
pub use moment::{ClockKind, Moment};
pub use partition::{PARTITIONS, Partition};
pub use plan::{
    FailoverCondition, MAX_PLANNED_LIFE, MAX_STEPS, OnLateSuccess, OnUnknown, Plan, PolicySnapshot,
    Priority, RouteRequirement, StepPlan, Template, WorkflowId,
};
pub use progress::{
    AttemptProgress, OutcomeProgress, Progress, ProgressState, StepProgress, TimelineEvent,
};
pub use reason::Reason;
pub use transition::{NoRoutes, RECALL_WAIT_MS, RouteCandidate, Router, create, handle};
pub use workflow::{Attempt, AttemptState, EndState, Phase, Step, StepStatus, Workflow};

#[cfg(test)]
mod tests;
