//! What chats and messages are called.
//!
//! Telegram numbers a message within its chat. So that an id names one message of the bot's, here it is both:
//! `2718281828:42`.

use std::borrow::Cow;

use dispatch_kit::json::Json;

/// Whether it is a chat's id: a person's, or with a minus sign a group's.
pub(super) fn is_chat(id: &str) -> bool {
    is_number(id.strip_prefix('-').unwrap_or(id))
}

/// A chat's id.
pub(super) fn chat(value: Json<'_>) -> Option<String> {
    value.scalar().filter(|id| is_chat(id)).map(Cow::into_owned)
}

/// A message's id: its chat's, and its number there. `None` where either is not told; a message that is still to be
/// sent has the number 0.
pub(super) fn message(message: Json<'_>) -> Option<String> {
    let chat = message.read("chat", |it| it.read("id", chat))?;
    let number = message.read("message_id", |it| it.scalar().filter(|id| is_number(id)))?;
    Some(format!("{chat}:{number}"))
}

fn is_number(text: &str) -> bool {
    (1..=19).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
}
