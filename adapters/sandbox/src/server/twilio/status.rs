//! The body of a status webhook: a form.

use dispatch_contract::{Channel, ErrorKind, Failure, Receipt, Report, Status, UnixMillis};
use jiff::{Timestamp, tz::TimeZone};
use url::form_urlencoded::Serializer;

use super::order::{self, TwilioOrder};
use crate::codes::receipt_meaning;

/// What is posted about `order`'s message when `receipt` is due; `None` of one without an id, and of an answer, which
/// is no status.
pub(super) fn body(account_sid: &str, order: &TwilioOrder, receipt: &Receipt) -> Option<String> {
    let sid = order::sid(&order.channel, receipt.provider_id.as_deref()?);
    let scripted = receipt.code.as_deref().and_then(|code| code.parse().ok());
    let code = |otherwise| Some(scripted.map_or(otherwise, failed_as));
    let (status, code) = match receipt.report {
        Report::Reached(Status::Pending | Status::Submitted) => ("sent", None),
        Report::Reached(Status::Delivered) => ("delivered", None),
        Report::Reached(Status::Read) => ("read", None),
        Report::Reached(Status::Replied) => return None,
        // Not sent at all; and not arrived.
        Report::Failed(Failure::Rejected) => ("failed", code(21_612)),
        Report::Failed(Failure::Undeliverable) => ("undelivered", code(30_003)),
    };
    let mut form = Serializer::new(String::new());
    form.append_pair("SmsSid", &sid).append_pair("SmsStatus", status);
    form.append_pair("MessageStatus", status).append_pair("To", &order.to);
    form.append_pair("MessageSid", &sid).append_pair("AccountSid", account_sid);
    if let Some(from) = &order.from {
        form.append_pair("From", from);
    }
    if let Some(service) = &order.messaging_service_sid {
        form.append_pair("MessagingServiceSid", service);
    }
    if let Some(code) = code {
        form.append_pair("ErrorCode", &code.to_string());
    }
    if status == "delivered" && order.channel == Channel::SMS {
        form.append_pair("RawDlrDoneDate", &minute(receipt.provider_time));
    }
    if order.channel == Channel::WHATSAPP {
        form.append_pair("ChannelPrefix", "whatsapp").append_pair("ChannelToAddress", &order.to);
        form.append_pair("EventType", &status.to_uppercase());
    }
    form.append_pair("ApiVersion", "2010-04-01");
    Some(form.finish())
}

/// What Twilio says of a message where a script has another provider say `code`.
fn failed_as(code: u16) -> u32 {
    match receipt_meaning(code).kind {
        ErrorKind::InvalidRecipient => 63_003,
        ErrorKind::OptedOut => 21_610,
        ErrorKind::OutsideWindow => 63_016,
        ErrorKind::ContentRejected | ErrorKind::InvalidRequest => 30_007,
        ErrorKind::Unreached | ErrorKind::Timeout | ErrorKind::Unreachable => 30_003,
        ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::InsufficientFunds => 30_002,
        ErrorKind::Throttled => 30_001,
        ErrorKind::ProviderFailure => 30_008,
    }
}

/// `YYMMDDhhmm`.
fn minute(at: Option<UnixMillis>) -> String {
    let ms = i64::try_from(at.unwrap_or_default().0).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    at.to_zoned(TimeZone::UTC).strftime("%y%m%d%H%M").to_string()
}
