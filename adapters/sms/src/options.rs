//! What only an SMS knows.

use dispatch_contract::{OptionField, OptionRule, OptionsForm};
use serde::{Deserialize, Serialize};

/// Seconds; no carrier keeps a text for longer than a week.
pub(crate) const FORM: OptionsForm = OptionsForm(&[
    OptionField::new(
        "encoding",
        "how the text is encoded; auto, the usual, looks at the text",
        OptionRule::OneOf(&["auto", "text", "unicode"]),
    ),
    OptionField::new(
        "ttl_s",
        "how long the carriers try to deliver it, in seconds",
        OptionRule::Seconds(1, 604_800),
    ),
    OptionField::new(
        "content_id",
        "the registered text that it follows, where a country asks for one",
        OptionRule::Text(50),
    ),
    OptionField::new(
        "entity_id",
        "the registered sender behind it, where a country asks for one",
        OptionRule::Text(50),
    ),
]);

/// Options of an SMS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmsOptions {
    /// How the text is encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<SmsEncoding>,
    /// How long the carriers try to deliver it, in seconds: 1 to 604,800.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
    /// The id under which its text is registered, where a country asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
    /// The id under which who sends it is registered, where a country asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
}

/// How the text of an SMS is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmsEncoding {
    /// The provider looks at the text.
    #[default]
    Auto,
    /// GSM 7-bit.
    Text,
    /// UCS-2.
    Unicode,
}
