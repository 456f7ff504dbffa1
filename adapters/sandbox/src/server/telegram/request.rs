//! Reads the parameters of a method.
//!
//! Only what finds a caller that builds its requests wrongly, not a second copy of the provider's rules.

use dispatch_contract::{AddressForm, Channel, Endpoint};
use serde_json::Value;

use super::{GatewayProblem, refused};
use crate::server::shared::is_web_address;

/// The longest payload and URL for reports, in bytes.
const PAYLOAD_BYTES: usize = 128;
const CALLBACK_BYTES: usize = 256;
/// Seconds.
const TTL_S: std::ops::RangeInclusive<u64> = 30..=3_600;

/// A send.
#[derive(Debug)]
pub(super) struct CodeOrder {
    pub(super) channel: Channel,
    pub(super) to: Endpoint,
    pub(super) payload: Option<String>,
    pub(super) callback_url: Option<String>,
}

/// The parameters of a send.
pub(super) fn parse(body: &Value) -> Result<CodeOrder, GatewayProblem> {
    let to = phone_number(body)?;
    let is_code =
        |code: &str| (4..=8).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
    if !text(body, "code").is_some_and(is_code) {
        return Err(refused("CODE_INVALID"));
    }
    if body.get("ttl").is_some_and(|ttl| !ttl.as_u64().is_some_and(|ttl| TTL_S.contains(&ttl))) {
        return Err(refused("TTL_INVALID"));
    }
    let payload = text(body, "payload").map(str::to_owned);
    if payload.as_ref().is_some_and(|payload| payload.len() > PAYLOAD_BYTES) {
        return Err(refused("PAYLOAD_INVALID"));
    }
    let callback_url = text(body, "callback_url").map(str::to_owned);
    let is_callback = |url: &String| url.len() <= CALLBACK_BYTES && is_web_address(url);
    if callback_url.as_ref().is_some_and(|url| !is_callback(url)) {
        return Err(refused("CALLBACK_URL_INVALID"));
    }
    Ok(CodeOrder { channel: Channel::named("telegram"), to, payload, callback_url })
}

/// Whose message it is.
pub(super) fn phone_number(body: &Value) -> Result<Endpoint, GatewayProblem> {
    let number = text(body, "phone_number").and_then(|number| number.strip_prefix('+'));
    let number = number.map(|number| Endpoint::Number(number.to_owned()));
    number
        .filter(|number| AddressForm::E164.admits(number))
        .ok_or_else(|| refused("PHONE_NUMBER_INVALID"))
}

/// Which request it is about.
pub(super) fn request_id(body: &Value) -> Result<&str, GatewayProblem> {
    text(body, "request_id").ok_or_else(|| refused("REQUEST_ID_REQUIRED"))
}

fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name)?.as_str().filter(|text| !text.is_empty())
}
