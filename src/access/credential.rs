//! The `Authorization` header: `Basic` with a key and its secret, or `Bearer` with a token.
//!
//! Nowhere else are credentials looked for: what stands in a URL ends up in logs.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// The longest header that is looked at, in bytes: a token of a large key with many claims has two
/// thousand.
const HEADER_MOST: usize = 8 * 1024;

/// The padding of Basic credentials is often forgotten, and says nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request brought.
pub(super) enum Credential<'a> {
    /// A key's id and a secret, both as they came.
    Key { id: String, secret: String },
    /// A token.
    Token(&'a str),
}

impl<'a> Credential<'a> {
    /// Of a header's value; the error says what would be right, and nothing of what is there.
    pub(super) fn parse(header: &'a str) -> Result<Self, &'static str> {
        if header.len() > HEADER_MOST {
            return Err("the authorization header is longer than 8 KiB");
        }
        let wanted = "the authorization header must be `Basic` with the base64 of KEY:SECRET, or \
                      `Bearer` with a token of an application";
        let (scheme, rest) = header.split_once(' ').ok_or(wanted)?;
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Credential::Token(rest));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(wanted);
        }
        let text = BASE64.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or(wanted)?;
        let (id, secret) = text.split_once(':').ok_or(wanted)?;
        Ok(Credential::Key { id: id.to_owned(), secret: secret.to_owned() })
    }
}
