//! By what a person's workflows are found: four keyed bytes of each address.
//!
//! The key belongs to a segment, so tags of two segments tell nothing of each other. Four bytes fit several
//! addresses: whoever finds by them opens what was found, and compares. The channel is no part of it: a number
//! is one person's by whatever channel they are reached.

use std::borrow::Cow;

use aws_lc_rs::hmac;

use super::slot_key::mac;

/// Four keyed bytes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonTag(pub(super) u32);

impl PersonTag {
    /// Of an address, in whatever form it is written.
    pub(super) fn of(key: &hmac::Key, address: &str) -> PersonTag {
        let whole = mac(key, &[normal_form(address).as_bytes()]);
        let [a, b, c, d, ..] = whole;
        PersonTag(u32::from_le_bytes([a, b, c, d]))
    }
}

/// An address as it is compared: of what looks like a number its digits, without `+` or `00` before them and
/// without blanks and hyphens; what has an `@` in lower case; all else as it is.
pub fn normal_form(address: &str) -> Cow<'_, str> {
    let address = address.trim();
    if address.contains('@') {
        return Cow::Owned(address.to_lowercase());
    }
    let number = address.strip_prefix('+').unwrap_or(address);
    let is_of_number = |c: char| c.is_ascii_digit() || c == '-' || c.is_whitespace();
    if !number.contains(|c: char| c.is_ascii_digit()) || !number.chars().all(is_of_number) {
        return Cow::Borrowed(address);
    }
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    match digits.strip_prefix("00") {
        Some(rest) if !rest.is_empty() => Cow::Owned(rest.to_owned()),
        Some(_) | None => Cow::Owned(digits),
    }
}

/// An address of fewer characters stands in many texts by chance.
const NAMED_LEAST: usize = 7;

/// Whether a text names an address, however either is written: a number with whatever stands between its digits.
/// Addresses of fewer than seven characters are not looked for.
pub fn names(text: &str, address: &str) -> bool {
    if text.len() < NAMED_LEAST {
        return false;
    }
    let address = normal_form(address).to_lowercase();
    if address.chars().count() < NAMED_LEAST {
        return false;
    }
    let text = text.to_lowercase();
    if address.bytes().all(|byte| byte.is_ascii_digit()) {
        let close: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
        return close.contains(&address);
    }
    text.contains(&address)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key};

    use super::*;

    #[test]
    fn one_person_has_one_tag_however_the_address_is_written() {
        let key = Key::new(HMAC_SHA256, &[7; 32]);
        let of = |address| PersonTag::of(&key, address);
        for same in ["+447700900001", "00447700900001", " 44 7700-900 001", "+44 7700 900001"] {
            assert_eq!(normal_form(same), "447700900001", "{same}");
            assert_eq!(of(same), of("447700900001"));
        }
        assert_eq!(of("Anna@Example.org"), of("anna@example.ORG"));
        for another in ["447700900002", "447700900001@example.org", "a447700900001", ""] {
            assert_ne!(of(another), of("447700900001"), "{another}");
        }
        assert_ne!(
            of("447700900001"),
            PersonTag::of(&Key::new(HMAC_SHA256, &[8; 32]), "447700900001")
        );
        for (text, address, wanted) in [
            ("447700900001", "447700900001", true),
            ("order for +44 (7700) 900-001!", "447700900001", true),
            ("ref:0044.7700.900001/7", "+44 7700 900001", true),
            ("to ANNA@example.org", "anna@Example.org", true),
            ("psid-x7-abc", "PSID-x7-abc", true),
            ("order 44770090000", "447700900001", false),
            ("4477 a 00900001", "447700900001", false),
            ("order-17", "order-1", true),
            ("123456", "123456", false),
            ("", "447700900001", false),
            ("anything", "", false),
        ] {
            assert_eq!(names(text, address), wanted, "{text} names {address}");
        }
        for as_it_is in ["PSID-x7", "-", "+", "00", "0", ""] {
            assert_eq!(normal_form(as_it_is), as_it_is);
        }
    }
}
