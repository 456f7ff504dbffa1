//! What an edge that answers requests counts and logs with.

use std::sync::Arc;

use tracing::Level;

use super::{LogLimit, Metrics};

/// The metrics, and which lines were logged lately. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EdgeTelemetry {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// For whoever logs what may come often.
    pub log_limit: Arc<LogLimit>,
}

impl EdgeTelemetry {
    /// Counts and logs a panic of whoever answers requests: a bug, which costs one answer.
    pub fn handler_panicked(&self, edge: &'static str) {
        self.metrics.handler_panicked();
        if self.log_limit.admits(Level::ERROR, "handler_panicked", edge, "") {
            tracing::error!(
                edge,
                "a handler of requests panicked; its caller was told of an error"
            );
        }
    }
}
