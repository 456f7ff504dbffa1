//! What of the channels' own options goes through Twilio.

use dispatch_contract::{OptionField, OptionRule, OptionsForm};
use dispatch_whatsapp::PARAMETER_NAMES;

use super::account::is_sid;

/// Seconds that a message may wait in Twilio's queue.
pub(crate) const VALIDITY_S: std::ops::RangeInclusive<u32> = 1..=36_000;

/// SMS, MMS and RCS.
pub(crate) const TIMED: OptionsForm = OptionsForm(&[OptionField::new(
    "ttl_s",
    "how long it may wait in Twilio's queue, in seconds",
    OptionRule::Seconds(*VALIDITY_S.start(), *VALIDITY_S.end()),
)]);

/// WhatsApp. The language of a template stands in the template itself.
pub(crate) const WHATSAPP: OptionsForm = OptionsForm(&[
    OptionField::new(
        "code_template",
        "the approved authentication template that carries a code",
        OptionRule::Custom {
            wanted: TEMPLATE,
            admits: |value| value.as_str().is_some_and(|sid| is_sid(sid, "HX")),
        },
    ),
    PARAMETER_NAMES,
]);

/// What a template is named by.
pub(crate) const TEMPLATE: &str = "the template's Content SID: HX and 32 hexadecimal digits";
