//! The body of a webhook with what a person answers: a form.

use dispatch_contract::Receipt;
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use super::order::{self, TwilioOrder};
use crate::reply;

/// What is posted when the person who has `order`'s message answers it, in a message that is called `id`; `None` where
/// a service chose the sender, because nobody here knows which it chose.
pub(super) fn body(
    account_sid: &str,
    order: &TwilioOrder,
    receipt: &Receipt,
    id: Uuid,
) -> Option<String> {
    let sid = order::sid(&order.channel, &id.to_string());
    let quoted = order::sid(&order.channel, receipt.provider_id.as_deref()?);
    let from = order.from.as_deref()?;
    let mut form = Serializer::new(String::new());
    form.append_pair("SmsMessageSid", &sid).append_pair("NumMedia", "0");
    form.append_pair("ProfileName", "Ada").append_pair("MessageType", "text");
    form.append_pair("SmsSid", &sid).append_pair("SmsStatus", "received");
    form.append_pair("WaId", order.recipient.value());
    form.append_pair("Body", reply::TEXT).append_pair("To", from);
    form.append_pair("OriginalRepliedMessageSender", from);
    form.append_pair("OriginalRepliedMessageSid", &quoted);
    form.append_pair("NumSegments", "1").append_pair("MessageSid", &sid);
    form.append_pair("AccountSid", account_sid).append_pair("From", &order.to);
    form.append_pair("ApiVersion", "2010-04-01");
    Some(form.finish())
}
