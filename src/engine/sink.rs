//! Where adapters with a connection of their own deliver what their providers report.

use std::time::Duration;

use async_trait::async_trait;
use dispatch_contract::{Inbound, InboundSink, SinkClosed};

use super::{Engine, EngineError};

/// A sink for adapters with a connection of their own.
pub(crate) struct EngineSink {
    /// The engine it leads to.
    pub(crate) engine: Engine,
    /// The provider it serves.
    pub(crate) provider: String,
}

#[async_trait]
impl InboundSink for EngineSink {
    async fn deliver(&self, account: &str, inbound: Vec<Inbound>) -> Result<(), SinkClosed> {
        loop {
            match self.engine.inbound(&self.provider, account, inbound.clone()).await {
                Ok(()) => return Ok(()),
                Err(EngineError::Overloaded { retry_after_ms }) => {
                    tokio::time::sleep(Duration::from_millis(retry_after_ms)).await;
                }
                Err(
                    EngineError::NotFound(_)
                    | EngineError::TooLate
                    | EngineError::AlreadyExists(_)
                    | EngineError::AlreadyEnded { .. }
                    | EngineError::RouteSaturated { .. }
                    | EngineError::DiskFull
                    | EngineError::ReadOnly
                    | EngineError::RestoreLocked
                    | EngineError::NotRestoreLocked
                    | EngineError::Unavailable,
                ) => return Err(SinkClosed),
            }
        }
    }
}
