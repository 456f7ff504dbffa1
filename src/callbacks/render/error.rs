//! What was wrong with a message, in the codes of the Messages API.
//!
//! A provider's code is passed on where it is one of those (four digits from 1000). Another provider's
//! goes into the added field `provider_code`, and the code beside it is the nearest there is.

use serde_json::{Map, Value, json};

use crate::{callbacks::telling::Trouble, machine::Reason};

/// Where the codes are explained.
const EXPLAINED: &str = "https://developer.vonage.com/api-errors/messages";

/// `{code, reason}`
pub(super) fn v01(trouble: &Trouble) -> Value {
    let mut error = Map::new();
    error.insert("code".to_owned(), code(trouble).into());
    error.insert("reason".to_owned(), trouble.detail.as_str().into());
    with_provider_code(error, trouble)
}

/// `{type, title, detail, instance}`, whose title is the code.
pub(super) fn v1(trouble: &Trouble, instance: &str) -> Value {
    let code = code(trouble);
    let mut error = Map::new();
    error.insert("type".to_owned(), format!("{EXPLAINED}#{code}").into());
    error.insert("title".to_owned(), code.to_string().into());
    error.insert("detail".to_owned(), trouble.detail.as_str().into());
    error.insert("instance".to_owned(), json!(instance));
    with_provider_code(error, trouble)
}

fn with_provider_code(mut error: Map<String, Value>, trouble: &Trouble) -> Value {
    if let Some(code) = &trouble.code
        && messages_code(trouble).is_none()
    {
        error.insert("provider_code".to_owned(), code.as_str().into());
    }
    error.into()
}

fn code(trouble: &Trouble) -> u16 {
    messages_code(trouble).unwrap_or_else(|| nearest(trouble.reason))
}

fn messages_code(trouble: &Trouble) -> Option<u16> {
    let code: u16 = trouble.code.as_ref()?.parse().ok()?;
    (1000..2000).contains(&code).then_some(code)
}

fn nearest(reason: Reason) -> u16 {
    match reason {
        // Unable to route to destination.
        Reason::NoRoute => 1251,
        // Illegal number: the person opted out.
        Reason::OptedOut => 1240,
        // Throttled.
        Reason::NotSentInTime | Reason::RouteSaturated => 1000,
        // The provider does not respond.
        Reason::RetriesExhausted => 1331,
        // TTL was activated.
        Reason::DeadlineExceeded | Reason::Expired => 1360,
        // Unknown error at the carrier.
        Reason::Rejected
        | Reason::Undeliverable
        | Reason::OutcomeUnknown
        | Reason::NoReceipts
        | Reason::NoConfirmation
        | Reason::Canceled
        | Reason::ConditionMet
        | Reason::LateConditionMet => 1330,
    }
}
