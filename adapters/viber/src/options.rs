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
    OptionField::new("video", "what Viber has to know of a video", OptionRule::Object),
    OptionField::new("video.preview_url", "a picture of it", OptionRule::Url(1_000)).required(),
    OptionField::new("video.duration_s", "how long it is, in seconds", OptionRule::Seconds(1, 600))
        .required(),
    OptionField::new(
        "video.size_mb",
        "how large it is, in megabytes",
        OptionRule::Custom {
            wanted: "whole megabytes, 1 to 200",
            admits: |value| value.as_u64().is_some_and(|size| (1..=200).contains(&size)),
        },
    )
    .required(),
    OptionField::new("file_name", "what a file is called, with its ending", OptionRule::Text(25)),
    OptionField::new(
        "type",
        "template for a text that Viber approved, in Belarus, Russia and Ukraine; string is the usual",
        OptionRule::OneOf(&["string", "template"]),
    ),
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
    /// What Viber has to know of a video; given exactly where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<ViberVideo>,
    /// What a file is called, with its ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// `template` for a text that Viber approved, `string` for any other.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub text_type: Option<String>,
}

/// What Viber has to know of a video. `Debug` does not show the page.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViberVideo {
    /// A picture of it.
    pub preview_url: String,
    /// How long it is, in seconds: 1 to 600.
    pub duration_s: u32,
    /// How large it is, in megabytes: 1 to 200.
    pub size_mb: u32,
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

impl fmt::Debug for ViberVideo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViberVideo(…)")
    }
}

impl fmt::Debug for ViberAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViberAction(…)")
    }
}
