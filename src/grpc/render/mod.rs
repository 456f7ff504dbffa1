//! From the service's types to the API's messages.
//!
//! Total and pure: whatever the store holds can be shown. Defaults are written out, so that a
//! reader need not know them; what is not known is left out.

mod channels;
mod enums;
mod event;
mod spec;
mod workflow;

#[cfg(test)]
mod tests;

use dispatch_contract::{Status, UnixMillis};

pub(crate) use channels::channels;
pub(crate) use enums::scope;
pub(crate) use event::{event, locate};
pub(crate) use spec::spec;
pub(crate) use workflow::{fresh, summary, workflow};

use crate::{
    machine::{EndState, Phase},
    pb::v1,
};

/// A point in time.
pub(crate) fn timestamp(at: UnixMillis) -> prost_types::Timestamp {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    // Below 1,000,000,000 by construction.
    let nanos = (at.0 % 1000) as i32 * 1_000_000;
    prost_types::Timestamp { seconds, nanos }
}

/// A time span.
pub(crate) fn duration(ms: u64) -> prost_types::Duration {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: (ms % 1000) as i32 * 1_000_000 }
}

fn state(phase: Phase) -> v1::WorkflowState {
    match phase {
        Phase::Scheduled => v1::WorkflowState::Scheduled,
        Phase::Running(_) => v1::WorkflowState::Running,
        Phase::Ended(state, _) => end_state(state),
    }
}

fn end_state(state: EndState) -> v1::WorkflowState {
    match state {
        EndState::Succeeded => v1::WorkflowState::Succeeded,
        EndState::Failed => v1::WorkflowState::Failed,
        EndState::Unconfirmed => v1::WorkflowState::Unconfirmed,
        EndState::Canceled => v1::WorkflowState::Canceled,
    }
}

fn status(status: Status) -> String {
    status.as_str().to_owned()
}

/// Steps are counted from 0 inside and from 1 outside.
fn number(step: u8) -> u32 {
    u32::from(step) + 1
}
