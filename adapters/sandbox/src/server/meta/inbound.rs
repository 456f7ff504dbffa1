//! The webhooks with what a person answers.

use dispatch_contract::{Endpoint, Receipt};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    request::MetaOrder,
    status::{message_id, of_messenger, of_whatsapp},
};
use crate::reply;

/// What is posted when the person who has `order`'s message answers it, in a message that is called `id`.
pub(super) fn webhook(order: &MetaOrder, receipt: &Receipt, id: Uuid) -> Option<Value> {
    let (id, at) = (message_id(order, &id.to_string()), receipt.provider_time.unwrap_or_default());
    let quoted = message_id(order, receipt.provider_id.as_deref()?);
    if order.is_messenger() {
        let said = json!({ "mid": id, "text": reply::TEXT, "reply_to": { "mid": quoted } });
        return Some(of_messenger(order, true, at.0, ("message", &said)));
    }
    let mut said = json!({
        "id": id,
        "timestamp": (at.0 / 1_000).to_string(),
        "type": "text",
        "text": { "body": reply::TEXT },
        "context": { "from": "15550783881", "id": quoted },
    });
    let by = match &order.to {
        Endpoint::Number(_) => "from",
        // A person who hides the number has none here either.
        Endpoint::Id(_) => "from_user_id",
    };
    said[by] = json!(order.to.value());
    Some(of_whatsapp(order, "messages", &said))
}
