//! Writes a send.

use dispatch_contract::{Content, Message, SendContext};
use serde_json::{Value, json};

/// The time to live that Telegram knows, in seconds.
const TTL_S: std::ops::RangeInclusive<u64> = 30..=3_600;
/// The channel from which Telegram itself sends; a message whose sender it is names none.
const USUAL_SENDER: &str = "VerificationCodes";

/// The parameters of `sendVerificationMessage`; `request_id` is that of a check that went before. `None` for what
/// the channel's `check` refuses when a workflow is created: a message that was never checked.
pub(crate) fn encode(
    context: &SendContext<'_>,
    message: &Message,
    request_id: Option<&str>,
) -> Option<Value> {
    let Content::Code { code, .. } = &message.content else { return None };
    let mut body = json!({
        "phone_number": phone_number(message),
        "code": code,
        "payload": context.attempt.to_string(),
    });
    let sender = message.from.value();
    if !sender.eq_ignore_ascii_case(USUAL_SENDER) {
        body["sender_username"] = sender.into();
    }
    if let Some(ttl_s) = ttl_s(context) {
        body["ttl"] = ttl_s.into();
    }
    if let Some(url) = context.callback_url {
        body["callback_url"] = url.into();
    }
    if let Some(request_id) = request_id {
        body["request_id"] = request_id.into();
    }
    Some(body)
}

/// The recipient as Telegram writes it.
pub(crate) fn phone_number(message: &Message) -> String {
    format!("+{}", message.to.value())
}

/// What is left of the message's time, where Telegram can be told so: a longer time would end sooner than the
/// step's.
fn ttl_s(context: &SendContext<'_>) -> Option<u64> {
    let left = context.useful_for?.as_secs().max(*TTL_S.start());
    TTL_S.contains(&left).then_some(left)
}
