//! A bot on Telegram: texts to people who wrote to it, and to groups that it is in.
//!
//! A send is `sendMessage`. The Bot API tells of no delivery and no reading, so a rule can wait for `submitted`, and for
//! an answer that quotes the message; and it knows no key for repeats. What people write to the bot comes by webhook,
//! where the account has a secret for it, and this crate tells Telegram where that is.

mod account;
mod adapter;
mod ids;
mod provider;
mod send_result;
mod subject;
mod subscription;
#[cfg(test)]
mod tests;
mod webhook;

use dispatch_contract::Channel;

pub use adapter::TelegramBotAdapter;
pub use provider::provider;
pub use subject::{TelegramBotSubject, subjects};

/// The provider's name.
pub const PROVIDER: &str = "telegram_bot";

static TELEGRAM_BOT: Channel = Channel::named("telegram_bot");
