//! Every body that the adapters send, held against Vonage's own descriptions of both versions of its
//! Messages API: all channels, kinds of content and options, as far as a create would let them through.

mod schema;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dispatch_contract::{
    Channel, ChannelAdapter, Content, ContentKind, Endpoint, Media, Message, Options, Provider,
    UnixMillis,
};
use dispatch_messenger::{MessengerCategory, MessengerOptions};
use dispatch_mms::MmsOptions;
use dispatch_rcs::{RcsCategory, RcsOptions};
use dispatch_sms::{SmsEncoding, SmsOptions};
use dispatch_viber::{ViberAction, ViberCategory, ViberOptions, ViberVideo};
use dispatch_vonage::wire_of_use;
use dispatch_whatsapp::{WhatsAppOptions, WhatsAppPolicy};
use serde_json::{Value, json};

use self::schema::Schema;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn adapters() -> Vec<Arc<dyn ChannelAdapter>> {
    dispatch_vonage::provider().channels()
}

/// Every kind of content, plain and with what it may have beside.
fn contents() -> Vec<Content> {
    let url = |url: &str, caption: Option<&str>| Media {
        url: url.to_owned(),
        caption: caption.map(str::to_owned),
    };
    let mut contents = vec![
        Content::Text("Your table is ready.".to_owned()),
        Content::Text("Ваш стол готов. 🎉\nПриходите!".to_owned()),
        Content::Location {
            latitude: "51.5".to_owned(),
            longitude: "-0.1".to_owned(),
            name: None,
            address: None,
        },
        Content::Template { name: "a:b".to_owned(), parameters: vec![] },
        Content::Template {
            name: "a:b".to_owned(),
            parameters: vec!["1".to_owned(), "ж".to_owned()],
        },
        Content::Custom(r#"{"type":"location","location":{"latitude":1.5}}"#.to_owned()),
        Content::Custom("{}".to_owned()),
        Content::Code { code: "271828".to_owned(), text: None },
        Content::Code { code: "271828".to_owned(), text: Some("Code: {code}".to_owned()) },
    ];
    for kind in [Content::Image, Content::Audio, Content::Video, Content::File] {
        contents.push(kind(url("https://example.com/a.png", None)));
        contents.push(kind(url("HTTP://bücher.example:8080/a%20b.png?c=d#e", None)));
        contents.push(kind(url("https://example.com/a.png", Some("Look"))));
    }
    contents
}

/// The options of a channel, none and each.
fn options(channel: &Channel) -> Vec<Options> {
    let mut all = vec![Options::NONE];
    let ttls = [None, Some(30), Some(300), Some(259_200)];
    if *channel == Channel::SMS {
        for encoding in [SmsEncoding::Auto, SmsEncoding::Text, SmsEncoding::Unicode] {
            let encoding = Some(encoding);
            all.extend(ttls.map(|ttl_s| {
                Options::of(&SmsOptions { encoding, ttl_s, ..SmsOptions::default() })
            }));
        }
        let ids = ["1107457532145798767", "1101456324675322134"].map(|id| Some(id.to_owned()));
        let [content_id, entity_id] = ids;
        all.push(Options::of(&SmsOptions { content_id, entity_id, ..SmsOptions::default() }));
    } else if *channel == Channel::MMS {
        all.extend(ttls.map(|ttl_s| Options::of(&MmsOptions { ttl_s })));
    } else if *channel == Channel::MESSENGER {
        for (category, tag) in [
            (MessengerCategory::Response, None),
            (MessengerCategory::Update, None),
            (MessengerCategory::MessageTag, Some("HUMAN_AGENT".to_owned())),
        ] {
            all.push(Options::of(&MessengerOptions { category: Some(category), tag }));
        }
    } else if *channel == Channel::WHATSAPP {
        for (locale, code_template) in
            [(None, None), (Some("en-GB"), None), (Some("en-GB"), Some("one_time_code"))]
        {
            let [locale, code_template] = [locale, code_template].map(|it| it.map(str::to_owned));
            let policy = Some(WhatsAppPolicy::Deterministic);
            for (reply_to, file_name) in [(None, None), (Some("u-1"), Some("menu.pdf"))] {
                let [reply_to, file_name] = [reply_to, file_name].map(|it| it.map(str::to_owned));
                let (locale, code_template) = (locale.clone(), code_template.clone());
                let one = WhatsAppOptions {
                    policy,
                    locale,
                    code_template,
                    reply_to,
                    file_name,
                    ..WhatsAppOptions::default()
                };
                all.push(Options::of(&one));
                all.push(Options::of(&WhatsAppOptions { file_name: None, ..one }));
            }
        }
    } else if *channel == Channel::RCS {
        use RcsCategory::{
            Acknowledgement, Authentication, Promotion, ServiceRequest, Transaction,
        };
        let categories =
            [Authentication, Transaction, Promotion, ServiceRequest, Acknowledgement].map(Some);
        for category in categories.into_iter().chain([None]) {
            for ttl_s in [None, Some(300), Some(2_592_000)] {
                all.push(Options::of(&RcsOptions { category, ttl_s }));
            }
        }
    } else {
        let button = ViberAction {
            url: "https://example.com/b".to_owned(),
            text: "Find out more".to_owned(),
        };
        for category in [ViberCategory::Transaction, ViberCategory::Promotion].map(Some) {
            for action in [None, Some(button.clone())] {
                let each = ttls.map(|ttl_s| {
                    let action = action.clone();
                    ViberOptions { category, ttl_s, action, ..ViberOptions::default() }
                });
                all.extend(each.iter().map(Options::of));
            }
            let preview_url = "https://example.com/a.png".to_owned();
            let video = Some(ViberVideo { preview_url, duration_s: 600, size_mb: 200 });
            let file_name = Some("menu.pdf".to_owned());
            let text_type = Some("template".to_owned());
            for one in [
                ViberOptions { category, video, ..ViberOptions::default() },
                ViberOptions { category, file_name, ..ViberOptions::default() },
                ViberOptions { category, text_type, ..ViberOptions::default() },
            ] {
                all.push(Options::of(&one));
            }
        }
    }
    all
}

fn senders(channel: &Channel) -> Vec<Endpoint> {
    let senders: &[Endpoint] = match channel.as_str() {
        "rcs" => &[Endpoint::Id("Acme_Shop-1".to_owned())],
        "messenger" | "viber_service_msg" => &[Endpoint::Id("107083064136738".to_owned())],
        _ => &[
            Endpoint::Number("447700900001".to_owned()),
            Endpoint::Number("12345".to_owned()),
            Endpoint::Number("Dispatch".to_owned()),
        ],
    };
    senders.to_vec()
}

fn recipients(channel: &Channel) -> Vec<Endpoint> {
    match channel.as_str() {
        "messenger" => vec![Endpoint::Id("1".to_owned()), Endpoint::Id("1".repeat(50))],
        "whatsapp" => vec![
            Endpoint::Number("447700900000".to_owned()),
            Endpoint::Id("US.13491208655302741918".to_owned()),
        ],
        _ => vec![
            Endpoint::Number("4477009".to_owned()),
            Endpoint::Number("447700900001234".to_owned()),
        ],
    }
}

/// What a create lets through.
fn messages(adapter: &dyn ChannelAdapter) -> Vec<Message> {
    let channel = adapter.channel();
    let mut messages = Vec::new();
    for from in senders(channel) {
        for to in recipients(channel) {
            for content in contents() {
                for options in options(channel) {
                    messages.push(Message {
                        channel: channel.clone(),
                        from: from.clone(),
                        to: to.clone(),
                        content: content.clone(),
                        options,
                    });
                }
            }
        }
    }
    messages.retain(|message| adapter.check(message, NOW).is_empty());
    messages
}

#[test]
fn every_body_that_is_sent_is_as_the_provider_describes_it() {
    let (v1, v01) = (Schema::v1(), Schema::v01());
    let of_use = [None, Some(1), Some(600), Some(10 * 86_400)];
    for adapter in adapters() {
        let channel = adapter.channel();
        let messages = messages(&*adapter);
        let kinds: BTreeSet<ContentKind> = messages.iter().map(|it| it.content.kind()).collect();
        let declared: BTreeSet<ContentKind> =
            adapter.capabilities().content.iter().copied().collect();
        assert_eq!(kinds, declared, "{channel}: each kind that it sends was tried");
        let (mut bodies, mut old) = (0, 0);
        for message in &messages {
            for seconds in of_use {
                let wire = wire_of_use(message, seconds.map(Duration::from_secs));
                let mut body = wire.v1.unwrap();
                // The description is older than the ids of persons on WhatsApp, which `to` takes too.
                if let ("whatsapp", Endpoint::Id(id)) = (channel.as_str(), &message.to) {
                    assert_eq!(body["to"], id.as_str());
                    body["to"] = json!("447700900000");
                }
                v1.check(&body).unwrap_or_else(|why| panic!("{channel}, v1: {body}\n{why}"));
                bodies += 1;
                if let Some(body) = wire.v01 {
                    v01.check(&body).unwrap_or_else(|why| panic!("{channel}, v0.1: {body}\n{why}"));
                    old += 1;
                }
            }
        }
        // v0.1 has no RCS.
        let is_enough = bodies >= 100 && (old >= 10 || *channel == Channel::RCS);
        assert!(is_enough, "{channel}: {bodies} bodies, {old} of v0.1");
    }
}

#[test]
fn a_body_that_is_not_as_described_is_found() {
    let v1 = Schema::v1();
    let good = json!({
        "channel": "mms", "message_type": "image", "from": "12345", "to": "447700900000",
        "image": { "url": "https://example.com/a.png" }, "ttl": 300,
    });
    assert_eq!(v1.check(&good), Ok(()));
    let spoiled: [(&str, Value); 9] = [
        ("/ttl", json!(299)),
        ("/ttl", json!("300")),
        ("/to", json!("447700")),
        ("/to", json!(447_700_900_000_u64)),
        ("/channel", json!("viber_service_msg")),
        ("/message_type", json!("text")),
        ("/nothing", json!("known")),
        ("/image/name", json!("a.png")),
        ("/webhook_version", json!("v2")),
    ];
    for (pointer, value) in spoiled {
        let mut body = good.clone();
        let (place, key) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(place).unwrap()[key] = value;
        assert!(v1.check(&body).is_err(), "{body}");
    }
    for key in ["channel", "message_type", "from", "to", "image"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(key);
        assert!(v1.check(&body).is_err(), "without {key}");
    }
    let template = json!({
        "channel": "whatsapp", "message_type": "template", "from": "447700900001",
        "to": "447700900000", "template": { "name": "a:b" },
    });
    assert!(v1.check(&template).is_err(), "a template without a language");

    let v01 = Schema::v01();
    let good = json!({
        "from": { "type": "sms", "number": "Dispatch" }, "to": { "type": "sms", "number": "447700900000" },
        "message": { "content": { "type": "text", "text": "Your table is ready." } },
    });
    assert_eq!(v01.check(&good), Ok(()));
    for (pointer, value) in [
        ("/ttl", json!(300)),
        ("/message/sms", json!({ "encoding_type": "text" })),
        ("/message/content/type", json!("image")),
        ("/to/type", json!("fax")),
    ] {
        let mut body = good.clone();
        let (place, key) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(place).unwrap()[key] = value;
        assert!(v01.check(&body).is_err(), "{body}");
    }
}
