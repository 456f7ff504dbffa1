//! Who sends and who is reached.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::is_printable;

/// A sender or a recipient on a channel, as the provider knows it.
///
/// Personal data: `Debug` shows only the last two characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// An id the channel gave out: a Messenger page or person, a Viber service.
    Id(String),
    /// A phone number in E.164 digits without `+`, or an alphanumeric sender text.
    Number(String),
}

/// A form of address that an adapter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressForm {
    /// [`Endpoint::Id`], 1 to 50 characters, [printable](crate::is_printable).
    Id,
    /// [`Endpoint::Number`], E.164: 7 to 15 digits, no leading `+` or `0`.
    E164,
    /// [`Endpoint::Number`], a short code: 3 to 8 digits.
    ShortCode,
    /// [`Endpoint::Number`], a sender text: 1 to 11 ASCII letters, digits and spaces, at least one a letter, no space at its ends.
    Alphanumeric,
    /// [`Endpoint::Id`], an e-mail address: `name@host`, at most 254 bytes, with no blank in it.
    Email,
    /// A form of the channel's own.
    Pattern(&'static AddressPattern),
}

/// A form of address that only one channel has: `U` and 32 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct AddressPattern {
    /// What lists call it: 1 to 32 of `a-z`, `0-9` and `_`; unique within its channel.
    pub name: &'static str,
    /// What an address of it looks like, as the end of a sentence: "must be …".
    pub wanted: &'static str,
    /// Whether an address has it. Total, and bounded in length.
    pub admits: fn(&Endpoint) -> bool,
}

/// Two patterns are the same where they have one name.
impl PartialEq for AddressPattern {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for AddressPattern {}

impl Endpoint {
    /// The bare id or number.
    pub fn value(&self) -> &str {
        match self {
            Endpoint::Id(value) | Endpoint::Number(value) => value,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, value) = match self {
            Endpoint::Id(value) => ("Id", value),
            Endpoint::Number(value) => ("Number", value),
        };
        let tail = value.char_indices().rev().nth(1).map_or("", |(at, _)| &value[at..]);
        write!(f, "{kind}(…{tail})")
    }
}

impl AddressForm {
    /// Whether `endpoint` has this form.
    pub fn admits(self, endpoint: &Endpoint) -> bool {
        let digits = |value: &str| value.bytes().all(|b| b.is_ascii_digit());
        match (self, endpoint) {
            (AddressForm::Id, Endpoint::Id(id)) => {
                (1..=50).contains(&id.chars().count()) && is_printable(id)
            }
            (AddressForm::E164, Endpoint::Number(number)) => {
                (7..=15).contains(&number.len()) && digits(number) && !number.starts_with('0')
            }
            (AddressForm::ShortCode, Endpoint::Number(number)) => {
                (3..=8).contains(&number.len()) && digits(number)
            }
            (AddressForm::Alphanumeric, Endpoint::Number(text)) => {
                (1..=11).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ')
                    && text.bytes().any(|b| b.is_ascii_alphabetic())
                    && is_printable(text)
            }
            (AddressForm::Email, Endpoint::Id(address)) => is_email(address),
            (AddressForm::Pattern(pattern), _) => (pattern.admits)(endpoint),
            (AddressForm::Id | AddressForm::Email, Endpoint::Number(_)) => false,
            (
                AddressForm::E164 | AddressForm::ShortCode | AddressForm::Alphanumeric,
                Endpoint::Id(_),
            ) => false,
        }
    }

    /// What lists call it.
    pub const fn name(self) -> &'static str {
        match self {
            AddressForm::Id => "id",
            AddressForm::E164 => "e164",
            AddressForm::ShortCode => "short_code",
            AddressForm::Alphanumeric => "alphanumeric",
            AddressForm::Email => "email",
            AddressForm::Pattern(pattern) => pattern.name,
        }
    }

    /// What this form looks like, for an error text.
    pub const fn describe(self) -> &'static str {
        match self {
            AddressForm::Id => "an id of 1 to 50 characters, all to be seen and no blank at an end",
            AddressForm::E164 => "a number of 7 to 15 digits without + or leading 0 (E.164)",
            AddressForm::ShortCode => "a short code of 3 to 8 digits",
            AddressForm::Alphanumeric => "a sender text of 1 to 11 letters, digits and spaces",
            AddressForm::Email => "an id that is an e-mail address (name@host, at most 254 bytes)",
            AddressForm::Pattern(pattern) => pattern.wanted,
        }
    }
}

/// What every mail server takes, and no more: RFC 5321 bounds the parts at 64 and 255 bytes; quoted names and
/// addresses in brackets are nobody's who waits for a message.
fn is_email(address: &str) -> bool {
    let Some((name, host)) = address.rsplit_once('@') else { return false };
    let is_in_name = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let is_dotted = |text: &str| text.split('.').all(|part| !part.is_empty());
    let is_label = |label: &str| {
        let is_in_label = |c: char| c.is_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(is_in_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    address.len() <= 254
        && (1..=64).contains(&name.len())
        && name.chars().all(is_in_name)
        && is_dotted(name)
        && host.contains('.')
        && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_e_mail_address_is_what_every_server_takes() {
        let is_email = |text: &str| AddressForm::Email.admits(&Endpoint::Id(text.to_owned()));
        for right in [
            "ada@example.com",
            "a.b+c@xn--bcher-kva.example",
            "o'neil@a-b.example",
            "ada@bücher.example",
        ] {
            assert!(is_email(right), "{right}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for wrong in [
            "",
            "@",
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "a b@example.com",
            "ada@exa mple.com",
            "ada@-a.example",
            "ada@a..example",
            ".a@example.com",
            "a..b@example.com",
            "a@b@example.com",
            "<ada@example.com>",
            "ada@example.com\r\nBcc: eve@example.com",
            "ada@example.com,eve@example.com",
            &long,
        ] {
            assert!(!is_email(wrong), "{wrong}");
        }
        assert!(!AddressForm::Email.admits(&Endpoint::Number("ada@example.com".to_owned())));
    }

    #[test]
    fn a_pattern_is_its_channel_s_own() {
        static LINE: AddressPattern = AddressPattern {
            name: "line_user",
            wanted: "an id: U and 32 hexadecimal digits",
            admits: |endpoint| matches!(endpoint, Endpoint::Id(id) if id.len() == 33 && id.starts_with('U')),
        };
        let form = AddressForm::Pattern(&LINE);
        assert!(form.admits(&Endpoint::Id(format!("U{}", "0".repeat(32)))));
        assert!(!form.admits(&Endpoint::Id("U0".to_owned())));
        assert_eq!((form.name(), form.describe()), ("line_user", LINE.wanted));
    }
}
