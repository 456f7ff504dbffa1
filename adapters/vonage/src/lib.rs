//! Vonage (formerly Nexmo): one Messages API for all its channels, in two versions.
//!
//! A send is [`v1`] or [`v01`] (pure) → [`HttpClient`](dispatch_kit::http::HttpClient) → [`decode`]
//! (pure); a webhook is checked and read by [`read_webhook`] (pure). [`errors`] is the one table of the
//! provider's codes. [`VonageGateway`] puts them together beneath the channels' own crates, and
//! [`provider`] is all of it, ready to be registered.
//!
//! Vonage does not know our ids for repeats: a send whose outcome is unknown must not be repeated
//! under the promise of one message. It does repeat our attempt id (`client_ref`) in every status
//! webhook, so such a send can still be matched.

mod account;
mod auth;
pub mod errors;
mod gateway;
mod inbound;
mod messenger;
mod mms;
mod probe;
mod provider;
mod rcs;
mod samples;
mod send_result;
mod signature;
mod sms;
mod subject;
mod time;
mod ttl;
pub mod v01;
pub mod v1;
mod viber;
mod webhook;
mod whatsapp;

pub use account::{ApiVersion, ProviderCredential, VonageAccount, WebhookKeys};
pub use gateway::VonageGateway;
pub use provider::provider;
pub use send_result::decode;
pub use subject::{VonageSubject, Wire, subjects, wire, wire_of_use};
pub use webhook::read as read_webhook;

/// The provider's name.
pub const PROVIDER: &str = "vonage";
