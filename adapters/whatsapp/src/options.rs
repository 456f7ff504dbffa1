//! What only a WhatsApp message knows.

use dispatch_contract::{OptionField, OptionRule, OptionsForm};
use serde::{Deserialize, Serialize};

pub(crate) const FORM: OptionsForm = OptionsForm(&[
    OptionField::new(
        "policy",
        "how a template's language is chosen",
        OptionRule::OneOf(&["deterministic"]),
    ),
    OptionField::new(
        "locale",
        "the template's language",
        OptionRule::Custom {
            wanted: "a language tag, such as en-GB",
            admits: |value| value.as_str().is_some_and(is_locale),
        },
    ),
    OptionField::new(
        "code_template",
        "the approved authentication template that carries a code",
        OptionRule::Text(512),
    ),
    OptionField::new(
        "reply_to",
        "the provider's id of the message that it answers, and that is quoted above it",
        OptionRule::Text(128),
    ),
    OptionField::new("file_name", "what a file is called, with its ending", OptionRule::Text(240)),
]);

/// For providers whose templates have named blanks.
pub const PARAMETER_NAMES: OptionField = OptionField::new(
    "parameter_names",
    "what the template's parameters are called, in their order; without it they are numbered from 1",
    OptionRule::Custom {
        wanted: "a list of different names, each of 1 to 64 letters, digits and _",
        admits: |value| {
            value.as_array().is_some_and(|names| are_names(names.iter().map(|name| name.as_str())))
        },
    },
);

fn are_names<'a>(names: impl Iterator<Item = Option<&'a str>>) -> bool {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let is_name = |name: &&str| (1..=64).contains(&name.len()) && name.bytes().all(is_part);
        match name.filter(is_name).filter(|name| !seen.contains(name)) {
            Some(name) => seen.push(name),
            None => return false,
        }
    }
    !seen.is_empty()
}

/// BCP 47 as far as its alphabet, with WhatsApp's own underscore (`en_GB`); 35 characters hold every
/// tag that BCP 47 §4.4.1 asks for.
fn is_locale(text: &str) -> bool {
    (2..=35).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Options of a WhatsApp message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhatsAppOptions {
    /// How the template's language is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<WhatsAppPolicy>,
    /// The template's language, as BCP 47 (`en-GB`); needed by templates and codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The approved authentication template that carries a code; needed by codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_template: Option<String>,
    /// The provider's id of the message that it answers, and that is quoted above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// What a file is called, with its ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The names of a template's parameters, in their order, where the provider knows them by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter_names: Option<Vec<String>>,
}

/// How a template's language is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhatsAppPolicy {
    /// Exactly the locale asked for. The other policy, `fallback`, was retired in January 2020.
    #[default]
    Deterministic,
}
