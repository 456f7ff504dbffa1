//! Bad messages: content and options.

use super::{Case, each_is_refused, id, number, seconds, step, text};
use crate::pb::v1::{self, WorkflowSpec, message::Content};

fn say(spec: &mut WorkflowSpec, step: usize, content: Content) {
    spec.steps[step].message.as_mut().unwrap().content = Some(content);
}

/// The last step, on WhatsApp, which sends everything.
fn whatsapp(spec: &mut WorkflowSpec, content: Content) {
    spec.steps[1] = step("whatsapp", number("447700900001"), number("447700900000"), content);
}

/// The last step, on Viber, with these options.
fn viber(spec: &mut WorkflowSpec, options: v1::ViberServiceMsgOptions) {
    spec.steps[1] = step("viber_service_msg", id("16273"), number("447700900000"), text("hello"));
    options_of(spec, 1).viber_service_msg = Some(options);
}

fn options_of(spec: &mut WorkflowSpec, step: usize) -> &mut v1::Message {
    spec.steps[step].message.as_mut().unwrap()
}

fn image(url: &str, caption: &str) -> Content {
    Content::Image(v1::Image { url: url.to_owned(), caption: caption.to_owned() })
}

fn place(latitude: f64, longitude: f64) -> Content {
    Content::Location(v1::Location { latitude, longitude, ..v1::Location::default() })
}

fn ttl(seconds: i64, nanos: i32) -> v1::ViberServiceMsgOptions {
    let ttl = Some(prost_types::Duration { seconds, nanos });
    v1::ViberServiceMsgOptions { ttl, ..v1::ViberServiceMsgOptions::default() }
}

fn button(url: &str, text: &str) -> v1::ViberServiceMsgOptions {
    let action = Some(v1::ViberAction { url: url.to_owned(), text: text.to_owned() });
    v1::ViberServiceMsgOptions { action, ..v1::ViberServiceMsgOptions::default() }
}

const CONTENT: &[Case] = &[
    ("no message", |s| s.steps[0].message = None, "steps[0].message", "one of text, image"),
    (
        "an empty message",
        |s| s.steps[0].message = Some(v1::Message::default()),
        "steps[0].message",
        "one of text, image, audio, video, file, location, template and custom",
    ),
    ("an empty text", |s| say(s, 1, text("")), "steps[1].message.text", "1 to 1000 characters"),
    (
        "a text too long for SMS",
        |s| say(s, 1, text(&"ä".repeat(1001))),
        "steps[1].message.text",
        "1 to 1000 characters, and has 1001",
    ),
    (
        "a text too long for Messenger",
        |s| say(s, 0, text(&"a".repeat(641))),
        "steps[0].message.text",
        "1 to 640 characters, and has 641",
    ),
    (
        "a picture by SMS",
        |s| say(s, 1, image("https://example.org/a.png", "")),
        "steps[1].message",
        "this channel cannot send image; it sends text",
    ),
    (
        "a place on Messenger",
        |s| say(s, 0, place(1.0, 1.0)),
        "steps[0].message",
        "this channel cannot send location; it sends text, image, audio, video, file",
    ),
    (
        "a picture without a URL",
        |s| say(s, 0, image("", "")),
        "steps[0].message.image.url",
        "an absolute URL with a host",
    ),
    (
        "a picture by FTP",
        |s| say(s, 0, image("ftp://example.org/a.png", "")),
        "steps[0].message.image.url",
        "must begin with https:// or http://",
    ),
    (
        "a URL without a host",
        |s| say(s, 0, image("https:///a.png", "")),
        "steps[0].message.image.url",
        "with a host",
    ),
    (
        "a URL with a space",
        |s| say(s, 0, image("https://example.org/a b.png", "")),
        "steps[0].message.image.url",
        "must hold no blank",
    ),
    (
        "a URL too long",
        |s| say(s, 0, image(&format!("https://example.org/{}", "a".repeat(2000)), "")),
        "steps[0].message.image.url",
        "1 to 2000 bytes, and has 2020",
    ),
    (
        "a caption where none is shown",
        |s| say(s, 0, image("https://example.org/a.png", "look")),
        "steps[0].message.image.caption",
        "this channel shows no caption with image",
    ),
    (
        "a caption too long",
        |s| whatsapp(s, image("https://example.org/a.png", &"a".repeat(3001))),
        "steps[1].message.image.caption",
        "1 to 3000 characters",
    ),
    (
        "too far north",
        |s| whatsapp(s, place(90.001, 0.0)),
        "steps[1].message.location.latitude",
        "from -90 to 90",
    ),
    (
        "too far west",
        |s| whatsapp(s, place(0.0, -181.0)),
        "steps[1].message.location.longitude",
        "from -180 to 180",
    ),
    (
        "nowhere",
        |s| whatsapp(s, place(f64::NAN, 0.0)),
        "steps[1].message.location.latitude",
        "from -90 to 90",
    ),
    (
        "a place with a very long name",
        |s| {
            let name = "a".repeat(1001);
            whatsapp(s, Content::Location(v1::Location { name, ..v1::Location::default() }));
        },
        "steps[1].message.location.name",
        "at most 1000 characters",
    ),
    (
        "a template without a name",
        |s| whatsapp(s, Content::Template(v1::Template::default())),
        "steps[1].message.template.name",
        "1 to 512 characters",
    ),
    (
        "an object that is not JSON",
        |s| {
            let nan =
                prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(f64::NAN)) };
            let fields = [("a".to_owned(), nan)].into();
            whatsapp(s, Content::Custom(prost_types::Struct { fields }));
        },
        "steps[1].message.custom",
        "must be a JSON object",
    ),
];

const OPTIONS: &[Case] = &[
    (
        "options of another channel",
        |s| options_of(s, 0).sms = Some(v1::SmsOptions::default()),
        "steps[0].message.sms",
        "belong to another channel",
    ),
    (
        "Viber's options on SMS",
        |s| options_of(s, 1).viber_service_msg = Some(ttl(60, 0)),
        "steps[1].message.viber_service_msg",
        "belong to another channel",
    ),
    (
        "an unknown encoding",
        |s| options_of(s, 1).sms = Some(v1::SmsOptions { encoding: 4, ttl: None }),
        "steps[1].message.sms.encoding",
        "SMS_ENCODING_AUTO, SMS_ENCODING_TEXT, SMS_ENCODING_UNICODE; 4 is none",
    ),
    (
        "an unknown category on Messenger",
        |s| {
            options_of(s, 0).messenger =
                Some(v1::MessengerOptions { category: 9, tag: String::new() });
        },
        "steps[0].message.messenger.category",
        "MESSENGER_CATEGORY_RESPONSE",
    ),
    (
        "a message tag without a tag",
        |s| {
            options_of(s, 0).messenger =
                Some(v1::MessengerOptions { category: 3, tag: String::new() });
        },
        "steps[0].message.messenger",
        "needs a tag",
    ),
    (
        "the retired policy of WhatsApp",
        |s| {
            whatsapp(s, text("hello"));
            options_of(s, 1).whatsapp =
                Some(v1::WhatsAppOptions { policy: 2, locale: String::new() });
        },
        "steps[1].message.whatsapp.policy",
        "WHATS_APP_POLICY_DETERMINISTIC; 2 is none",
    ),
    (
        "an unknown category on Viber",
        |s| {
            viber(s, v1::ViberServiceMsgOptions { category: 5, ..Default::default() });
        },
        "steps[1].message.viber_service_msg.category",
        "VIBER_CATEGORY_TRANSACTION, VIBER_CATEGORY_PROMOTION",
    ),
    (
        "a ttl too short",
        |s| viber(s, ttl(29, 0)),
        "steps[1].message.viber_service_msg.ttl",
        "30 s to 3 days",
    ),
    (
        "a ttl too long",
        |s| viber(s, ttl(259_201, 0)),
        "steps[1].message.viber_service_msg.ttl",
        "30 s to 3 days",
    ),
    (
        "a ttl of half seconds",
        |s| viber(s, ttl(60, 500_000_000)),
        "steps[1].message.viber_service_msg.ttl",
        "whole seconds",
    ),
    (
        "a button to nowhere",
        |s| viber(s, button("javascript:alert(1)", "press")),
        "steps[1].message.viber_service_msg.action.url",
        "must begin with https:// or http://",
    ),
    (
        "a button that says nothing",
        |s| viber(s, button("https://example.org", "")),
        "steps[1].message.viber_service_msg.action.text",
        "what stands on the button",
    ),
];

#[test]
fn bad_content_is_refused_with_its_field_and_what_would_be_right() {
    each_is_refused(CONTENT);
}

#[test]
fn bad_options_are_refused_with_their_field_and_what_would_be_right() {
    each_is_refused(OPTIONS);
}

#[test]
fn a_condition_must_be_told_by_an_adapter_that_also_sends_the_content() {
    // Two adapters serve this sender: one tells delivered, the other sends pictures.
    let mut spec = super::only(step(
        "sms",
        number("447700900009"),
        number("447700900000"),
        image("https://example.org/a.png", ""),
    ));
    let rule = |status: &str| {
        Some(v1::Failover { expiry_time: Some(seconds(60)), condition_status: status.to_owned() })
    };
    spec.steps[0].failover = rule("delivered");
    let found = super::parse_spec(&spec, &super::Fakes::new(), super::NOW).unwrap_err();
    let found = super::told(&found);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "steps[0].failover.condition_status");
    assert_eq!(found[0].1, "must be one of submitted, read, which sms tells, for image");
    spec.steps[0].failover = rule("read");
    assert!(super::parse_spec(&spec, &super::Fakes::new(), super::NOW).is_ok());
}
