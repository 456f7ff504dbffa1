//! Vonage (formerly Nexmo): one Messages API for all its channels, in two versions.
//!
//! A send is [`v1`] or [`v01`] (pure) → [`HttpClient`](crate::http::HttpClient) → [`decode`]
//! (pure); a webhook is checked and read by [`read_webhook`] (pure). [`errors`] is the one table of the
//! provider's codes. [`VonageAdapter`] puts them together for one channel; the channel's own crate
//! brings its capabilities and rules.
//!
//! Vonage does not know our ids for repeats: a send whose outcome is unknown must not be repeated
//! under the promise of one message. It does repeat our attempt id (`client_ref`) in every status
//! webhook, so such a send can still be matched.

mod account;
mod auth;
mod channel;
pub mod errors;
mod send_result;
mod signature;
mod subject;
mod time;
mod ttl;
pub mod v01;
pub mod v1;
mod webhook;

pub use account::{ApiVersion, ProviderCredential, VonageAccount, WebhookKeys};
pub use channel::{ChannelRules, VonageAdapter};
pub use send_result::decode;
pub use subject::{VonageSubject, Wire, wire, wire_of_use};
pub use webhook::read as read_webhook;
