//! From applications to the JSON of the old Application API.

use serde_json::{Map, Value, json};

use crate::access::{Application, MessagesCapability, Webhook, Written};

/// An application, without any secret.
pub(super) fn application(application: &Application) -> Value {
    let Application { id, name, public_key, messages, other_capabilities, improve_ai, .. } =
        application;
    // What was kept was JSON when it came.
    let mut capabilities: Map<String, Value> =
        serde_json::from_str(other_capabilities).unwrap_or_default();
    if let Some(messages) = messages {
        capabilities.insert("messages".to_owned(), self::messages(messages));
    }
    json!({
        "id": id,
        "name": name,
        "keys": { "public_key": public_key },
        "capabilities": capabilities,
        "privacy": { "improve_ai": improve_ai },
        "_links": { "self": { "href": format!("/v2/applications/{id}") } },
    })
}

/// An application, with the secrets that are told only now.
pub(super) fn written(written: &Written) -> Value {
    let mut shown = application(&written.application);
    if let Some(key) = &written.private_key {
        shown["keys"]["private_key"] = Value::from(key.expose());
    }
    if let Some(secret) = &written.callback_secret {
        shown["capabilities"]["messages"]["signing"]["secret"] = Value::from(secret.expose());
    }
    shown
}

/// Page `page` of `count` applications, `size` a page.
pub(super) fn page(shown: &[Application], count: usize, page: usize, size: usize) -> Value {
    let shown: Vec<_> = shown.iter().map(application).collect();
    let last = count.div_ceil(size).max(1);
    let link =
        |page: usize| json!({ "href": format!("/v2/applications?page_size={size}&page={page}") });
    let mut links = json!({ "self": link(page), "first": link(1), "last": link(last) });
    if page > 1 {
        links["prev"] = link(page - 1);
    }
    if page < last {
        links["next"] = link(page + 1);
    }
    json!({
        "page_size": size,
        "page": page,
        "total_items": count,
        "total_pages": count.div_ceil(size),
        "_embedded": { "applications": shown },
        "_links": links,
    })
}

fn messages(messages: &MessagesCapability) -> Value {
    let mut webhooks = Map::new();
    for (name, webhook) in [("inbound_url", &messages.inbound), ("status_url", &messages.status)] {
        if let Some(Webhook { address }) = webhook {
            let shown = json!({ "address": address, "http_method": "POST" });
            webhooks.insert(name.to_owned(), shown);
        }
    }
    json!({
        "webhooks": webhooks,
        "version": messages.payload_version.as_str(),
        "signing": { "method": messages.signing.as_str() },
    })
}
