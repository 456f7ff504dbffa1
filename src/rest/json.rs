//! JSON from strangers, read once and strictly.
//!
//! As serde_json reads it, but a key that stands twice in one object is refused (which of the two was
//! meant would be a guess), and so is what is nested deeper than any request is. Errors tell a line
//! and a column, and repeat nothing.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Objects and arrays within each other; requests need seven, and a `custom` content some more.
const DEEPEST: u8 = 32;
/// Some editors and samples begin a file with it; it means nothing.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The value of a whole text.
///
/// # Errors
/// If it is not one JSON value, is nested too deep, or has a key twice; the text says where.
pub(super) fn read(text: &[u8]) -> Result<Value, String> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = Tree { left: DEEPEST }.deserialize(&mut json);
    let whole = read.and_then(|value| json.end().map(|()| value));
    whole.map_err(|error| error.to_string())
}

/// A value, with so many levels left below it.
#[derive(Clone, Copy)]
struct Tree {
    left: u8,
}

impl Tree {
    fn below<E: Error>(self) -> Result<Tree, E> {
        let left = self.left.checked_sub(1);
        left.map(|left| Tree { left })
            .ok_or_else(|| E::custom(format_args!("nested deeper than {DEEPEST} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(below)?;
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("a key stands twice in this object"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_is_read_as_serde_json_reads_it() {
        for text in [r#"{"a": [1, -2, 0.5, "x", null, true, {}]}"#, "[]", "17", r#""\u00e9""#] {
            assert_eq!(
                read(text.as_bytes()).unwrap(),
                serde_json::from_str::<Value>(text).unwrap()
            );
        }
        assert_eq!(read(b"\xef\xbb\xbf{}").unwrap(), Value::Object(Map::new()));
    }

    #[test]
    fn what_is_not_is_refused_without_repeating_it() {
        let deep = "[".repeat(100_000);
        let cases: [(&[u8], &str); 9] = [
            (b"", "EOF"),
            (b"{", "EOF"),
            (b"{} {}", "trailing"),
            (b"{'secret': 1}", "key must be a string"),
            (br#"{"secret": 1, "secret": 2}"#, "stands twice"),
            (br#"[{"secret": 1, "\u0073ecret": 2}]"#, "stands twice"),
            (b"1e999", "out of range"),
            (b"\"\xff\"", "invalid"),
            (deep.as_bytes(), "deeper than 32 levels"),
        ];
        for (text, wanted) in cases {
            let said = read(text).unwrap_err();
            assert!(said.contains(wanted), "{wanted}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
