//! What only a Messenger message knows.

use dispatch_contract::{OptionField, OptionRule, OptionsForm};
use serde::{Deserialize, Serialize};

pub(crate) const FORM: OptionsForm = OptionsForm(&[
    OptionField::new(
        "category",
        "why it may be sent; response is the usual",
        OptionRule::OneOf(&["response", "update", "message_tag"]),
    ),
    OptionField::new(
        "tag",
        "the message tag, with category message_tag alone",
        OptionRule::Custom {
            wanted: "a tag of capital letters and _, such as HUMAN_AGENT",
            admits: |value| value.as_str().is_some_and(is_tag),
        },
    ),
]);

/// Which tags there are is not checked, because Facebook changes the list; only what no tag is made of.
fn is_tag(tag: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    (1..=64).contains(&tag.len()) && tag.bytes().all(is_part)
}

/// Options of a Messenger message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessengerOptions {
    /// Why it may be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<MessengerCategory>,
    /// The message tag; given exactly when the category is [`MessengerCategory::MessageTag`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Why a Messenger message may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessengerCategory {
    /// An answer within 24 h of the person's own message.
    #[default]
    Response,
    /// An update within the same window.
    Update,
    /// Outside the window, under a tag.
    MessageTag,
}
