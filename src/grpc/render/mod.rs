//! From the service's types to the API's messages.
//!
//! Total and pure: whatever the store holds can be shown. Defaults are written out, so that a
//! reader need not know them; what is not known is left out.

mod channels;
mod enums;
mod event;
mod inbound;
mod json;
mod options;
mod spec;
mod workflow;

#[cfg(test)]
mod tests;

use dispatch_contract::{Status, UnixMillis};

pub(crate) use channels::channels;
pub(crate) use enums::scope;
pub(crate) use event::event;
pub(crate) use inbound::inbound_message;
pub(crate) use spec::spec;
pub(crate) use workflow::{fresh, summary, workflow};

use crate::{
    machine::{EndState, ProgressState},
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

fn state(state: ProgressState) -> v1::WorkflowState {
    match state {
        ProgressState::Scheduled => v1::WorkflowState::Scheduled,
        ProgressState::Running => v1::WorkflowState::Running,
        ProgressState::Ended(EndState::Succeeded) => v1::WorkflowState::Succeeded,
        ProgressState::Ended(EndState::Failed) => v1::WorkflowState::Failed,
        ProgressState::Ended(EndState::Unconfirmed) => v1::WorkflowState::Unconfirmed,
        ProgressState::Ended(EndState::Canceled) => v1::WorkflowState::Canceled,
    }
}

fn status(status: Status) -> String {
    status.as_str().to_owned()
}

/// Steps are counted from 0 inside and from 1 outside.
fn number(step: u8) -> u32 {
    u32::from(step) + 1
}
