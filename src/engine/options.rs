//! How the engine is set up.

use std::time::Duration;

use super::{LaneLimits, SpaceLimits};
use crate::machine::PolicySnapshot;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The durations that new workflows live by.
    pub policy: PolicySnapshot,
    /// How long overdue waits for receipts are held after a start; 0 is off.
    pub recovery_grace: Duration,
    /// How long an ended workflow is kept.
    pub retention: Duration,
    /// What is done when the disk fills up.
    pub space: SpaceLimits,
    /// Nothing is done and nothing is changed: it is only looked at.
    pub is_read_only: bool,
    /// Who waits longer than this for a permit on a route is told of; zero is off.
    pub queue_warn: Duration,
    /// How many commands may wait.
    pub lanes: LaneLimits,
}
