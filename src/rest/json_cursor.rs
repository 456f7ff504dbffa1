//! An object of a request, at its path, and what its keys hold.
//!
//! `null` is as good as absent: clients write it where they have nothing. Whatever has another kind
//! than it should is noted, or coerced into shape where it has one clear meaning.

use serde_json::{Map, Value};

use super::diagnostics::{Diagnostics, kind_of};

/// Tells that a number stands where a text should.
const AS_TEXT: &str = "is a JSON number and was taken as text; write it as a string";
/// Tells that a text stands where a number should.
const AS_NUMBER: &str = "is a string and was taken as a number; write it as a JSON number";
/// Tells of a key that means nothing.
const UNKNOWN: &str = "has a key that means nothing here, and it was left out";

/// An object and its path from the body: `workflow[1].to`; empty for the body itself.
#[derive(Clone)]
pub(super) struct JsonCursor<'a> {
    pub(super) path: String,
    members: &'a Map<String, Value>,
}

impl<'a> JsonCursor<'a> {
    /// The body; noted if it is no object.
    pub(super) fn body(value: &'a Value, diagnostics: &mut Diagnostics) -> Option<JsonCursor<'a>> {
        let members = value.as_object();
        if members.is_none() {
            diagnostics.wrong("body", format!("must be a JSON object, and is {}", kind_of(value)));
        }
        members.map(|members| JsonCursor { path: String::new(), members })
    }

    /// The path of a key.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What stands under a key, `null` apart.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.members.get(key).filter(|value| !value.is_null())
    }

    /// The object under a key.
    pub(super) fn object(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<JsonCursor<'a>> {
        let value = self.get(key)?;
        JsonCursor::at(value, self.name(key), diagnostics)
    }

    /// The object that `value` is, at `path`.
    pub(super) fn at(
        value: &'a Value,
        path: String,
        diagnostics: &mut Diagnostics,
    ) -> Option<JsonCursor<'a>> {
        let members = value.as_object();
        if members.is_none() {
            diagnostics.wrong(&path, format!("must be an object, and is {}", kind_of(value)));
        }
        members.map(|members| JsonCursor { path, members })
    }

    /// The items under a key.
    pub(super) fn items(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<&'a [Value]> {
        let value = self.get(key)?;
        let items = value.as_array();
        if items.is_none() {
            diagnostics
                .wrong(self.name(key), format!("must be an array, and is {}", kind_of(value)));
        }
        items.map(Vec::as_slice)
    }

    /// The text under a key.
    pub(super) fn text(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<&'a str> {
        let value = self.get(key)?;
        let text = value.as_str();
        if text.is_none() {
            diagnostics
                .wrong(self.name(key), format!("must be a string, and is {}", kind_of(value)));
        }
        text
    }

    /// The id or phone number under a key: a text, or a whole number as shells write it.
    pub(super) fn id(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<String> {
        let value = self.get(key)?;
        if let Some(number) = value.as_u64() {
            diagnostics.coerced(&self.name(key), AS_TEXT);
            return Some(number.to_string());
        }
        self.text(key, diagnostics).map(str::to_owned)
    }

    /// The whole number of seconds under a key, within bounds where there are any here.
    pub(super) fn seconds(
        &self,
        key: &str,
        bounds: Option<(u64, u64)>,
        diagnostics: &mut Diagnostics,
    ) -> Option<u64> {
        let value = self.get(key)?;
        // A sign, a space or a fraction is not how anybody writes seconds.
        let digits = value.as_str().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let parsed = digits.and_then(|text| text.parse().ok());
        if parsed.is_some() {
            diagnostics.coerced(&self.name(key), AS_NUMBER);
        }
        let seconds = value
            .as_u64()
            .or(parsed)
            .filter(|seconds| bounds.is_none_or(|(least, most)| (least..=most).contains(seconds)));
        if seconds.is_none() {
            let wanted = match bounds {
                Some((least, most)) => {
                    format!("must be a whole number of seconds, {least} to {most}")
                }
                None => "must be a whole number of seconds".to_owned(),
            };
            diagnostics.wrong(self.name(key), wanted);
        }
        seconds
    }

    /// One of the values there are for a key, by name.
    pub(super) fn one_of<T: Copy>(
        &self,
        key: &str,
        known: &[(&str, T)],
        diagnostics: &mut Diagnostics,
    ) -> Option<T> {
        let text = self.text(key, diagnostics)?;
        let found = known.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            diagnostics.wrong(self.name(key), format!("must be {}", names.join(" or ")));
        }
        found.map(|(_, value)| *value)
    }

    /// Diagnostics keys that are not among `known`.
    pub(super) fn only(&self, known: &[&str], diagnostics: &mut Diagnostics) {
        if self.members.keys().any(|key| !known.contains(&key.as_str())) {
            diagnostics.coerced(&self.path, UNKNOWN);
        }
    }

    /// Diagnostics keys that are known and have no effect here.
    pub(super) fn without_effect(&self, keys: &[&str], diagnostics: &mut Diagnostics) {
        for key in keys.iter().filter(|key| self.get(key).is_some()) {
            diagnostics.coerced(&self.name(key), "has no effect here and was left out");
        }
    }
}
