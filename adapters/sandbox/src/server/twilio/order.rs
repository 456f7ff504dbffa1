//! Reads the form of a send.
//!
//! Only what finds a caller that builds its requests wrongly, not a second copy of the provider's rules.
//! Unknown parameters are no mistake.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use dispatch_contract::{AddressForm, Channel, Endpoint};
use serde_json::{Value, json};
use url::form_urlencoded::parse as fields;
use uuid::Uuid;

use super::refusal::TwilioRefusal;
use crate::server::shared::is_web_address;

/// The longest `Body`, in characters, and `StatusCallback`, in bytes.
const BODY_CHARS: usize = 1_600;
const CALLBACK_BYTES: usize = 4_000;
const MOST_MEDIA: usize = 10;
/// Seconds.
const LONGEST_VALIDITY: u32 = 36_000;

/// A send.
#[derive(Debug)]
pub(super) struct TwilioOrder {
    pub(super) channel: Channel,
    pub(super) recipient: Endpoint,
    /// As they stood in the form.
    pub(super) to: String,
    pub(super) from: Option<String>,
    pub(super) body: Option<String>,
    pub(super) media_count: usize,
    pub(super) messaging_service_sid: Option<String>,
    /// Without its fragment.
    pub(super) status_callback: Option<String>,
    /// What the caller calls it, in the query of that URL.
    pub(super) client_ref: Option<String>,
}

impl TwilioOrder {
    /// What the caller is told of a message that was taken.
    pub(super) fn created(&self, account_sid: &str, sid: &str) -> Value {
        let status = if self.messaging_service_sid.is_some() { "accepted" } else { "queued" };
        json!({
            "account_sid": account_sid,
            "api_version": "2010-04-01",
            "body": self.body,
            "direction": "outbound-api",
            "error_code": null,
            "error_message": null,
            "from": self.from,
            "messaging_service_sid": self.messaging_service_sid,
            "num_media": self.media_count.to_string(),
            "num_segments": "1",
            "sid": sid,
            "status": status,
            "to": self.to,
            "uri": format!("/2010-04-01/Accounts/{account_sid}/Messages/{sid}.json"),
        })
    }
}

/// Reads the body of a send.
pub(super) fn parse(body: &[u8]) -> Result<TwilioOrder, TwilioRefusal> {
    let all = |name: &'static str| {
        fields(body).filter(move |(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let one = |name: &'static str| all(name).find(|value| !value.is_empty());
    let refused = |code, message: &str| TwilioRefusal::new(StatusCode::BAD_REQUEST, code, message);

    let to = one("To").ok_or_else(|| refused(21_604, "A 'To' phone number is required."))?;
    let (from, messaging_service_sid) = (one("From"), one("MessagingServiceSid"));
    if from.is_none() && messaging_service_sid.is_none() {
        return Err(refused(21_603, "A 'From' phone number is required."));
    }
    let (text, media_count) = (one("Body"), all("MediaUrl").count());
    let content = one("ContentSid");
    match (&text, media_count, &content) {
        (None, 0, None) => return Err(refused(21_619, "A text, media or a template is required.")),
        (Some(_), _, Some(_)) | (_, 1.., Some(_)) => {
            return Err(TwilioRefusal::invalid("ContentSid"));
        }
        (Some(text), _, _) if text.chars().count() > BODY_CHARS => {
            return Err(refused(21_617, "The message body is too long."));
        }
        (_, count, _) if count > MOST_MEDIA => return Err(refused(21_623, "Too many media.")),
        (Some(_) | None, _, _) => {}
    }
    if content.is_some_and(|sid| !is_sid(&sid, "HX")) {
        return Err(TwilioRefusal::invalid("ContentSid"));
    }
    let are_variables = |text: &String| {
        let object: Option<BTreeMap<String, String>> = serde_json::from_str(text).ok();
        object.is_some()
    };
    if one("ContentVariables").is_some_and(|text| !are_variables(&text)) {
        return Err(refused(21_656, "The 'ContentVariables' are not valid."));
    }
    if all("PersistentAction").any(|action| !is_place(&action)) {
        return Err(TwilioRefusal::invalid("PersistentAction"));
    }
    let is_validity =
        |text: &String| text.parse().is_ok_and(|it: u32| (1..=LONGEST_VALIDITY).contains(&it));
    if one("ValidityPeriod").is_some_and(|text| !is_validity(&text)) {
        return Err(TwilioRefusal::invalid("ValidityPeriod"));
    }
    let is_mms = media_count > 0 || one("SendAsMms").as_deref() == Some("true");
    let (channel, number) = channel(&to, is_mms);
    if from.as_ref().is_some_and(|from| scheme(from) != scheme(&to)) {
        return Err(refused(30_016, "Sender and recipient are of different channels."));
    }
    let number = number.strip_prefix('+').unwrap_or_default();
    let recipient = Endpoint::Number(number.to_owned());
    if !AddressForm::E164.admits(&recipient) {
        return Err(refused(21_211, "The 'To' number is not valid."));
    }
    let status_callback = match one("StatusCallback") {
        Some(url) if !is_callback(&url) => {
            return Err(refused(21_609, "The 'StatusCallback' URL is not valid."));
        }
        // It says how to repeat, and is never sent.
        Some(url) => Some(url.split_once('#').map_or(url.clone(), |(url, _)| url.to_owned())),
        None => None,
    };
    let client_ref = status_callback.as_deref().and_then(client_ref);
    Ok(TwilioOrder {
        channel,
        recipient,
        to,
        from,
        body: text,
        media_count,
        messaging_service_sid,
        status_callback,
        client_ref,
    })
}

/// Whether an action is a place: `geo:LATITUDE,LONGITUDE|LABEL`.
fn is_place(action: &str) -> bool {
    let place = action.strip_prefix("geo:").and_then(|place| place.split('|').next());
    let degrees = place.and_then(|place| place.split_once(','));
    degrees.is_some_and(|(one, other)| one.parse::<f64>().is_ok() && other.parse::<f64>().is_ok())
}

/// A message's SID, of the provider's id of it.
pub(super) fn sid(channel: &Channel, provider_id: &str) -> String {
    let kind = if *channel == Channel::MMS { "MM" } else { "SM" };
    format!("{kind}{}", provider_id.replace('-', ""))
}

/// The provider's id behind a message's SID.
pub(super) fn provider_id(sid: &str) -> Option<String> {
    let digits = sid.strip_prefix("SM").or_else(|| sid.strip_prefix("MM"))?;
    Uuid::try_parse(digits).ok().map(|id| id.to_string())
}

fn is_sid(text: &str, kind: &str) -> bool {
    let digits = text.strip_prefix(kind);
    digits.is_some_and(|it| it.len() == 32 && it.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What stands in front of an address on a channel beside SMS and MMS.
fn scheme(address: &str) -> Option<&str> {
    address.split_once(':').map(|(scheme, _)| scheme)
}

fn channel(to: &str, is_mms: bool) -> (Channel, &str) {
    match to.split_once(':') {
        Some(("whatsapp", number)) => (Channel::WHATSAPP, number),
        Some(("rcs", number)) => (Channel::RCS, number),
        Some(_) | None if is_mms => (Channel::MMS, to),
        Some(_) | None => (Channel::SMS, to),
    }
}

fn is_callback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    url.len() <= CALLBACK_BYTES
        && is_web_address(url)
        && host.is_some_and(|host| !host.contains('_'))
}

fn client_ref(url: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let mut fields = fields(query.as_bytes());
    fields.find_map(|(name, value)| (name == "attempt").then(|| value.into_owned()))
}
