//! What only a message's channel knows, as the API has it: `api::parse::options` is the way here.

use dispatch_contract::{Channel, Options};
use dispatch_messenger::{MessengerCategory, MessengerOptions};
use dispatch_mms::MmsOptions;
use dispatch_rcs::{RcsCategory, RcsOptions};
use dispatch_sms::{SmsEncoding, SmsOptions};
use dispatch_viber::{ViberCategory, ViberOptions};
use dispatch_whatsapp::{WhatsAppOptions, WhatsAppPolicy};

use super::{duration, json::object};
use crate::{
    api::own_options,
    pb::v1::{self, message},
};

/// The message with its options, as its channel has them.
pub(super) fn with(content: message::Content, channel: &Channel, options: &Options) -> v1::Message {
    let mut said = v1::Message { content: Some(content), ..v1::Message::default() };
    if options.is_none() {
        return said;
    }
    match own_options(channel) {
        Some("sms") => said.sms = options.read().map(sms),
        Some("mms") => said.mms = options.read().map(mms),
        Some("messenger") => said.messenger = options.read().map(messenger),
        Some("whatsapp") => said.whatsapp = options.read().map(whatsapp),
        Some("rcs") => said.rcs = options.read().map(rcs),
        Some(_) => said.viber_service_msg = options.read().map(viber),
        None => said.options = Some(object(options.to_document())),
    }
    said
}

fn sms(options: SmsOptions) -> v1::SmsOptions {
    let encoding = match options.encoding {
        None => v1::SmsEncoding::Unspecified,
        Some(SmsEncoding::Auto) => v1::SmsEncoding::Auto,
        Some(SmsEncoding::Text) => v1::SmsEncoding::Text,
        Some(SmsEncoding::Unicode) => v1::SmsEncoding::Unicode,
    };
    v1::SmsOptions {
        encoding: encoding as i32,
        ttl: options.ttl_s.map(seconds),
        content_id: options.content_id.unwrap_or_default(),
        entity_id: options.entity_id.unwrap_or_default(),
    }
}

fn mms(options: MmsOptions) -> v1::MmsOptions {
    v1::MmsOptions { ttl: options.ttl_s.map(seconds) }
}

fn messenger(options: MessengerOptions) -> v1::MessengerOptions {
    let category = match options.category {
        None => v1::MessengerCategory::Unspecified,
        Some(MessengerCategory::Response) => v1::MessengerCategory::Response,
        Some(MessengerCategory::Update) => v1::MessengerCategory::Update,
        Some(MessengerCategory::MessageTag) => v1::MessengerCategory::MessageTag,
    };
    v1::MessengerOptions { category: category as i32, tag: options.tag.unwrap_or_default() }
}

fn whatsapp(options: WhatsAppOptions) -> v1::WhatsAppOptions {
    let policy = match options.policy {
        None => v1::WhatsAppPolicy::Unspecified,
        Some(WhatsAppPolicy::Deterministic) => v1::WhatsAppPolicy::Deterministic,
    };
    v1::WhatsAppOptions {
        policy: policy as i32,
        locale: options.locale.unwrap_or_default(),
        code_template: options.code_template.unwrap_or_default(),
        reply_to: options.reply_to.unwrap_or_default(),
        file_name: options.file_name.unwrap_or_default(),
        parameter_names: options.parameter_names.unwrap_or_default(),
    }
}

fn viber(options: ViberOptions) -> v1::ViberServiceMsgOptions {
    let category = match options.category {
        None => v1::ViberCategory::Unspecified,
        Some(ViberCategory::Transaction) => v1::ViberCategory::Transaction,
        Some(ViberCategory::Promotion) => v1::ViberCategory::Promotion,
    };
    let action = options.action.map(|it| v1::ViberAction { url: it.url, text: it.text });
    let video = options.video.map(|it| v1::ViberVideo {
        preview_url: it.preview_url,
        duration: Some(seconds(it.duration_s)),
        size_mb: it.size_mb,
    });
    v1::ViberServiceMsgOptions {
        category: category as i32,
        ttl: options.ttl_s.map(seconds),
        action,
        video,
        file_name: options.file_name.unwrap_or_default(),
        r#type: options.text_type.unwrap_or_default(),
    }
}

fn rcs(options: RcsOptions) -> v1::RcsOptions {
    let category = match options.category {
        None => v1::RcsCategory::Unspecified,
        Some(RcsCategory::Authentication) => v1::RcsCategory::Authentication,
        Some(RcsCategory::Transaction) => v1::RcsCategory::Transaction,
        Some(RcsCategory::Promotion) => v1::RcsCategory::Promotion,
        Some(RcsCategory::ServiceRequest) => v1::RcsCategory::ServiceRequest,
        Some(RcsCategory::Acknowledgement) => v1::RcsCategory::Acknowledgement,
    };
    v1::RcsOptions { category: category as i32, ttl: options.ttl_s.map(seconds) }
}

fn seconds(seconds: u32) -> prost_types::Duration {
    duration(u64::from(seconds) * 1000)
}
