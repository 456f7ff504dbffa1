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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressForm {
    /// [`Endpoint::Id`], 1 to 50 characters, [printable](crate::is_printable).
    Id,
    /// [`Endpoint::Number`], E.164: 7 to 15 digits, no leading `+` or `0`.
    E164,
    /// [`Endpoint::Number`], a short code: 3 to 8 digits.
    ShortCode,
    /// [`Endpoint::Number`], a sender text: 1 to 11 ASCII letters, digits and spaces, at least one a letter, no space at its ends.
    Alphanumeric,
}

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
            (AddressForm::Id, Endpoint::Number(_)) => false,
            (
                AddressForm::E164 | AddressForm::ShortCode | AddressForm::Alphanumeric,
                Endpoint::Id(_),
            ) => false,
        }
    }

    /// What this form looks like, for an error text.
    pub const fn describe(self) -> &'static str {
        match self {
            AddressForm::Id => "an id of 1 to 50 characters, all to be seen and no blank at an end",
            AddressForm::E164 => "a number of 7 to 15 digits without + or leading 0 (E.164)",
            AddressForm::ShortCode => "a short code of 3 to 8 digits",
            AddressForm::Alphanumeric => "a sender text of 1 to 11 letters, digits and spaces",
        }
    }
}
