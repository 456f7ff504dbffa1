//! `[engine]`: the durations that workflows live by, and how many requests may wait.

use serde::Deserialize;

use super::Range;

/// `[engine]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Time before any acceptance, in seconds.
    pub send_within_s: u64,
    /// The same for the last step.
    pub last_send_within_s: u64,
    /// How long an unknown outcome waits for a receipt, in seconds.
    pub unknown_wait_s: u64,
    /// How long silence lasts until UNCONFIRMED, in seconds.
    pub unconfirmed_after_s: u64,
    /// The first retry's delay, in milliseconds.
    pub retry_base_ms: u64,
    /// The longest retry's delay, in milliseconds.
    pub retry_max_ms: u64,
    /// How long overdue waits are held after a start, in seconds.
    pub recovery_grace_s: u64,
    /// How long a stop waits for calls, in seconds.
    pub drain_s: u64,
    /// Who waits longer than this for a place on a route is told of, in seconds; 0 is off.
    pub queue_warn_s: u64,
    /// How many creates may wait.
    pub create_queue_capacity: usize,
    /// How many cancels may wait.
    pub cancel_queue_capacity: usize,
    /// How many webhook calls may wait.
    pub receipt_queue_capacity: usize,
}

impl EngineConfig {
    pub(super) fn ranges(&self) -> impl IntoIterator<Item = Range> {
        [
            ("engine.send_within_s", self.send_within_s, 1, 30 * 86_400),
            ("engine.last_send_within_s", self.last_send_within_s, 1, 30 * 86_400),
            ("engine.unknown_wait_s", self.unknown_wait_s, 0, 86_400),
            ("engine.unconfirmed_after_s", self.unconfirmed_after_s, 1, 90 * 86_400),
            ("engine.retry_base_ms", self.retry_base_ms, 1, 3_600_000),
            ("engine.retry_max_ms", self.retry_max_ms, 1, 86_400_000),
            ("engine.recovery_grace_s", self.recovery_grace_s, 0, 86_400),
            ("engine.drain_s", self.drain_s, 0, 3600),
            ("engine.queue_warn_s", self.queue_warn_s, 0, 86_400),
            ("engine.create_queue_capacity", self.create_queue_capacity as u64, 1, 1_000_000),
            ("engine.cancel_queue_capacity", self.cancel_queue_capacity as u64, 1, 1_000_000),
            ("engine.receipt_queue_capacity", self.receipt_queue_capacity as u64, 1, 1_000_000),
        ]
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            send_within_s: 900,
            last_send_within_s: 900,
            unknown_wait_s: 30,
            unconfirmed_after_s: 72 * 3600,
            retry_base_ms: 1000,
            retry_max_ms: 60_000,
            recovery_grace_s: 60,
            drain_s: 15,
            queue_warn_s: 60,
            create_queue_capacity: 8192,
            cancel_queue_capacity: 8192,
            receipt_queue_capacity: 32_768,
        }
    }
}
