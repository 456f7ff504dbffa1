//! Reads JSON that somebody else wrote, forgivingly: a value is looked at only where it is asked for.
//!
//! A provider's webhook or answer carries much that nobody here reads: a person's name with half an
//! emoji, a Latin-1 byte, a number too large, a tree too deep. A parser that judges the whole text
//! loses the status beside it. Here what is not asked for is only stepped over, by its quotes and
//! brackets; what is asked for is read as far as it makes sense.
//!
//! - Text that JSON allows reads as a strict parser reads it, but for a key that stands twice: the
//!   last value that *makes sense* to the asker counts.
//! - A byte order mark, raw control characters, invalid UTF-8 and lone surrogates (read as U+FFFD),
//!   unknown escapes, missing or doubled commas, odd words and numbers, and any depth are no fault.
//! - A value that the end of the text cuts off is not there; what stood whole before it is.
//!
//! It never fails, recurses only where it is told how deep, and takes time in proportion to the text. It says
//! nothing about who wrote the text: signatures are checked before, over the same bytes.

use std::{borrow::Cow, fmt};

use serde_json::Value;

/// One value in a text: its bytes, not judged yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    /// The first value of a text; of an empty text a value that holds nothing.
    pub fn of(text: &'a [u8]) -> Self {
        Json::all(text).next().unwrap_or(Json(b""))
    }

    /// What a text tells, item by item: an array's elements, or the value itself. Several values one
    /// behind the other are all taken.
    pub fn items(text: &'a [u8]) -> impl Iterator<Item = Json<'a>> {
        Json::all(text).flat_map(|value| {
            let itself = (!value.0.starts_with(b"[")).then_some(value);
            itself.into_iter().chain(value.elements())
        })
    }

    fn all(text: &'a [u8]) -> impl Iterator<Item = Json<'a>> {
        let mut scan = Scan(text);
        std::iter::from_fn(move || {
            loop {
                scan.skip_separators();
                match scan.next_byte()? {
                    b'}' | b']' | b':' => scan.skip(1),
                    _ => return scan.value(),
                }
            }
        })
    }

    /// What `read` makes of the field `name`: of the last of that name that it makes sense of.
    pub fn read<T>(self, name: &str, read: impl Fn(Json<'a>) -> Option<T>) -> Option<T> {
        let named = self.entries().filter(|(key, _)| key.is_text(name));
        named.filter_map(|(_, value)| read(value)).last()
    }

    /// The elements, if it is an array.
    pub fn elements(self) -> impl Iterator<Item = Json<'a>> {
        let mut scan = Scan(self.0.strip_prefix(b"[").unwrap_or_default());
        std::iter::from_fn(move || {
            loop {
                scan.skip_separators();
                match scan.next_byte()? {
                    b'}' | b']' => return None,
                    b':' => scan.skip(1),
                    _ => return scan.value(),
                }
            }
        })
    }

    /// The text, if it is one: without its quotes and escapes, and with U+FFFD for what is no text.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let quoted = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if quoted.contains(&b'\\') {
            let plain = unescaped(quoted);
            let text = match String::from_utf8(plain) {
                Ok(text) => text,
                Err(odd) => String::from_utf8_lossy(odd.as_bytes()).into_owned(),
            };
            return Some(Cow::Owned(text));
        }
        Some(String::from_utf8_lossy(quoted))
    }

    /// The number as it is written, if it is made of what numbers are made of. It may be no number
    /// all the same (`1.2.3`), and any size.
    pub fn number(self) -> Option<&'a str> {
        let is_number = self.0.first().is_some_and(|byte| !byte.is_ascii_alphabetic())
            && self.0.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
        is_number.then(|| std::str::from_utf8(self.0).ok()).flatten()
    }

    /// Whether it is `true`, if it is that or `false`.
    pub fn flag(self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// A text, or a number as it is written: providers disagree on which an id is.
    pub fn scalar(self) -> Option<Cow<'a, str>> {
        self.text().or_else(|| self.number().map(Cow::Borrowed))
    }

    /// How many bytes tell it.
    pub fn size(self) -> usize {
        self.0.len()
    }

    /// All of it: what makes no sense, and what lies deeper than `depth` brackets, is null. Of a key that stands
    /// twice the last value counts. Takes `depth` times as long as the text.
    pub fn to_value(self, depth: usize) -> Value {
        if let Some(text) = self.text() {
            return text.into();
        }
        match (self.0.first(), depth) {
            (Some(b'{' | b'['), 0) | (None, _) => Value::Null,
            (Some(b'{'), _) => {
                let named = |(key, value): (Json<'a>, Json<'a>)| {
                    Some((key.text()?.into_owned(), value.to_value(depth - 1)))
                };
                Value::Object(self.entries().filter_map(named).collect())
            }
            (Some(b'['), _) => self.elements().map(|it| it.to_value(depth - 1)).collect(),
            (Some(_), _) => {
                let number = self.number().and_then(|text| text.parse().ok()).map(Value::Number);
                number.or_else(|| self.flag().map(Value::Bool)).unwrap_or_default()
            }
        }
    }

    /// The keys and values, if it is an object.
    fn entries(self) -> impl Iterator<Item = (Json<'a>, Json<'a>)> {
        let mut scan = Scan(self.0.strip_prefix(b"{").unwrap_or_default());
        std::iter::from_fn(move || {
            loop {
                scan.skip_separators();
                match scan.next_byte()? {
                    b'}' | b']' => return None,
                    b':' => scan.skip(1),
                    _ => {
                        let key = scan.value()?;
                        scan.skip_blanks();
                        // Else it is no key, and what follows may be one.
                        if scan.next_byte() == Some(b':') {
                            scan.skip(1);
                            scan.skip_blanks();
                            if !matches!(scan.next_byte()?, b',' | b'}' | b']' | b':') {
                                return Some((key, scan.value()?));
                            }
                        }
                    }
                }
            }
        })
    }

    fn is_text(self, text: &str) -> bool {
        if self.0.contains(&b'\\') {
            return self.text().is_some_and(|own| own == text);
        }
        let quoted = self.0.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        quoted == Some(text.as_bytes())
    }
}

impl fmt::Debug for Json<'_> {
    /// The bytes are left out: they may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

/// Steps through a text, value by value.
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn next_byte(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn skip(&mut self, bytes: usize) {
        self.0 = &self.0[bytes.min(self.0.len())..];
    }

    fn skip_blanks(&mut self) {
        while let length @ 1.. = blank(self.0) {
            self.skip(length);
        }
    }

    fn skip_separators(&mut self) {
        self.skip_blanks();
        while self.next_byte() == Some(b',') {
            self.skip(1);
            self.skip_blanks();
        }
    }

    /// The value that begins here. `None` if the end cuts it off; of an object or an array that it
    /// cuts off, there is what stands before.
    fn value(&mut self) -> Option<Json<'a>> {
        let text = self.0;
        let end = match self.next_byte()? {
            b'"' => text_end(text),
            b'{' | b'[' => Some(brackets_end(text).unwrap_or(text.len())),
            _ => word_end(text),
        };
        self.skip(end.unwrap_or(text.len()));
        end.map(|end| Json(&text[..end]))
    }
}

/// How many bytes of white space `text` begins with, one character at a time: JSON's own, other
/// control characters, U+00A0 and U+FEFF.
fn blank(text: &[u8]) -> usize {
    match text {
        [0..=b' ', ..] => 1,
        [0xc2, 0xa0, ..] => 2,
        [0xef, 0xbb, 0xbf, ..] => 3,
        _ => 0,
    }
}

/// Behind the closing quote.
fn text_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Behind the bracket that closes the first one. Which kind closes which is not looked at.
fn brackets_end(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.get(at)? {
            b'"' => {
                at += text_end(&text[at..])?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return Some(at + 1),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// Behind a number, `true`, or any other word.
fn word_end(text: &[u8]) -> Option<usize> {
    // At least one byte, so that whoever asks goes on.
    let ends = |at: &usize| b",:{}[]\"".contains(&text[*at]) || blank(&text[*at..]) > 0;
    (1..text.len()).find(ends)
}

/// What stands between quotes, with its escapes read.
fn unescaped(mut quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut utf8 = [0; 4];
    while let Some(at) = quoted.iter().position(|byte| *byte == b'\\') {
        plain.extend_from_slice(&quoted[..at]);
        quoted = &quoted[at + 1..];
        let Some((escape, rest)) = quoted.split_first() else { return plain };
        quoted = rest;
        match escape {
            b'b' => plain.push(8),
            b'f' => plain.push(12),
            b'n' => plain.push(b'\n'),
            b'r' => plain.push(b'\r'),
            b't' => plain.push(b'\t'),
            b'u' => {
                let (unit, length) = code_point(quoted);
                plain.extend_from_slice(unit.encode_utf8(&mut utf8).as_bytes());
                quoted = &quoted[length..];
            }
            other => plain.push(*other),
        }
    }
    plain.extend_from_slice(quoted);
    plain
}

/// The character behind `\u`, and how many bytes tell it.
fn code_point(text: &[u8]) -> (char, usize) {
    let Some(first) = unit(text) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if let Some(character) = char::from_u32(first.into()) {
        return (character, 4);
    }
    let second = text[4..].strip_prefix(b"\\u").and_then(unit);
    match second.map(|second| char::decode_utf16([first, second]).next()) {
        Some(Some(Ok(character))) => (character, 10),
        _ => (char::REPLACEMENT_CHARACTER, 4),
    }
}

/// Four hexadecimal digits.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(text.get(..4)?).ok()?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// `status` of a text, as the webhooks' reader asks for it.
    fn status(text: &[u8]) -> Option<String> {
        Json::of(text).read("status", |it| it.text().map(Cow::into_owned))
    }

    #[test]
    fn what_is_odd_beside_a_field_does_not_lose_it() {
        let deep =
            format!("{{\"a\":{}{},\"status\":\"read\"}}", "[".repeat(9999), "]".repeat(9999));
        let objects =
            format!("{{\"a\":{}1{},\"status\":\"read\"}}", "{\"a\":".repeat(999), "}".repeat(999));
        let texts: [&[u8]; 25] = [
            b"\xef\xbb\xbf{\"status\":\"read\"}",
            br#"{"a":"Ana \ud83d","status":"read"}"#,
            br#"{"status":"read","a":"\udc00\ud83d\u12"}"#,
            b"{\"a\":\"Ana M\xfc\",\"status\":\"read\"}",
            b"{\"M\xfc\":1,\"status\":\"read\"}",
            b"{\"a\":\"two\nlines\x00\",\"status\":\"read\"}",
            br#"{"a":"\x \' \q","status":"read"}"#,
            br#"{"a":1e999999,"status":"read"}"#,
            br#"{"a":-,"b":01,"c":+1,"d":.5,"e":0x1f,"status":"read"}"#,
            br#"{"a":NaN,"b":Infinity,"c":undefined,"status":"read"}"#,
            br#"{"a":99999999999999999999999999999999999999999,"status":"read"}"#,
            br#"{"a":,"status":"read",}"#,
            br#"{,"a":1,,"status":"read"}"#,
            br#"{"a":1 "status":"read"}"#,
            br#"{"a":"an "unescaped" quote","status":"read"}"#,
            br#"{"a":[1,2},"status":"read"}"#,
            br#"{"a":{"status":"rejected"},"status":"read","b":[{"status":"rejected"}]}"#,
            br#"{"status":7,"status":"read","status":null}"#,
            br#"{"\u0073tatus":"re\u0061d"}"#,
            b"{\xc2\xa0\"status\"\xc2\xa0:\xc2\xa0\"read\"\xc2\xa0}",
            br#"{"status":"read"}{"status":"#,
            br#"{"status":"read"} trailing"#,
            br#"{"status":"read","a":"cut o"#,
            deep.as_bytes(),
            objects.as_bytes(),
        ];
        for text in texts {
            let shown = String::from_utf8_lossy(&text[..text.len().min(80)]);
            assert_eq!(status(text).as_deref(), Some("read"), "{shown}");
        }
    }

    #[test]
    fn what_is_cut_off_or_elsewhere_is_not_there() {
        let texts: [&[u8]; 12] = [
            b"",
            b"{",
            b"\xff\xfe",
            br#"{"status":"rea"#,
            br#"{"status":"#,
            br#"{"status""#,
            br#"["status","read"]"#,
            br#"{"a":"\"status\":\"read\""}"#,
            br#"{"a":"\\","b":"\"","c":{"status":"read"}}"#,
            br#"{"a":["status":"read"]}"#,
            br#""status":"read""#,
            br#"{"status":["read"]}"#,
        ];
        for text in texts {
            assert_eq!(status(text), None, "{}", String::from_utf8_lossy(text));
        }
        let number = |text: &'static [u8]| Json::of(text).read("a", Json::number);
        assert_eq!(number(br#"{"a":136}"#), Some("136"));
        assert_eq!(number(br#"{"a":136"#), None, "it may go on");
    }

    #[test]
    fn texts_are_read_with_their_escapes_and_what_is_no_text_is_replaced() {
        for (text, read) in [
            (r#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\u00e9\ud83d\ude00""#, "é😀"),
            (r#""\ud83dx""#, "\u{fffd}x"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\ude00\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\uzz""#, "\u{fffd}zz"),
            (r#""\u+123""#, "\u{fffd}+123"),
        ] {
            assert_eq!(Json::of(text.as_bytes()).text().as_deref(), Some(read), "{text}");
        }
        assert_eq!(Json::of(b"\"M\xfc\\n\"").text().as_deref(), Some("M\u{fffd}\n"));
    }

    #[test]
    fn an_array_is_taken_item_by_item_and_so_are_values_in_a_row() {
        let texts = |text: &'static [u8]| -> Vec<_> {
            Json::items(text).filter_map(|item| item.read("a", Json::number)).collect()
        };
        assert_eq!(texts(br#"[{"a":1},{"b":"\ud83d"},null,{"a":2}]"#), ["1", "2"]);
        assert_eq!(texts(b"[{\"a\":1} {\"a\":2},{\"b\":\"\xff\"},,{\"a\":3}"), ["1", "2", "3"]);
        assert_eq!(texts(b"{\"a\":1}\n{\"a\":2}\n"), ["1", "2"]);
        assert_eq!(texts(b")]}',\n{\"a\":1}"), ["1"]);
        assert_eq!(texts(br#"[[{"a":1}]]"#), Vec::<&str>::new());
    }

    /// Everything in `value`, asked for piece by piece.
    fn same(read: Json<'_>, value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) => read.scalar().is_none(),
            Value::Number(number) => {
                read.number().and_then(|text| text.parse().ok()) == Some(number.clone())
            }
            Value::String(text) => read.text().as_deref() == Some(text),
            Value::Array(values) => {
                let read: Vec<_> = read.elements().collect();
                read.len() == values.len() && read.iter().zip(values).all(|(a, b)| same(*a, b))
            }
            Value::Object(fields) => {
                read.entries().count() == fields.len()
                    && fields.iter().all(|(name, value)| {
                        read.read(name, |it| same(it, value).then_some(())).is_some()
                    })
            }
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_json_is_read_as_serde_json_reads_it(value in values(), pretty: bool) {
            let value = json!({ "value": value });
            let text = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            prop_assert!(same(Json::of(text.as_bytes()), &value));
            prop_assert_eq!(Json::of(text.as_bytes()).to_value(8), value);
        }

        #[test]
        fn any_bytes_are_read_to_their_end(bytes: Vec<u8>) {
            for item in Json::items(&bytes) {
                let _ = (item.text(), item.number(), item.read("a", Json::scalar));
                let _ = item.to_value(4);
            }
        }
    }
}
