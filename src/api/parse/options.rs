//! What only a step's channel knows: from the messages of the API to the document that its crate reads.
//!
//! What that channel asks of its options, the adapters check; here is refused what is no value of the API's,
//! and what belongs to another channel. `grpc::render::options` is the way back.

use dispatch_contract::{Channel, Options};
use dispatch_messenger::{MessengerCategory, MessengerOptions};
use dispatch_mms::MmsOptions;
use dispatch_rcs::{RcsCategory, RcsOptions};
use dispatch_sms::{SmsEncoding, SmsOptions};
use dispatch_viber::{ViberAction, ViberCategory, ViberOptions, ViberVideo};
use dispatch_whatsapp::{WhatsAppOptions, WhatsAppPolicy};

use super::{
    FieldAt, Found, content,
    values::{Open, value},
};
use crate::{api::violation::own_options, pb::v1};

/// The options of a message on `channel` as far as they can be read; the rest is noted.
pub(super) fn options(
    given: &v1::Message,
    channel: &Channel,
    at: FieldAt<'_>,
    found: &mut Found,
) -> Options {
    let v1::Message { sms, mms, messenger, whatsapp, viber_service_msg, rcs, options, content: _ } =
        given;
    let own = own_options(channel);
    for (key, is_given) in [
        ("sms", sms.is_some()),
        ("mms", mms.is_some()),
        ("messenger", messenger.is_some()),
        ("whatsapp", whatsapp.is_some()),
        ("viber_service_msg", viber_service_msg.is_some()),
        ("rcs", rcs.is_some()),
    ] {
        if is_given && own != Some(key) {
            let wanted =
                "must be left out: these options belong to another channel than the step's";
            found.note(at.key(key), wanted);
        }
    }
    match (own, options) {
        (None, None) => return Options::NONE,
        (None, Some(document)) => return open(document, at.key("options"), found),
        (Some(key), Some(_)) => found.note(
            at.key("options"),
            format!("must be left out: the options of this channel stand in {key}"),
        ),
        (Some(_), None) => {}
    }
    let typed = match own {
        Some("sms") => sms.as_ref().and_then(|it| of_sms(it, at.key("sms"), found)),
        Some("mms") => mms.as_ref().and_then(|it| of_mms(it, at.key("mms"), found)),
        Some("messenger") => {
            messenger.as_ref().and_then(|it| of_messenger(it, at.key("messenger"), found))
        }
        Some("whatsapp") => {
            whatsapp.as_ref().and_then(|it| of_whatsapp(it, at.key("whatsapp"), found))
        }
        Some("rcs") => rcs.as_ref().and_then(|it| of_rcs(it, at.key("rcs"), found)),
        _ => viber_service_msg
            .as_ref()
            .and_then(|it| of_viber(it, at.key("viber_service_msg"), found)),
    };
    typed.unwrap_or_default()
}

fn open(given: &prost_types::Struct, at: FieldAt<'_>, found: &mut Found) -> Options {
    match content::object(given) {
        Some(document) => Options::document(document),
        None => {
            found.note(at, "must be a JSON object; NaN and infinity are not JSON");
            Options::NONE
        }
    }
}

fn of_sms(given: &v1::SmsOptions, at: FieldAt<'_>, found: &mut Found) -> Option<Options> {
    let encoding = value::<v1::SmsEncoding>(given.encoding, at.key("encoding"), found);
    let ttl_s = seconds(given.ttl.as_ref(), at.key("ttl"), found);
    let (content_id, entity_id) = (text(&given.content_id), text(&given.entity_id));
    Some(Options::of(&SmsOptions { encoding: encoding?, ttl_s, content_id, entity_id }))
}

fn of_mms(given: &v1::MmsOptions, at: FieldAt<'_>, found: &mut Found) -> Option<Options> {
    let ttl_s = seconds(given.ttl.as_ref(), at.key("ttl"), found);
    Some(Options::of(&MmsOptions { ttl_s }))
}

fn of_messenger(
    given: &v1::MessengerOptions,
    at: FieldAt<'_>,
    found: &mut Found,
) -> Option<Options> {
    let category = value::<v1::MessengerCategory>(given.category, at.key("category"), found)?;
    Some(Options::of(&MessengerOptions { category, tag: text(&given.tag) }))
}

fn of_whatsapp(given: &v1::WhatsAppOptions, at: FieldAt<'_>, found: &mut Found) -> Option<Options> {
    let policy = value::<v1::WhatsAppPolicy>(given.policy, at.key("policy"), found)?;
    let (locale, code_template) = (text(&given.locale), text(&given.code_template));
    let (reply_to, file_name) = (text(&given.reply_to), text(&given.file_name));
    let names = &given.parameter_names;
    let parameter_names = (!names.is_empty()).then(|| names.clone());
    Some(Options::of(&WhatsAppOptions {
        policy,
        locale,
        code_template,
        reply_to,
        file_name,
        parameter_names,
    }))
}

fn of_viber(
    given: &v1::ViberServiceMsgOptions,
    at: FieldAt<'_>,
    found: &mut Found,
) -> Option<Options> {
    let category = value::<v1::ViberCategory>(given.category, at.key("category"), found);
    let ttl_s = seconds(given.ttl.as_ref(), at.key("ttl"), found);
    let action = given.action.as_ref();
    let action = action.map(|it| ViberAction { url: it.url.clone(), text: it.text.clone() });
    let video = given.video.as_ref().map(|it| {
        let duration_s = seconds(it.duration.as_ref(), at.key("video").key("duration"), found);
        let (preview_url, size_mb) = (it.preview_url.clone(), it.size_mb);
        // A length that was not given is refused as one of no second.
        ViberVideo { preview_url, duration_s: duration_s.unwrap_or_default(), size_mb }
    });
    let (file_name, text_type) = (text(&given.file_name), text(&given.r#type));
    let category = category?;
    Some(Options::of(&ViberOptions { category, ttl_s, action, video, file_name, text_type }))
}

fn of_rcs(given: &v1::RcsOptions, at: FieldAt<'_>, found: &mut Found) -> Option<Options> {
    let category = value::<v1::RcsCategory>(given.category, at.key("category"), found);
    let ttl_s = seconds(given.ttl.as_ref(), at.key("ttl"), found);
    Some(Options::of(&RcsOptions { category: category?, ttl_s }))
}

/// Whole seconds; how many may be given, the channel says.
fn seconds(
    given: Option<&prost_types::Duration>,
    at: FieldAt<'_>,
    found: &mut Found,
) -> Option<u32> {
    let given = given?;
    if given.nanos != 0 || given.seconds < 0 {
        found.note(at, "must be whole seconds");
        return None;
    }
    // More than the type holds is refused as any other too many.
    Some(u32::try_from(given.seconds).unwrap_or(u32::MAX))
}

fn text(given: &str) -> Option<String> {
    Some(given.to_owned()).filter(|text| !text.is_empty())
}

impl Open for v1::SmsEncoding {
    type Value = Option<SmsEncoding>;
    const NAMES: &'static [&'static str] =
        &["SMS_ENCODING_AUTO", "SMS_ENCODING_TEXT", "SMS_ENCODING_UNICODE"];

    fn value(self) -> Option<SmsEncoding> {
        match self {
            v1::SmsEncoding::Unspecified => None,
            v1::SmsEncoding::Auto => Some(SmsEncoding::Auto),
            v1::SmsEncoding::Text => Some(SmsEncoding::Text),
            v1::SmsEncoding::Unicode => Some(SmsEncoding::Unicode),
        }
    }
}

impl Open for v1::MessengerCategory {
    type Value = Option<MessengerCategory>;
    const NAMES: &'static [&'static str] = &[
        "MESSENGER_CATEGORY_RESPONSE",
        "MESSENGER_CATEGORY_UPDATE",
        "MESSENGER_CATEGORY_MESSAGE_TAG",
    ];

    fn value(self) -> Option<MessengerCategory> {
        match self {
            v1::MessengerCategory::Unspecified => None,
            v1::MessengerCategory::Response => Some(MessengerCategory::Response),
            v1::MessengerCategory::Update => Some(MessengerCategory::Update),
            v1::MessengerCategory::MessageTag => Some(MessengerCategory::MessageTag),
        }
    }
}

impl Open for v1::WhatsAppPolicy {
    type Value = Option<WhatsAppPolicy>;
    const NAMES: &'static [&'static str] = &["WHATS_APP_POLICY_DETERMINISTIC"];

    fn value(self) -> Option<WhatsAppPolicy> {
        match self {
            v1::WhatsAppPolicy::Unspecified => None,
            v1::WhatsAppPolicy::Deterministic => Some(WhatsAppPolicy::Deterministic),
        }
    }
}

impl Open for v1::ViberCategory {
    type Value = Option<ViberCategory>;
    const NAMES: &'static [&'static str] =
        &["VIBER_CATEGORY_TRANSACTION", "VIBER_CATEGORY_PROMOTION"];

    fn value(self) -> Option<ViberCategory> {
        match self {
            v1::ViberCategory::Unspecified => None,
            v1::ViberCategory::Transaction => Some(ViberCategory::Transaction),
            v1::ViberCategory::Promotion => Some(ViberCategory::Promotion),
        }
    }
}

impl Open for v1::RcsCategory {
    type Value = Option<RcsCategory>;
    const NAMES: &'static [&'static str] = &[
        "RCS_CATEGORY_AUTHENTICATION",
        "RCS_CATEGORY_TRANSACTION",
        "RCS_CATEGORY_PROMOTION",
        "RCS_CATEGORY_SERVICE_REQUEST",
        "RCS_CATEGORY_ACKNOWLEDGEMENT",
    ];

    fn value(self) -> Option<RcsCategory> {
        match self {
            v1::RcsCategory::Unspecified => None,
            v1::RcsCategory::Authentication => Some(RcsCategory::Authentication),
            v1::RcsCategory::Transaction => Some(RcsCategory::Transaction),
            v1::RcsCategory::Promotion => Some(RcsCategory::Promotion),
            v1::RcsCategory::ServiceRequest => Some(RcsCategory::ServiceRequest),
            v1::RcsCategory::Acknowledgement => Some(RcsCategory::Acknowledgement),
        }
    }
}
