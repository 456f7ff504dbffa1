//! What was found while a request was read: what is wrong with it, and what was understood although
//! it is not written as it should be.
//!
//! No note repeats what the caller wrote, a key neither: names are paths of keys that are known here,
//! and the rest is ours.

use axum::http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

use super::InvalidParameter;
use crate::api::RequestViolation;

/// How many things a problem names.
const WRONG_MOST: usize = 40;
/// How many `Warning` headers an answer has: clients take about 16 KiB of headers.
const WARNINGS_MOST: usize = 20;

/// The diagnostics of one request.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    wrong: Vec<InvalidParameter>,
    coerced: Vec<String>,
    /// How many more were understood.
    more: usize,
}

impl Diagnostics {
    /// Diagnostics that `name` is wrong, and what would be right.
    pub(super) fn wrong(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.push(InvalidParameter { name: name.into(), reason: reason.into() });
    }

    /// Diagnostics that `name` was understood, and how it is written.
    pub(super) fn coerced(&mut self, name: &str, advice: &str) {
        let name = if name.is_empty() { "the body" } else { name };
        if self.coerced.len() < WARNINGS_MOST {
            self.coerced.push(format!("{name} {advice}"));
        } else {
            self.more += 1;
        }
    }

    /// Diagnostics what the caller should know beside its answer.
    pub(super) fn say(&mut self, text: &str) {
        self.coerced.push(text.to_owned());
    }

    fn push(&mut self, parameter: InvalidParameter) {
        // More would be cut off from the answer; a flood of them should cost nothing.
        if self.wrong.len() < WRONG_MOST {
            self.wrong.push(parameter);
        }
    }

    /// Diagnostics what the parser found, under the names of this API. What was already noted here about
    /// the same place, one around it or one within it explains the parser's; `name` leaves out what
    /// was noted under another name.
    pub(super) fn add(
        &mut self,
        found: Vec<RequestViolation>,
        name: impl Fn(&RequestViolation) -> Option<InvalidParameter>,
    ) {
        let here = self.wrong.len();
        for violation in &found {
            let Some(parameter) = name(violation) else { continue };
            let is_explained = self.wrong[..here].iter().any(|noted| {
                begins(&noted.name, &parameter.name) || begins(&parameter.name, &noted.name)
            });
            if !is_explained {
                self.push(parameter);
            }
        }
    }

    /// Whether something is wrong.
    pub(super) fn is_wrong(&self) -> bool {
        !self.wrong.is_empty()
    }

    /// All that is wrong; as many as an answer should hold.
    pub(super) fn take_wrong(&mut self) -> Vec<InvalidParameter> {
        std::mem::take(&mut self.wrong)
    }

    /// Adds a `Warning` header for each thing that was understood.
    pub(super) fn warn(&self, headers: &mut HeaderMap) {
        let last = (self.more > 0).then(|| format!("and {} more such things", self.more));
        for text in self.coerced.iter().chain(&last) {
            // Only ours and known keys are in it, so that this always is a header's value.
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
                headers.append(header::WARNING, value);
            }
        }
    }
}

/// Whether `path` is `key` or a place within it.
fn begins(path: &str, key: &str) -> bool {
    path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What kind of JSON value this is, for an error text.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
