//! The plug between Dispatch and the world's messaging providers.
//!
//! A [`ChannelAdapter`] sends on one [`Channel`] through one provider, and reads that provider's
//! webhooks. Everything the engine may ask of it is declared in its [`Capabilities`]; nothing that
//! is not declared is ever asked.
//!
//! This crate holds types and one trait: no runtime, no HTTP client, no clock of its own. A third
//! party writes an adapter against it and nothing else; `dispatch-kit` has what HTTP adapters
//! share, and a conformance suite that turns declared capabilities into tests.

mod account;
mod adapter;
mod address;
mod attempt;
mod capabilities;
mod channel;
mod check;
mod clock;
mod error;
mod inbound;
mod message;
mod registry;
mod retry_after;
mod status;
mod text;
mod time;
mod url;
mod webhook;

pub use account::{Account, Secret};
pub use adapter::{Accepted, ChannelAdapter, Recall, SendContext, Shutdown};
pub use address::{AddressForm, Endpoint};
pub use attempt::{AttemptId, InvalidAttemptId};
pub use capabilities::{Capabilities, Correlation, Limits};
pub use channel::{Channel, InvalidChannel};
pub use check::{Field, Violation, check};
pub use clock::{Busy, Clock};
pub use error::{AdapterError, Cause, ErrorKind, Fault, Retry};
pub use inbound::{Inbound, InboundSink, OptOut, Receipt, Reply, Report, SinkClosed, Usage};
pub use message::{
    Action, Content, ContentKind, Media, Message, MessengerCategory, MessengerOptions, MmsOptions,
    Options, SmsEncoding, SmsOptions, ViberCategory, ViberOptions, WhatsAppOptions, WhatsAppPolicy,
};
pub use registry::{DuplicateAdapter, Registry};
pub use retry_after::retry_after;
pub use status::{Failure, Status, UnknownStatus};
pub use text::{has_control, is_blank, is_invisible, is_printable};
pub use time::UnixMillis;
pub use url::{UrlRules, WrongUrl, check_url};
pub use webhook::{Verdict, WebhookOutcome, WebhookRequest};
