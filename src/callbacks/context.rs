//! What callbacks need of the service that they run in.

use std::sync::Arc;

use crate::{
    contents::ContentsKeeper,
    engine::{EngineClock, Feed, InboundMessages},
    store::{Reader, Settings},
    telemetry::{LogLimit, Metrics},
};

/// What callbacks need of the service that they run in: no engine, so that nothing here can create a
/// workflow or wait for one.
#[derive(Clone)]
pub struct CallbackContext {
    /// Tells engine time, and the real wall clock that signatures go by.
    pub clock: Arc<dyn EngineClock>,
    /// Reads the journal.
    pub reader: Arc<dyn Reader>,
    /// Opens who was reached, and where callbacks go.
    pub contents: Arc<ContentsKeeper>,
    /// Keeps the rows of callbacks, and holds those of applications.
    pub settings: Arc<dyn Settings>,
    /// Hands rows over as they become durable.
    pub feed: Arc<Feed>,
    /// What persons wrote.
    pub inbound: Arc<InboundMessages>,
    /// Counts callbacks by what became of them.
    pub metrics: Arc<Metrics>,
    /// Keeps failing receivers from filling the log.
    pub log_limit: Arc<LogLimit>,
    /// Whether the store may only be read: then callbacks are shown, and none is made or sent.
    pub is_read_only: bool,
}
