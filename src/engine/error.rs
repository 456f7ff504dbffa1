//! Why the engine did not do what it was asked for.

use std::{fmt, sync::Arc};

use crate::machine::{EndState, Reason, WorkflowId};

/// Why the engine did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// There is no such workflow.
    NotFound(WorkflowId),
    /// The `request_id` belongs to a workflow that asks for something else.
    AlreadyExists(WorkflowId),
    /// It has ended, and not by a cancel.
    AlreadyEnded {
        /// Which.
        id: WorkflowId,
        /// In what state.
        state: EndState,
        /// Why.
        reason: Reason,
    },
    /// `valid_until` has passed.
    TooLate,
    /// Too much to do.
    Overloaded {
        /// When it is worth asking again, in milliseconds.
        retry_after_ms: u64,
    },
    /// What is ahead of it on every route that serves it would take longer than it may wait.
    RouteSaturated {
        /// The route that has a permit soonest.
        route: Arc<str>,
        /// When it is worth asking again, in milliseconds.
        retry_after_ms: u64,
    },
    /// It was restored from a backup, and waits to be told what becomes of what was open.
    RestoreLocked,
    /// There is no restore lock.
    NotRestoreLocked,
    /// It is stopping, or the store failed.
    Unavailable,
    /// There is hardly room left on the store's disk.
    DiskFull,
    /// It was started only to be read.
    ReadOnly,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::NotFound(id) => write!(f, "there is no workflow {id}"),
            EngineError::AlreadyExists(id) => write!(
                f,
                "this request_id belongs to workflow {id}, which asks for something else; use a \
                 new request_id for a new workflow"
            ),
            EngineError::AlreadyEnded { id, state, reason } => {
                write!(f, "workflow {id} has already ended: {}, {reason}", state.as_str())
            }
            EngineError::TooLate => f.write_str("valid_until has passed: nothing would be sent"),
            EngineError::Overloaded { retry_after_ms } => {
                write!(f, "too much to do at the moment; ask again in {retry_after_ms} ms")
            }
            EngineError::RouteSaturated { route, retry_after_ms } => write!(
                f,
                "route {route} is saturated: it could not start this within its send_within; ask again \
                 in {retry_after_ms} ms, or use a higher priority or a longer send_within"
            ),
            EngineError::DiskFull => f.write_str(
                "the disk of this service is nearly full: nothing new is taken until its operator makes \
                 room; cancels are",
            ),
            EngineError::ReadOnly => f.write_str(
                "this service was started to be read only: nothing is sent and nothing is changed until \
                 its operator starts it without --read-only",
            ),
            EngineError::RestoreLocked => f.write_str(
                "this service was restored from a backup and has a restore lock: nothing is sent until \
                 its operator runs `dispatch resume`",
            ),
            EngineError::NotRestoreLocked => {
                f.write_str("this service has no restore lock: there is nothing to resume")
            }
            EngineError::Unavailable => {
                f.write_str("the service is stopping; ask again when it is back")
            }
        }
    }
}

impl std::error::Error for EngineError {}
