//! The Telegram Gateway: one-time codes to the phone numbers of people who use Telegram.
//!
//! - A send is `sendVerificationMessage`, with what is left of the step's time as its time to live: what is not
//!   delivered by then Telegram deletes, tells as `expired`, and does not charge for.
//! - Our attempt id travels as the payload and comes back in every report, so a call whose answer never came is
//!   matched all the same. Telegram knows no key for repeats.
//! - Reports go to the URL that the call names, signed under the account's token.
//! - A recall is `revokeVerificationMessage`, which says only that it was heard; what came of it is asked then.
//!
//! Telegram words the message itself, around the code: a code's sentence is not sent.

mod account;
mod adapter;

mod encode;
pub mod errors;
mod probe;
mod provider;
mod send_result;
mod subject;
#[cfg(test)]
mod tests;
mod webhook;

pub use account::TelegramAccount;
pub use adapter::TelegramAdapter;
pub use provider::provider;
pub use subject::{TelegramSubject, subjects};
pub use webhook::{SIGNATURE, TIMESTAMP, read as read_webhook, signature};

/// The provider's name.
pub const PROVIDER: &str = "telegram";
