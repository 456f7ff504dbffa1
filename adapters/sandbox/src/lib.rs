//! A messaging provider that sends nothing, scripted by recipient.
//!
//! For demonstrations, for tests, and for whoever wants to see what Dispatch does when a provider
//! stays silent, contradicts itself or answers too late. One [`SimulatedProvider`] decides what happens, by
//! the [`Script`] of the recipient; two fronts let it be reached:
//!
//! - [`SandboxProvider`]: an ordinary provider within the process, with a [`SandboxAdapter`] a channel;
//! - [`SandboxServer`]: an HTTP server that speaks the Vonage Messages API, v1 and v0.1, Meta's Graph API, Twilio's
//!   `Messages`, the Telegram Gateway and Telegram's Bot API, signed webhooks included, so that the real adapters can be tried against it.
//!
//! Everything but the sockets depends on the injected clock, the seed and the order of calls alone:
//! the same seed gives the same ids. The provider remembers what it was asked and what it sent,
//! which makes it the oracle of tests about double sends.
//!
//! It does not model prices, consent, conversation windows or the survival of a restart: a provider that
//! stopped has forgotten its receipts. What people write is what a script has them answer, and what a test has them
//! write to a bot of Telegram's.

mod adapter;
mod codes;
mod plan;
mod provider;
mod queue;
mod record;
mod reply;
mod sandbox;
pub mod script;
mod seed;
mod server;
mod subject;

pub use adapter::SandboxAdapter;
pub use provider::{ProviderConfig, SimulatedProvider};
pub use record::{CallRecord, CallResult, RecallRecord, SentMessage};
pub use sandbox::SandboxProvider;
pub use script::{InvalidScript, Script};
pub use server::{MetaApp, SandboxServer, ServerConfig, ServerConfigError, SimulatedTwilio};
pub use subject::SandboxSubject;
