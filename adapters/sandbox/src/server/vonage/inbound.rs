//! The body of a webhook with what a person answers, in both of its forms.

use dispatch_contract::{Channel, Receipt};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    MessagesVersion,
    request::{Order, channel_name},
    status::{party, timestamp},
};
use crate::reply;

/// What is posted when the person who has `order`'s message answers it, in a message that is called `id`.
pub(super) fn body(order: &Order, receipt: &Receipt, id: Uuid) -> Value {
    let at = timestamp(receipt.provider_time);
    let context = json!({ "message_uuid": receipt.provider_id });
    match order.webhook_version {
        MessagesVersion::V1 => {
            let mut body = json!({
                "channel": channel_name(MessagesVersion::V1, &order.channel),
                "message_uuid": id.to_string(),
                "to": order.from.value(),
                "from": order.to.value(),
                "timestamp": format!("{at:.0}"),
                "message_type": "text",
                "text": reply::TEXT,
                "context": context,
            });
            if order.channel == Channel::WHATSAPP {
                body["context_status"] = json!("available");
            }
            body
        }
        MessagesVersion::V0_1 => json!({
            "message_uuid": id.to_string(),
            "to": party(&order.channel, &order.from),
            "from": party(&order.channel, &order.to),
            "timestamp": format!("{at:.3}"),
            "message": { "content": { "type": "text", "text": reply::TEXT }, "context": context },
        }),
    }
}
