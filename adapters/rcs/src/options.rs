//! What only an RCS message knows.

use dispatch_contract::{OptionField, OptionRule, OptionsForm};
use serde::{Deserialize, Serialize};

/// Categories and seconds as the Messages API v1 has them.
pub(crate) const FORM: OptionsForm = OptionsForm(&[
    OptionField::new(
        "category",
        "what it is for, which some countries ask for",
        OptionRule::OneOf(&[
            "authentication",
            "transaction",
            "promotion",
            "service-request",
            "acknowledgement",
        ]),
    ),
    OptionField::new(
        "ttl_s",
        "how long the provider tries to deliver it, in seconds",
        OptionRule::Seconds(300, 2_592_000),
    ),
]);

/// Options of an RCS message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RcsOptions {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<RcsCategory>,
    /// How long the provider tries to deliver it, in seconds: 300 to 2,592,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
}

/// What an RCS message is for; in some countries it must be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RcsCategory {
    /// A code, or a question whether it was the person.
    Authentication,
    /// About something the person did.
    Transaction,
    /// An offer.
    Promotion,
    /// A part of a service that the person asked for.
    ServiceRequest,
    /// That something of the person's has arrived.
    Acknowledgement,
}
