//! The provider as an HTTP server, in the words of those whose adapters are tried against it.

mod control;
mod vonage;
mod webhook_sender;

pub use vonage::{SandboxServer, ServerConfig, ServerConfigError};
pub(crate) use webhook_sender::first_retry;
