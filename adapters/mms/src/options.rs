//! What only an MMS knows.

use dispatch_contract::{OptionField, OptionRule, OptionsForm};
use serde::{Deserialize, Serialize};

/// Seconds as the Messages API v1 has them.
pub(crate) const FORM: OptionsForm = OptionsForm(&[OptionField::new(
    "ttl_s",
    "how long the carriers try to deliver it, in seconds",
    OptionRule::Seconds(300, 259_200),
)]);

/// Options of an MMS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MmsOptions {
    /// How long the carriers try to deliver it, in seconds: 300 to 259,200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
}
