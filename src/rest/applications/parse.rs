//! From the JSON of the old Application API to what an application is to be.
//!
//! Fields that nobody here knows are passed over, as the old API did: clients send back whole answers.
//! Secrets among them are held against those that there are ([`echoed`]).

use dispatch_contract::Secret;
use serde_json::{Map, Value};

use crate::{
    access::{
        ApplicationSpec, MessagesSpec, Name, PayloadVersion, PublicKey, ReturnedSecrets, Signing,
        Webhook,
    },
    rest::request::Faults,
};

/// The most that capabilities may take which nothing here uses, in bytes of JSON.
const OTHERS_BYTES: usize = 16 * 1024;

/// What a body asks for.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn application(body: &Map<String, Value>) -> Result<ApplicationSpec, Faults> {
    let mut faults = Faults::default();
    let name = match body.get("name") {
        None | Some(Value::Null) => {
            faults.add("name", "is required");
            None
        }
        given => faults.text("name", given).and_then(|text| faults.take("name", Name::parse(text))),
    };
    let keys = faults.object("keys", body.get("keys"));
    let key = keys.and_then(|keys| faults.text("keys.public_key", keys.get("public_key")));
    let public_key = key.and_then(|key| faults.take("keys.public_key", PublicKey::parse(key)));
    let capabilities = faults.object("capabilities", body.get("capabilities"));
    let messages = capabilities.and_then(|all| messages(all.get("messages"), &mut faults));
    let other_capabilities = capabilities.and_then(|all| others(all, &mut faults));
    let privacy = faults.object("privacy", body.get("privacy"));
    let improve_ai = match privacy.and_then(|privacy| privacy.get("improve_ai")) {
        None | Some(Value::Null) => None,
        Some(Value::Bool(is_so)) => Some(*is_so),
        Some(_) => {
            faults.add("privacy.improve_ai", "must be true or false");
            None
        }
    };
    match name {
        Some(name) if faults.0.is_empty() => Ok(ApplicationSpec {
            name,
            public_key,
            renew_key: false,
            messages,
            // A PUT says all there is to be.
            other_capabilities: Some(other_capabilities.unwrap_or_else(|| "{}".to_owned())),
            improve_ai: Some(improve_ai.unwrap_or(false)),
            // Not told in the old API's words.
            is_default: None,
        }),
        Some(_) | None => Err(faults),
    }
}

/// The secrets in a body: what an earlier answer held, and nothing that could be set.
pub(super) fn echoed(body: &Map<String, Value>) -> ReturnedSecrets {
    let secret = |at: &[&str]| {
        let (last, way) = at.split_last()?;
        let mut path = body;
        for key in way {
            path = path.get(*key)?.as_object()?;
        }
        path.get(*last)?.as_str().map(Secret::new)
    };
    ReturnedSecrets {
        private_key: secret(&["keys", "private_key"]),
        callback_secret: secret(&["capabilities", "messages", "signing", "secret"]),
    }
}

fn messages(value: Option<&Value>, faults: &mut Faults) -> Option<MessagesSpec> {
    let messages = faults.object("capabilities.messages", value)?;
    let webhooks = faults.object("capabilities.messages.webhooks", messages.get("webhooks"));
    let mut webhook = |name: &str| {
        webhooks.and_then(|webhooks| {
            let path = format!("capabilities.messages.webhooks.{name}");
            webhook(&path, webhooks.get(name), faults)
        })
    };
    let (inbound, status) = (webhook("inbound_url"), webhook("status_url"));
    let path = "capabilities.messages.version";
    let payload_version = match faults.text(path, messages.get("version")) {
        None => PayloadVersion::default(),
        Some(name) => faults
            .take(path, PayloadVersion::named(name).ok_or("must be one of: v0.1, v1"))
            .unwrap_or_default(),
    };
    let path = "capabilities.messages.authenticate_inbound_media";
    match messages.get("authenticate_inbound_media") {
        None | Some(Value::Null | Value::Bool(false)) => {}
        Some(_) => faults.add(path, "is not offered here; leave it out"),
    }
    let path = "capabilities.messages.signing";
    let signing = faults.object(path, messages.get("signing"));
    let path = "capabilities.messages.signing.secret";
    signing.and_then(|signing| faults.text(path, signing.get("secret")));
    let path = "capabilities.messages.signing.method";
    let method = signing.and_then(|signing| faults.text(path, signing.get("method")));
    let signing = match method {
        None => Signing::default(),
        Some(name) => faults
            .take(path, Signing::named(name).ok_or("must be one of: jwt, standard_webhooks"))
            .unwrap_or_default(),
    };
    Some(MessagesSpec { inbound, status, payload_version, signing })
}

fn webhook(path: &str, value: Option<&Value>, faults: &mut Faults) -> Option<Webhook> {
    let webhook = faults.object(path, value)?;
    let method = format!("{path}.http_method");
    match faults.text(&method, webhook.get("http_method")) {
        Some(name) if !name.eq_ignore_ascii_case("POST") => {
            faults.add(method, "must be one of: POST");
        }
        Some(_) | None => {}
    }
    let path = format!("{path}.address");
    match webhook.get("address") {
        None | Some(Value::Null) => {
            faults.add(path, "is required");
            None
        }
        given => {
            let text = faults.text(&path, given)?;
            faults.take(&path, Webhook::parse(text))
        }
    }
}

/// The capabilities that nothing here uses, as JSON.
fn others(all: &Map<String, Value>, faults: &mut Faults) -> Option<String> {
    let others = all.iter().filter(|(name, value)| *name != "messages" && !value.is_null());
    let mut kept = Map::new();
    for (name, value) in others {
        if value.is_object() {
            kept.insert(name.clone(), value.clone());
        } else {
            faults.add(format!("capabilities.{name}"), "must be an object");
        }
    }
    let text = Value::Object(kept).to_string();
    if text.len() > OTHERS_BYTES {
        faults.add("capabilities", "may take 16 KiB besides messages");
    }
    Some(text)
}
