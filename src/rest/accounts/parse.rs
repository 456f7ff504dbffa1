//! From the JSON of the old External Accounts API to what is to become of an account.

use dispatch_contract::Channel;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    access::{AccountChange, AccountToken, ExternalId, Name, NewAccount, needs_token},
    rest::request::Faults,
};

/// What a new account is to be.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn new(channel: Channel, body: &Map<String, Value>) -> Result<NewAccount, Faults> {
    let mut faults = Faults::default();
    let external_id = match body.get("external_id") {
        None | Some(Value::Null) => {
            faults.add("external_id", "Missing `external_id` field");
            None
        }
        given => faults
            .text("external_id", given)
            .and_then(|text| faults.take("external_id", ExternalId::parse(&channel, text))),
    };
    let token = token(body, &mut faults);
    let is_given = body.get("access_token").is_some_and(|token| !token.is_null());
    if needs_token(&channel) && !is_given {
        faults.add("access_token", "Missing `access_token` field");
    }
    let name = name(body, &mut faults).flatten();
    let application = application(body, &mut faults).flatten();
    match external_id {
        Some(external_id) if faults.0.is_empty() => {
            Ok(NewAccount { channel, external_id, name, token, application })
        }
        Some(_) | None => Err(faults),
    }
}

/// What is to change of an account. Clients send back whole answers: what cannot be changed may stand in
/// it as it is (`fixed`), and so may what hides a token.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn change(
    body: &Map<String, Value>,
    fixed: [(&str, &str); 3],
) -> Result<AccountChange, Faults> {
    let mut faults = Faults::default();
    for (key, present) in fixed {
        if body.get(key).is_some_and(|given| given.as_str() != Some(present)) {
            faults.add(key, format!("'{key}' parameter cannot be changed"));
        }
    }
    let is_hidden =
        body.get("access_token").and_then(Value::as_str) == Some(AccountToken::REDACTED);
    let change = AccountChange {
        name: name(body, &mut faults),
        token: if is_hidden { None } else { token(body, &mut faults) },
        application: application(body, &mut faults),
    };
    if faults.0.is_empty() { Ok(change) } else { Err(faults) }
}

/// The application to link.
///
/// # Errors
/// What is wrong with it.
pub(super) fn link(body: &Map<String, Value>) -> Result<Uuid, Faults> {
    let mut faults = Faults::default();
    let id = match body.get("application") {
        None | Some(Value::Null) => {
            faults.add("application", "Missing `application` field");
            None
        }
        given => faults.text("application", given).and_then(|text| {
            faults.take(
                "application",
                Uuid::try_parse(text).map_err(|_| "must be an application's id"),
            )
        }),
    };
    id.ok_or(faults)
}

fn token(body: &Map<String, Value>, faults: &mut Faults) -> Option<AccountToken> {
    let text = faults.text("access_token", body.get("access_token"))?;
    faults.take("access_token", AccountToken::parse(text))
}

/// The name, if it is given; an empty one takes it away.
fn name(body: &Map<String, Value>, faults: &mut Faults) -> Option<Option<Name>> {
    match faults.text("name", body.get("name"))? {
        "" => Some(None),
        text => faults.take("name", Name::parse(text)).map(Some),
    }
}

/// The application in the list of them, if that is given; an empty list holds none.
fn application(body: &Map<String, Value>, faults: &mut Faults) -> Option<Option<Uuid>> {
    let one_at_most = "must be a list of at most one application's id";
    match body.get("applications") {
        None | Some(Value::Null) => None,
        Some(Value::Array(ids)) => match &ids[..] {
            [] => Some(None),
            [id] => {
                let id = id.as_str().and_then(|id| Uuid::try_parse(id).ok());
                let id = id.ok_or("must be an application's id");
                faults.take("applications[0]", id).map(Some)
            }
            [_, _, ..] => {
                faults.add("applications", one_at_most);
                None
            }
        },
        Some(_) => {
            faults.add("applications", one_at_most);
            None
        }
    }
}
