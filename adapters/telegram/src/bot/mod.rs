//! A bot on Telegram: texts to people who wrote to it, and to groups that it is in.
//!
//! A send is `sendMessage`. The Bot API tells of no delivery and no reading, so `submitted` is all that a rule can wait
//! for; and it knows no key for repeats. What people write to the bot is not read here.

mod adapter;
mod provider;
mod send_result;
mod subject;
#[cfg(test)]
mod tests;

pub use adapter::TelegramBotAdapter;
pub use provider::provider;
pub use subject::{TelegramBotSubject, subjects};

/// The provider's name.
pub const PROVIDER: &str = "telegram_bot";
