//! What only a Viber Business Message knows.

use std::fmt;

use dispatch_contract::{OptionField, OptionRule, OptionsForm};
use serde::{Deserialize, Serialize};

use crate::URL_BYTES;

/// Seconds as the Messages API has them, v0.1 (0.4.0) and v1; the old Dispatch API stopped at 86,400.
/// Characters on a button as v1.
pub(crate) const FORM: OptionsForm = OptionsForm(&[
    OptionField::new(
        "category",
        "what it is for; transaction is the usual",
        OptionRule::OneOf(&["transaction", "promotion"]),
    ),
    OptionField::new(
        "ttl_s",
        "how long Viber tries to deliver it, in seconds",
        OptionRule::Seconds(30, 259_200),
    ),
    OptionField::new("action", "a button under a text or a picture", OptionRule::Object),
    OptionField::new("action.url", "the page it opens", OptionRule::Url(URL_BYTES)).required(),
    OptionField::new("action.text", "what stands on it", OptionRule::Text(30)).required(),
]);

/// Options of a Viber Business Message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViberOptions {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<ViberCategory>,
    /// How long Viber tries to deliver it, in seconds: 30 to 259,200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
    /// A button under the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<ViberAction>,
}

/// What a Viber Business Message is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViberCategory {
    /// About something the person did; the first message to a person must be one.
    #[default]
    Transaction,
    /// An offer.
    Promotion,
}

/// A button that opens a page. `Debug` shows neither page nor text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViberAction {
    /// The page.
    pub url: String,
    /// What stands on the button.
    pub text: String,
}

impl fmt::Debug for ViberAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViberAction(…)")
    }
}
