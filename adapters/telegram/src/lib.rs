//! Telegram.
//!
//! [`gateway`] is the Telegram Gateway: one-time codes to phone numbers, on the channel `telegram`.

pub mod gateway;
