//! Meta, by the Graph API: WhatsApp's Cloud API, and Messenger.
//!
//! A send is `whatsapp` or `messenger` (pure) → [`HttpClient`](dispatch_kit::http::HttpClient) → [`decode`] (pure); a
//! webhook is checked and read by [`read_webhook`] (pure). [`errors`] is the one table of the provider's codes,
//! in answers and receipts alike. [`MetaGateway`] puts them together beneath the channels' own crates, and
//! [`provider`] is all of it, ready to be registered.
//!
//! Graph knows no ids for repeats: a send whose outcome is unknown must not be repeated under the promise of one
//! message. WhatsApp does repeat our attempt id (`biz_opaque_callback_data`) in every status, so such a send
//! can still be matched. Messenger repeats it in a message's echo alone, and names messages by its own ids.

mod account;
pub mod errors;
mod gateway;
mod graph;
mod inbound;
mod messenger;
mod probe;
mod provider;
mod samples;
mod subject;
mod webhook;
mod whatsapp;

pub use account::MetaAccount;
pub use gateway::MetaGateway;
pub use graph::decode;
pub use provider::provider;
pub use subject::{MetaSubject, subjects};
pub use webhook::read as read_webhook;

/// The provider's name.
pub const PROVIDER: &str = "meta";
