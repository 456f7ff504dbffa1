//! The answer to a send, and the webhooks that tell what became of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dispatch_contract::{Endpoint, Receipt, Report, Status};
use serde_json::{Value, json};

use super::{codes, request::MetaOrder};

/// The answer to a message that was taken.
pub(super) fn accepted(order: &MetaOrder, id: &str) -> Value {
    if order.is_messenger() {
        return json!({ "recipient_id": order.to.value(), "message_id": message_id(order, id) });
    }
    json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": order.to.value(), "wa_id": order.to.value() }],
        "messages": [{ "id": message_id(order, id), "message_status": "accepted" }],
    })
}

/// What is posted when `receipt` is due; `None` where Meta tells nothing of the kind.
pub(super) fn webhook(order: &MetaOrder, receipt: &Receipt) -> Option<Value> {
    match order.is_messenger() {
        true => messenger(order, receipt),
        false => whatsapp(order, receipt),
    }
}

/// Meta's ids look unlike ours, and those of WhatsApp hold whom the message is for.
pub(super) fn message_id(order: &MetaOrder, id: &str) -> String {
    let id = id.replace('-', "");
    if order.is_messenger() {
        return format!("m_{id}");
    }
    let mut bytes = vec![0x1c];
    for (before, text) in [(&[0x18][..], order.to.value()), (&[0x15, 2, 0, 0x11, 0x18], &id)] {
        bytes.extend_from_slice(before);
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.push(0);
    format!("wamid.{}", STANDARD.encode(bytes))
}

fn whatsapp(order: &MetaOrder, receipt: &Receipt) -> Option<Value> {
    let status = match receipt.report {
        Report::Reached(Status::Submitted) => "sent",
        Report::Reached(Status::Delivered) => "delivered",
        Report::Reached(Status::Read) => "read",
        Report::Reached(Status::Pending | Status::Replied) => return None,
        Report::Failed(_) => "failed",
    };
    let seconds = receipt.provider_time.unwrap_or_default().0 / 1_000;
    let id = message_id(order, receipt.provider_id.as_deref()?);
    let mut item = json!({ "id": id, "status": status, "timestamp": seconds.to_string() });
    // A person who hides the number has none here either.
    if let Endpoint::Number(number) = &order.to {
        item["recipient_id"] = json!(number);
    }
    if let Some(ours) = &order.ours {
        item["biz_opaque_callback_data"] = json!(ours);
    }
    if let Report::Failed(_) = receipt.report {
        let code = receipt.code.as_deref().and_then(|code| code.parse().ok());
        let code = code.map_or(131_000, codes::graph);
        let data = json!({ "details": "Message failed" });
        item["errors"] = json!([{ "code": code, "title": "Message failed", "error_data": data }]);
    }
    Some(of_whatsapp(order, "statuses", &item))
}

/// A webhook about the conversation of a number and a person on WhatsApp.
pub(super) fn of_whatsapp(order: &MetaOrder, kind: &str, item: &Value) -> Value {
    let mut contact = json!({ "profile": { "name": "Ada" } });
    match &order.to {
        Endpoint::Number(number) => contact["wa_id"] = json!(number),
        Endpoint::Id(id) => contact["user_id"] = json!(id),
    }
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15550783881", "phone_number_id": order.sender },
        "contacts": [contact],
        kind: [item],
    });
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "102290129340398", "changes": [{ "field": "messages", "value": value }] }],
    })
}

fn messenger(order: &MetaOrder, receipt: &Receipt) -> Option<Value> {
    let at = receipt.provider_time.unwrap_or_default().0;
    let mid = message_id(order, receipt.provider_id.as_deref()?);
    let (name, what) = match receipt.report {
        Report::Reached(Status::Submitted) => {
            let echo = json!({ "is_echo": true, "mid": mid, "app_id": 1, "metadata": order.ours });
            ("message", echo)
        }
        Report::Reached(Status::Delivered) => {
            ("delivery", json!({ "mids": [mid], "watermark": at }))
        }
        Report::Reached(Status::Read) => ("read", json!({ "watermark": at })),
        Report::Reached(Status::Pending | Status::Replied) | Report::Failed(_) => return None,
    };
    // An echo is the page's own.
    let is_by_person = name != "message";
    Some(of_messenger(order, is_by_person, at, (name, &what)))
}

/// A webhook with one event between a page and a person, whoever of them it is by.
pub(super) fn of_messenger(
    order: &MetaOrder,
    is_by_person: bool,
    at: u64,
    (name, what): (&str, &Value),
) -> Value {
    let (person, page) = (json!({ "id": order.to.value() }), json!({ "id": order.sender }));
    let (sender, recipient) = if is_by_person { (person, page) } else { (page, person) };
    let event = json!({ "sender": sender, "recipient": recipient, "timestamp": at, name: what });
    json!({
        "object": "page",
        "entry": [{ "id": order.sender, "time": at, "messaging": [event] }],
    })
}
