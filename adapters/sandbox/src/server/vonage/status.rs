//! The body of a status webhook, in both of its forms.

use dispatch_contract::{Channel, Endpoint, Receipt, Report, Status, UnixMillis};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    MessagesVersion,
    problem::code_url,
    request::{Order, channel_name},
};

/// What is posted about `order`'s message when `receipt` is due.
pub(super) fn body(order: &Order, receipt: &Receipt) -> Value {
    let mut body = match order.webhook_version {
        MessagesVersion::V1 => v1(order, receipt),
        MessagesVersion::V0_1 => v0_1(order, receipt),
    };
    body["message_uuid"] = json!(receipt.provider_id);
    body["status"] = json!(match receipt.report {
        Report::Reached(status) => status.as_str(),
        Report::Failed(failure) => failure.as_str(),
    });
    if let Some(client_ref) = &order.client_ref {
        body["client_ref"] = json!(client_ref);
    }
    if let Some(usage) = &receipt.usage {
        body["usage"] = json!({ "currency": usage.currency, "price": usage.price });
    }
    body
}

fn v1(order: &Order, receipt: &Receipt) -> Value {
    let mut body = json!({
        "channel": channel_name(MessagesVersion::V1, &order.channel),
        "to": order.to.value(),
        "from": order.from.value(),
        "timestamp": format!("{:.0}", timestamp(receipt.provider_time)),
    });
    if let Some(code) = code(receipt) {
        body["error"] = json!({
            "type": code_url(code),
            "title": code.to_string(),
            "detail": receipt.detail,
            "instance": receipt.provider_id,
        });
    }
    if order.channel == Channel::SMS || order.channel == Channel::MMS {
        body["destination"] = json!({ "network_code": "12345" });
    }
    if order.channel == Channel::SMS {
        body["sms"] = json!({ "count_total": "1" });
    }
    if order.channel == Channel::WHATSAPP && receipt.report == Report::Reached(Status::Delivered) {
        body["whatsapp"] = json!({
            "pricing": { "type": "regular", "pricing_model": "PMP", "category": "utility" },
            "conversation": { "id": receipt.provider_id, "origin": { "type": "utility" } },
        });
    }
    body
}

fn v0_1(order: &Order, receipt: &Receipt) -> Value {
    let mut body = json!({
        "to": party(&order.channel, &order.to),
        "from": party(&order.channel, &order.from),
        "timestamp": format!("{:.3}", timestamp(receipt.provider_time)),
    });
    if let Some(code) = code(receipt) {
        body["error"] = json!({ "code": code, "reason": receipt.detail });
    }
    body
}

pub(super) fn party(channel: &Channel, endpoint: &Endpoint) -> Value {
    let kind = channel_name(MessagesVersion::V0_1, channel);
    match endpoint {
        Endpoint::Id(id) => json!({ "type": kind, "id": id }),
        Endpoint::Number(number) => json!({ "type": kind, "number": number }),
    }
}

/// The code as the script had it.
fn code(receipt: &Receipt) -> Option<u16> {
    receipt.code.as_deref()?.parse().ok()
}

pub(super) fn timestamp(at: Option<UnixMillis>) -> Timestamp {
    let ms = i64::try_from(at.unwrap_or_default().0).unwrap_or(i64::MAX);
    // A clock beyond the year 9999 is no reason to fail.
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}
