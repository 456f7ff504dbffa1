//! Twilio: SMS, MMS, WhatsApp and RCS through one resource, `Messages`.
//!
//! A send is [`encode`] (pure) → [`HttpClient`](dispatch_kit::http::HttpClient) → [`decode`] (pure); a
//! webhook is checked and read by [`read_webhook`] (pure). [`errors`] is the one table of the provider's
//! codes. [`TwilioGateway`] puts them together beneath the channels' own crates, and [`provider`] is all of
//! it, ready to be registered.
//!
//! Twilio knows no key for repeats: a send whose outcome is unknown must not be repeated under the promise
//! of one message. Our attempt id stands in the query of the URL that its statuses are posted to, which the
//! signature covers, so such a send can still be matched.

mod account;
mod callback;
mod channels;
mod encode;
pub mod errors;
mod form;
mod gateway;
mod inbound;
mod options;
mod probe;
mod provider;
mod samples;
mod send_result;
mod signature;
mod subject;
mod validity;
mod webhook;

pub use account::TwilioAccount;
pub use encode::encode;
pub use gateway::TwilioGateway;
pub use provider::provider;
pub use send_result::decode;
pub use signature::signed_text;
pub use subject::{TwilioSubject, subjects};
pub use webhook::read as read_webhook;

#[cfg(test)]
mod tests;

/// The provider's name.
pub const PROVIDER: &str = "twilio";
