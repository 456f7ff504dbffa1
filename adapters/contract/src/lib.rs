//! The plug between Dispatch and the world's messaging providers.
//!
//! A [`Provider`] has accounts, which its [`SettingsForm`] describes, and reads what it is told in
//! webhooks; for each [`Channel`] it brings a [`ChannelAdapter`], which sends. Everything the engine may
//! ask of an adapter is declared in its [`Capabilities`]; nothing that is not declared is ever asked. Where
//! the channel's own rules are in a crate of its own, the provider brings a [`Gateway`] beneath them.
//!
//! This crate holds types and traits: no runtime, no HTTP client, no clock of its own. A third
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
mod external;
mod form;
mod gateway;
mod inbound;
mod message;
mod options;
mod probe;
mod provider;
mod registry;
mod retry_after;
mod status;
mod text;
mod time;
mod url;
mod webhook;

pub use account::{Account, Secret};
pub use adapter::{Accepted, ChannelAdapter, Recall, SendContext, cannot_recall};
pub use address::{AddressForm, AddressPattern, Endpoint};
pub use attempt::{AttemptId, InvalidAttemptId};
pub use capabilities::{Capabilities, Correlation, Limits};
pub use channel::{Channel, InvalidChannel};
pub use check::{Field, Violation, check};
pub use clock::{Busy, Clock};
pub use error::{AdapterError, Cause, ErrorKind, Fault, Retry};
pub use external::{ChannelSender, ExternalFields};
pub use form::{Setting, SettingRule, SettingsForm};
pub use gateway::Gateway;
pub use inbound::{
    Inbound, InboundMessage, InboundSink, OptOut, Receipt, Report, SinkClosed, Usage, Watermark,
};
pub use message::{Content, ContentKind, Media, Message};
pub use options::{OptionField, OptionRule, Options, OptionsForm};
pub use probe::Probe;
pub use provider::{Provider, ProviderAccounts, Shutdown};
pub use registry::{RegistrationError, Registry};
pub use retry_after::{http_date, retry_after};
pub use status::{Failure, Status, UnknownStatus};
pub use text::{has_control, is_blank, is_invisible, is_printable};
pub use time::UnixMillis;
pub use url::{UrlRules, WrongUrl, check_url};
pub use webhook::{Verdict, WebhookOutcome, WebhookRequest};
