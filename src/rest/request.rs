//! What a request for applications or accounts brings, a JSON object and a query, and its answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use super::{InvalidParameter, Problem, body};
use crate::fair::DiskTurns;

/// How many faults an answer names: it is not to be much larger than its request.
const FAULTS_MOST: usize = 40;

/// An answer: JSON.
#[derive(Debug)]
pub(super) struct JsonAnswer(pub(super) StatusCode, pub(super) Value);

impl IntoResponse for JsonAnswer {
    fn into_response(self) -> Response {
        body::answer(self.0, &self.1)
    }
}

/// What is wrong with a body, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<InvalidParameter>);

impl Faults {
    /// One more; of very many only the first are told.
    pub(super) fn add(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        if self.0.len() < FAULTS_MOST {
            self.0.push(InvalidParameter { name: name.into(), reason: reason.into() });
        }
    }

    /// The value, or `None` and a fault.
    pub(super) fn take<T>(&mut self, name: &str, read: Result<T, impl ToString>) -> Option<T> {
        read.map_err(|reason| self.add(name, reason.to_string())).ok()
    }

    /// The field as an object; an absent or null one is none.
    pub(super) fn object<'a>(
        &mut self,
        name: &str,
        value: Option<&'a Value>,
    ) -> Option<&'a Map<String, Value>> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(object)) => Some(object),
            Some(_) => {
                self.add(name, "must be an object");
                None
            }
        }
    }

    /// The field as a text; an absent or null one is none.
    pub(super) fn text<'a>(&mut self, name: &str, value: Option<&'a Value>) -> Option<&'a str> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.add(name, "must be a string");
                None
            }
        }
    }
}

/// The JSON object that a request's body holds.
///
/// # Errors
/// As [`body::json`], and 422 for JSON of another kind.
pub(super) async fn object(
    headers: &HeaderMap,
    body: Body,
    timeout: Duration,
) -> Result<Map<String, Value>, Problem> {
    match body::json(headers, body, timeout).await? {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Problem::invalid_json("The body must be a JSON object".to_owned()))
        }
    }
}

/// The parameters of a query; of two with one name the last counts.
pub(super) fn query(uri: &Uri) -> BTreeMap<String, String> {
    let query = format!("http://localhost/?{}", uri.query().unwrap_or(""));
    let url = reqwest::Url::parse(&query);
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

/// A number of a query, from 1 to `most`; `usual` if it is not given.
pub(super) fn number(
    query: &BTreeMap<String, String>,
    name: &str,
    usual: usize,
    most: usize,
    faults: &mut Faults,
) -> usize {
    let Some(text) = query.get(name) else { return usual };
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => number,
        Ok(_) | Err(_) => {
            faults.add(name, format!("must be between 1 and {most}"));
            usual
        }
    }
}

/// Does what waits for the disk beside the runtime's own threads, in the tenant's turn.
///
/// # Errors
/// 500 after a panic in it.
pub(super) async fn beside<T: Send + 'static>(
    turns: &DiskTurns,
    tenant: &Arc<str>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    turns.change(tenant, work).await.map_err(|_| Problem::internal())
}
