//! Telegram, in two ways that have nothing in common but the app at their end.
//!
//! - [`gateway`] is the Telegram Gateway: one-time codes to phone numbers, on the channel `telegram`.
//! - [`bot`] is a bot of one's own: texts to chats that were begun with it, on the channel `telegram_bot`.

pub mod bot;
pub mod gateway;
