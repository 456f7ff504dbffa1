//! Spoils a genuine body where nobody looks, as providers do: with half an emoji in a name, a byte of
//! another encoding, a number that fits nowhere, a tree too deep.

use serde_json::{Map, Value};

use super::SampleWebhook;

/// How often a body is spoiled at most.
const MOST: usize = 8;

impl SampleWebhook {
    /// The same webhook with odd things beside what it tells, as `with` says: any bytes. It is still to be signed,
    /// and has to be read as without them.
    #[must_use]
    pub fn spoiled(&self, with: &[u8]) -> SampleWebhook {
        if self.body.is_empty() {
            let query = spoiled_form(self.query().as_bytes(), with);
            return self.with_query(&String::from_utf8_lossy(&query));
        }
        let body = match self.is_form() {
            true => spoiled_form(&self.body, with),
            false => spoiled(&self.body, with),
        };
        SampleWebhook { body, ..self.clone() }
    }
}

/// `body`, if it is one JSON object, spoiled as `with` says: any bytes. What its own fields tell stays;
/// whoever reads them has to read the same.
pub fn spoiled(body: &[u8], with: &[u8]) -> Vec<u8> {
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(body) else {
        return body.to_vec();
    };
    let own = body.trim_ascii();
    let mut parts = Parts { own: &own[1..own.len() - 1], ..Parts::default() };
    let mut rest = with;
    for _ in 0..MOST {
        let [what, length, more @ ..] = rest else { break };
        let (junk, more) = more.split_at(usize::from(*length % 64).min(more.len()));
        rest = more;
        let is_first = what & 0x80 == 0;
        match what % 10 {
            0 => parts.add(is_first, text(b"nobody", b""), text(b"", junk)),
            1 => parts.add(is_first, text(b"nobody", junk), text(br"\ud83d", junk)),
            2 => parts.add(is_first, text(b"nobody", b""), number(junk)),
            3 => parts.add(is_first, text(b"nobody", b""), word(junk)),
            4 => parts.add(is_first, text(b"nobody", b""), deep(b"[", b"]", *length)),
            5 => parts.add(is_first, text(b"nobody", b""), deep(b"{\"a\":", b"}", *length)),
            6 => {
                let profile = [b"{\"name\":", text(b"", junk).as_slice(), b"}"].concat();
                parts.add(is_first, text(b"profile", b""), profile);
            }
            7 => {
                let nonsense = [&b"null"[..], b"[]", b"{}", b"true", b"\"\""];
                let name = fields.keys().nth(usize::from(*length) % fields.len().max(1));
                let value = nonsense[usize::from(*length) % nonsense.len()].to_vec();
                parts.add(is_first, text(name.map_or(b"x", |name| name.as_bytes()), b""), value);
            }
            8 => parts.blanks(is_first, junk),
            _ => parts.sibling = Some((is_first, text(b"", junk))),
        }
    }
    parts.whole()
}

/// A form, spoiled as `with` says: fields that nobody knows, of any bytes, in front and behind.
pub(super) fn spoiled_form(fields: &[u8], with: &[u8]) -> Vec<u8> {
    let junk = |with: &[u8]| -> Vec<u8> {
        let spelt = |byte: &u8| match byte {
            b'a'..=b'z' => vec![*byte],
            // An escape that is none.
            b'A'..=b'Z' => vec![b'%', *byte],
            _ => format!("%{byte:02X}").into_bytes(),
        };
        with.iter().flat_map(spelt).collect()
    };
    let (front, behind) = with.split_at(with.len() / 2);
    [b"nobody=", &*junk(front), b"&", fields, b"&Nobody", &junk(behind), b"&=&"].concat()
}

#[derive(Default)]
struct Parts<'a> {
    /// The genuine fields.
    own: &'a [u8],
    first: Vec<u8>,
    last: Vec<u8>,
    /// In front of all and behind it.
    around: [Vec<u8>; 2],
    /// Another item, of which nothing can be made, in an array with this one.
    sibling: Option<(bool, Vec<u8>)>,
}

impl Parts<'_> {
    fn add(&mut self, is_first: bool, name: Vec<u8>, value: Vec<u8>) {
        if is_first {
            self.first.extend([name.as_slice(), b":", &value, b","].concat());
        } else {
            self.last.extend([b",", name.as_slice(), b":", &value].concat());
        }
    }

    fn blanks(&mut self, is_first: bool, junk: &[u8]) {
        let blanks = ["\u{feff}", " ", "\t", "\r\n", "\u{a0}", "\0"];
        for byte in junk {
            let blank = blanks[usize::from(*byte) % blanks.len()].as_bytes();
            let [front, behind] = &mut self.around;
            match (byte & 0x80 == 0, is_first) {
                (true, true) => front.extend(blank),
                (true, false) => behind.extend(blank),
                (false, true) => self.first.extend(blank),
                (false, false) => self.last.extend(blank),
            }
        }
    }

    fn whole(self) -> Vec<u8> {
        let [front, behind] = self.around;
        let mut object = [b"{", self.first.as_slice(), self.own, &self.last, b"}"].concat();
        if let Some((is_first, name)) = self.sibling {
            let sibling = [b"{\"profile\":", name.as_slice(), b"}"].concat();
            let [one, two] = if is_first { [sibling, object] } else { [object, sibling] };
            object = [b"[", one.as_slice(), b",", &two, b"]"].concat();
        }
        [front, object, behind].concat()
    }
}

/// A text of any bytes, whose quotes are where they should be.
fn text(begins: &[u8], junk: &[u8]) -> Vec<u8> {
    let mut text = [b"\"", begins].concat();
    text.extend(junk.iter().filter(|byte| **byte != b'"'));
    let escapes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
    if escapes % 2 == 1 {
        text.push(b'\\');
    }
    text.push(b'"');
    text
}

fn number(junk: &[u8]) -> Vec<u8> {
    let digits = b"0123456789+-.eE";
    let first = std::iter::once(&b'9');
    first
        .chain(junk.iter().map(|byte| &digits[usize::from(*byte) % digits.len()]))
        .copied()
        .collect()
}

fn word(junk: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| if b"\",:{}[]".contains(byte) || *byte <= b' ' { b'x' } else { *byte };
    [b"NaN".as_slice(), &junk.iter().map(plain).collect::<Vec<_>>()].concat()
}

fn deep(open: &[u8], close: &[u8], depth: u8) -> Vec<u8> {
    let depth = usize::from(depth) * 8;
    [open.repeat(depth), b"7".to_vec(), close.repeat(depth)].concat()
}
