//! What only some channels know.
//!
//! That options belong to the step's channel, and what that channel asks of them, is the adapters'
//! to check.

use std::time::Duration;

use dispatch_contract::{
    Action, MessengerCategory, MessengerOptions, MmsOptions, Options, SmsEncoding, SmsOptions,
    UrlRules, ViberCategory, ViberOptions, WhatsAppOptions, WhatsAppPolicy, check_url,
};

use super::{
    FieldAt, Found, time,
    values::{Open, value},
};
use crate::pb::v1;

/// The shortest and the longest time to live, in seconds, as the channels' providers have it.
type TtlBounds = (u64, u64);
const SMS_TTL: TtlBounds = (1, 604_800);
const MMS_TTL: TtlBounds = (300, 259_200);
const VIBER_TTL: TtlBounds = (30, 259_200);

/// The options as far as they can be read; the rest is noted.
pub(super) fn options(given: &v1::Message, at: FieldAt<'_>, found: &mut Found) -> Options {
    Options {
        sms: given.sms.as_ref().and_then(|it| sms(it, at.key("sms"), found)),
        mms: given.mms.as_ref().map(|it| MmsOptions {
            ttl_s: ttl(it.ttl.as_ref(), MMS_TTL, at.key("mms").key("ttl"), found),
        }),
        messenger: given
            .messenger
            .as_ref()
            .and_then(|it| messenger(it, at.key("messenger"), found)),
        whatsapp: given.whatsapp.as_ref().and_then(|it| whatsapp(it, at.key("whatsapp"), found)),
        viber: given
            .viber_service_msg
            .as_ref()
            .and_then(|it| viber(it, at.key("viber_service_msg"), found)),
    }
}

fn sms(given: &v1::SmsOptions, at: FieldAt<'_>, found: &mut Found) -> Option<SmsOptions> {
    let encoding = value::<v1::SmsEncoding>(given.encoding, at.key("encoding"), found);
    let ttl_s = ttl(given.ttl.as_ref(), SMS_TTL, at.key("ttl"), found);
    Some(SmsOptions { encoding: encoding?, ttl_s })
}

fn messenger(
    given: &v1::MessengerOptions,
    at: FieldAt<'_>,
    found: &mut Found,
) -> Option<MessengerOptions> {
    let category = value::<v1::MessengerCategory>(given.category, at.key("category"), found)?;
    Some(MessengerOptions { category, tag: text(&given.tag) })
}

fn whatsapp(
    given: &v1::WhatsAppOptions,
    at: FieldAt<'_>,
    found: &mut Found,
) -> Option<WhatsAppOptions> {
    let policy = value::<v1::WhatsAppPolicy>(given.policy, at.key("policy"), found)?;
    Some(WhatsAppOptions { policy, locale: text(&given.locale) })
}

fn viber(
    given: &v1::ViberServiceMsgOptions,
    at: FieldAt<'_>,
    found: &mut Found,
) -> Option<ViberOptions> {
    let category = value::<v1::ViberCategory>(given.category, at.key("category"), found);
    let ttl_s = ttl(given.ttl.as_ref(), VIBER_TTL, at.key("ttl"), found);
    let action = given.action.as_ref().map(|it| action(it, at.key("action"), found));
    Some(ViberOptions { category: category?, ttl_s, action })
}

fn ttl(
    given: Option<&prost_types::Duration>,
    (least, most): TtlBounds,
    field: FieldAt<'_>,
    found: &mut Found,
) -> Option<u32> {
    let given = given?;
    let bounds = (Duration::from_secs(least), Duration::from_secs(most));
    let ms = time::span(given, bounds.0, bounds.1, field, found)?;
    if given.nanos != 0 {
        found.note(field, format!("must be whole seconds, {least} s to {most} s"));
        return None;
    }
    u32::try_from(ms / 1000).ok()
}

fn action(given: &v1::ViberAction, at: FieldAt<'_>, found: &mut Found) -> Action {
    if let Err(wrong) = check_url(&given.url, UrlRules::PUBLIC) {
        found.note(at.key("url"), wrong.to_string());
    }
    if given.text.is_empty() {
        found.note(at.key("text"), "must be given: what stands on the button");
    }
    Action { url: given.url.clone(), text: given.text.clone() }
}

fn text(given: &str) -> Option<String> {
    Some(given.to_owned()).filter(|text| !text.is_empty())
}

impl Open for v1::SmsEncoding {
    type Value = SmsEncoding;
    const NAMES: &'static [&'static str] =
        &["SMS_ENCODING_AUTO", "SMS_ENCODING_TEXT", "SMS_ENCODING_UNICODE"];

    fn value(self) -> SmsEncoding {
        match self {
            v1::SmsEncoding::Unspecified | v1::SmsEncoding::Auto => SmsEncoding::Auto,
            v1::SmsEncoding::Text => SmsEncoding::Text,
            v1::SmsEncoding::Unicode => SmsEncoding::Unicode,
        }
    }
}

impl Open for v1::MessengerCategory {
    type Value = MessengerCategory;
    const NAMES: &'static [&'static str] = &[
        "MESSENGER_CATEGORY_RESPONSE",
        "MESSENGER_CATEGORY_UPDATE",
        "MESSENGER_CATEGORY_MESSAGE_TAG",
    ];

    fn value(self) -> MessengerCategory {
        match self {
            v1::MessengerCategory::Unspecified | v1::MessengerCategory::Response => {
                MessengerCategory::Response
            }
            v1::MessengerCategory::Update => MessengerCategory::Update,
            v1::MessengerCategory::MessageTag => MessengerCategory::MessageTag,
        }
    }
}

impl Open for v1::WhatsAppPolicy {
    type Value = WhatsAppPolicy;
    const NAMES: &'static [&'static str] = &["WHATS_APP_POLICY_DETERMINISTIC"];

    fn value(self) -> WhatsAppPolicy {
        match self {
            v1::WhatsAppPolicy::Unspecified | v1::WhatsAppPolicy::Deterministic => {
                WhatsAppPolicy::Deterministic
            }
        }
    }
}

impl Open for v1::ViberCategory {
    type Value = ViberCategory;
    const NAMES: &'static [&'static str] =
        &["VIBER_CATEGORY_TRANSACTION", "VIBER_CATEGORY_PROMOTION"];

    fn value(self) -> ViberCategory {
        match self {
            v1::ViberCategory::Unspecified | v1::ViberCategory::Transaction => {
                ViberCategory::Transaction
            }
            v1::ViberCategory::Promotion => ViberCategory::Promotion,
        }
    }
}
