//! Why a message failed, in the codes of the Messages API.
//!
//! A provider's code is passed on where it is one of those (four digits from 1000). Another provider's
//! goes into the added field `provider_code`, and the code beside it is the nearest there is.

use serde_json::{Map, Value, json};

use crate::{callbacks::notification::MessageFailure, machine::Reason};

/// Where the codes are explained.
const EXPLAINED: &str = "https://developer.vonage.com/api-errors/messages";

/// `{code, reason}`
pub(super) fn v01(failure: &MessageFailure) -> Value {
    let mut error = Map::new();
    error.insert("code".to_owned(), code(failure).into());
    error.insert("reason".to_owned(), failure.detail.as_str().into());
    with_provider_code(error, failure)
}

/// `{type, title, detail, instance}`, whose title is the code.
pub(super) fn v1(failure: &MessageFailure, instance: &str) -> Value {
    let code = code(failure);
    let mut error = Map::new();
    error.insert("type".to_owned(), format!("{EXPLAINED}#{code}").into());
    error.insert("title".to_owned(), code.to_string().into());
    error.insert("detail".to_owned(), failure.detail.as_str().into());
    error.insert("instance".to_owned(), json!(instance));
    with_provider_code(error, failure)
}

fn with_provider_code(mut error: Map<String, Value>, failure: &MessageFailure) -> Value {
    if let Some(code) = &failure.code
        && messages_code(failure).is_none()
    {
        error.insert("provider_code".to_owned(), code.as_str().into());
    }
    error.into()
}

fn code(failure: &MessageFailure) -> u16 {
    messages_code(failure).unwrap_or_else(|| nearest(failure.reason))
}

fn messages_code(failure: &MessageFailure) -> Option<u16> {
    let code: u16 = failure.code.as_ref()?.parse().ok()?;
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
