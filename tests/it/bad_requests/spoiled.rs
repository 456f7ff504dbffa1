//! Good workflows spoiled in one way each: what is wrong, where, and what would be right. The one table of
//! what is wrong with a workflow: it is asked over a socket, of the real adapters.

use super::*;

/// One way to spoil a good workflow: its name, how, which field is wrong, what would be right.
pub(super) type Spoiled = (&'static str, fn(&mut WorkflowSpec), &'static str, &'static str);

pub(super) const STEPS: &[Spoiled] = &[
    ("no step", |s| s.steps.clear(), "steps", "1 to 20 steps, and holds 0"),
    ("21 steps", |s| repeat(s, 20, span(60, 0)), "steps", "1 to 20 steps, and holds 21"),
    (
        "no rule before the last step",
        |s| s.steps[0].failover = None,
        "steps[0].failover",
        "every step but the last",
    ),
    (
        "no condition",
        |s| rule(s).condition_status.clear(),
        "steps[0].failover.condition_status",
        "one of submitted, delivered, read, which messenger tells",
    ),
    (
        "a condition there is not",
        |s| rule(s).condition_status = "private".into(),
        "steps[0].failover.condition_status",
        "one of submitted, delivered, read",
    ),
    (
        "a condition in capitals",
        |s| rule(s).condition_status = "READ".into(),
        "steps[0].failover.condition_status",
        "one of submitted, delivered, read",
    ),
    (
        "a condition that Messenger does not declare",
        |s| rule(s).condition_status = "replied".into(),
        "steps[0].failover.condition_status",
        "one of submitted, delivered, read",
    ),
    (
        "read on SMS",
        |s| {
            let condition_status = "read".to_owned();
            s.steps[1].failover = Some(v1::Failover { expiry_time: None, condition_status });
        },
        "steps[1].failover.condition_status",
        "one of submitted, delivered, which sms tells",
    ),
    (
        "an expiry of nothing",
        |s| rule(s).expiry_time = span(0, 0),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "a negative expiry",
        |s| rule(s).expiry_time = span(-600, 0),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "an expiry of half a second",
        |s| rule(s).expiry_time = span(0, 500_000_000),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "an expiry over 30 days",
        |s| rule(s).expiry_time = span(30 * DAY_S, 1),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "pending as a condition",
        |s| rule(s).condition_status = "pending".into(),
        "steps[0].failover.condition_status",
        "one of submitted, delivered, read",
    ),
    (
        "an expiry with too many nanoseconds",
        |s| rule(s).expiry_time = span(5, 1_000_000_000),
        "steps[0].failover.expiry_time",
        "0 to 999,999,999 nanoseconds",
    ),
    (
        "an expiry with nanoseconds of the other sign",
        |s| rule(s).expiry_time = span(5, -1),
        "steps[0].failover.expiry_time",
        "0 to 999,999,999 nanoseconds",
    ),
    (
        "the longest expiry there can be",
        |s| rule(s).expiry_time = span(i64::MAX, i32::MAX),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "an expiry that is no duration",
        |s| rule(s).expiry_time = span(i64::MIN, i32::MIN),
        "steps[0].failover.expiry_time",
        "0 to 999,999,999 nanoseconds",
    ),
    (
        "expiries over 90 days together",
        |s| repeat(s, 4, span(30 * DAY_S, 0)),
        "steps",
        "at most 90 days together",
    ),
];

pub(super) const ADDRESSES: &[Spoiled] = &[
    ("no channel", |s| to(s, 0).channel.clear(), "steps[0].recipient.channel", "which has"),
    (
        "a channel there is not",
        |s| to(s, 0).channel = "private".into(),
        "steps[0].recipient.channel",
        "messenger, mms, rcs, sms, telegram, telegram_bot, viber_service_msg, whatsapp",
    ),
    (
        "a channel in capitals",
        |s| to(s, 0).channel = "MESSENGER".into(),
        "steps[0].recipient.channel",
        "must be a channel of this service",
    ),
    (
        "a mistyped channel",
        |s| to(s, 0).channel = "mesenger".into(),
        "steps[0].recipient.channel",
        "did you mean messenger?",
    ),
    (
        "from and to on two channels",
        |s| from(s, 1).channel = "mms".into(),
        "steps[1].sender.channel",
        "the same as recipient.channel, or left empty",
    ),
    (
        "no sender",
        |s| s.steps[0].sender = None,
        "steps[0].sender",
        "who sends, with an id or a number",
    ),
    (
        "no recipient",
        |s| s.steps[0].recipient = None,
        "steps[0].recipient",
        "who is reached, with an id or a",
    ),
    (
        "a sender without id or number",
        |s| from(s, 1).endpoint = None,
        "steps[1].sender",
        "with an id or a number",
    ),
    (
        "a recipient without id or number",
        |s| to(s, 1).endpoint = None,
        "steps[1].recipient",
        "with an id or a number",
    ),
    (
        "a number with +",
        |s| to(s, 1).endpoint = number("+447700900001"),
        "steps[1].recipient",
        "7 to 15 digits without + or leading 0",
    ),
    (
        "a number with 00",
        |s| to(s, 1).endpoint = number("00447700900001"),
        "steps[1].recipient",
        "without + or leading 0",
    ),
    (
        "a number with a letter",
        |s| to(s, 1).endpoint = number("44770090000l"),
        "steps[1].recipient",
        "7 to 15 digits",
    ),
    (
        "a number with spaces",
        |s| to(s, 1).endpoint = number("44 7700900001"),
        "steps[1].recipient",
        "7 to 15 digits",
    ),
    (
        "a number with Arabic digits",
        |s| to(s, 1).endpoint = number("٤٤٧٧٠٠٩٠"),
        "steps[1].recipient",
        "7 to 15 digits",
    ),
    (
        "a number of 16 digits",
        |s| to(s, 1).endpoint = number("4477009000011111"),
        "steps[1].recipient",
        "7 to 15 digits",
    ),
    (
        "a number of 6 digits",
        |s| to(s, 1).endpoint = number("447700"),
        "steps[1].recipient",
        "7 to 15",
    ),
    ("an empty number", |s| to(s, 1).endpoint = number(""), "steps[1].recipient", "7 to 15 digits"),
    (
        "an id where a number belongs",
        |s| to(s, 1).endpoint = id(PERSON),
        "steps[1].recipient",
        "a number",
    ),
    (
        "a number where an id belongs",
        |s| to(s, 0).endpoint = number(NUMBER),
        "steps[0].recipient",
        "an id",
    ),
    ("an empty id", |s| to(s, 0).endpoint = id(""), "steps[0].recipient", "1 to 50 characters"),
    (
        "an id of 51 characters",
        |s| to(s, 0).endpoint = id(&"ä".repeat(51)),
        "steps[0].recipient",
        "1 to 50 characters",
    ),
    (
        "an id with a line break",
        |s| to(s, 0).endpoint = id("10000000000000\n01"),
        "steps[0].recipient",
        "an id of 1 to 50",
    ),
    (
        "an id with a zero-width character",
        |s| to(s, 0).endpoint = id("10000000000000\u{200b}01"),
        "steps[0].recipient",
        "an id of 1 to 50",
    ),
    (
        "an id of a blank that is none",
        |s| to(s, 0).endpoint = id("\u{3164}"),
        "steps[0].recipient",
        "an id of 1 to 50",
    ),
    (
        "a number that is read from the right",
        |s| to(s, 1).endpoint = number("\u{202e}447700900001"),
        "steps[1].recipient",
        "E.164",
    ),
    (
        "a sender text of 12 letters",
        |s| from(s, 1).endpoint = number("private priv"),
        "steps[1].sender",
        "1 to 11 letters, digits and spaces",
    ),
];

pub(super) const MESSAGES: &[Spoiled] = &[
    ("no message", |s| s.steps[0].message = None, "steps[0].message", "one of text, image"),
    (
        "a message without content",
        |s| message(s, 0).content = None,
        "steps[0].message",
        "one of text, image, audio, video, file, location, template, code and custom",
    ),
    ("an empty text", |s| say(s, 1, text("")), "steps[1].message.text", "1 to 1000 characters"),
    (
        "a text too long for SMS",
        |s| say(s, 1, text("private ".repeat(126))),
        "steps[1].message.text",
        "1 to 1000 characters, and has 1008",
    ),
    (
        "a text of many bytes, one character too long for SMS",
        |s| say(s, 1, text("語".repeat(1001))),
        "steps[1].message.text",
        "1 to 1000 characters, and has 1001",
    ),
    (
        "a text too long for Messenger",
        |s| say(s, 0, text("🙂".repeat(641))),
        "steps[0].message.text",
        "1 to 640 characters, and has 641",
    ),
    (
        "a picture by SMS",
        |s| say(s, 1, image("https://example.org/private.png", "")),
        "steps[1].message",
        "this channel cannot send image; it sends text",
    ),
    (
        "a place by SMS",
        |s| say(s, 1, place(1.0, 1.0)),
        "steps[1].message",
        "this channel cannot send location; it sends text",
    ),
    (
        "a template on Messenger",
        |s| say(s, 0, template("private")),
        "steps[0].message",
        "this channel cannot send template",
    ),
    (
        "what was masked in an answer",
        |s| say(s, 0, Content::Masked(v1::Masked { kind: "text".into(), characters: 7 })),
        "steps[0].message.masked",
        "must not be given",
    ),
    (
        "a picture without a URL",
        |s| say(s, 0, image("", "")),
        "steps[0].message.image.url",
        "an absolute URL with a host",
    ),
    (
        "a picture by FTP",
        |s| say(s, 0, image("ftp://example.org/private.png", "")),
        "steps[0].message.image.url",
        "must begin with https:// or http://",
    ),
    (
        "a picture of an address that is none",
        |s| say(s, 0, image("http://[::1/private.jpg", "")),
        "steps[0].message.image.url",
        "must name a host",
    ),
    (
        "a picture at port 99999",
        |s| say(s, 0, image("https://example.org:99999/private.jpg", "")),
        "steps[0].message.image.url",
        "must have a port of 1 to 65535",
    ),
    (
        "a picture behind a password",
        |s| say(s, 0, image("https://me:private@example.org/a.jpg", "")),
        "steps[0].message.image.url",
        "must not carry a user or a password",
    ),
    (
        "a text with a NUL",
        |s| say(s, 1, text("private\0")),
        "steps[1].message.text",
        "no control characters but line breaks and tabs",
    ),
    ("a text of blanks", |s| say(s, 1, text("  \n ")), "steps[1].message.text", "is blank"),
    (
        "a file of this machine",
        |s| {
            let (url, caption) = ("file:///private".to_owned(), String::new());
            say(s, 0, Content::File(v1::File { url, caption }));
        },
        "steps[0].message.file.url",
        "must begin with https:// or http://",
    ),
    (
        "a URL without a host",
        |s| say(s, 0, image("https:///private.png", "")),
        "steps[0].message.image.url",
        "with a host",
    ),
    (
        "a URL with a space",
        |s| say(s, 0, image("https://example.org/private png", "")),
        "steps[0].message.image.url",
        "must hold no blank",
    ),
    (
        "a URL of over 2,000 bytes",
        |s| say(s, 0, image(&format!("https://example.org/{}", "private/".repeat(250)), "")),
        "steps[0].message.image.url",
        "1 to 2000 bytes, and has 2020",
    ),
    (
        "a caption on Messenger",
        |s| say(s, 0, image("https://example.org/a.png", "private")),
        "steps[0].message.image.caption",
        "this channel shows no caption with image; leave it out",
    ),
    (
        "a caption too long on WhatsApp",
        |s| whatsapp(s, image("https://example.org/a.png", &"ä".repeat(3001))),
        "steps[1].message.image.caption",
        "1 to 3000 characters",
    ),
    (
        "a place beyond the pole",
        |s| whatsapp(s, place(90.001, 0.0)),
        "steps[1].message.location.latitude",
        "from -90 to 90",
    ),
    (
        "a place too far west",
        |s| whatsapp(s, place(0.0, -181.0)),
        "steps[1].message.location.longitude",
        "from -180 to 180",
    ),
    (
        "a place that is no number",
        |s| whatsapp(s, place(f64::NAN, 0.0)),
        "steps[1].message.location.latitude",
        "from -90 to 90",
    ),
    (
        "a place with a name of 1,001 characters",
        |s| {
            let name = "a".repeat(1001);
            whatsapp(s, Content::Location(v1::Location { name, ..Default::default() }));
        },
        "steps[1].message.location.name",
        "at most 1000 characters",
    ),
    (
        "a place at infinity",
        |s| whatsapp(s, place(0.0, f64::INFINITY)),
        "steps[1].message.location.longitude",
        "from -180 to 180",
    ),
    (
        "a template without a name",
        |s| {
            whatsapp(s, template(""));
            locale(s, "en-GB");
        },
        "steps[1].message.template.name",
        "1 to 512 characters",
    ),
    (
        "an object with a number that JSON has not",
        |s| {
            let kind = Some(prost_types::value::Kind::NumberValue(f64::NAN));
            let fields = [("private".to_owned(), prost_types::Value { kind })].into();
            whatsapp(s, Content::Custom(prost_types::Struct { fields }));
        },
        "steps[1].message.custom",
        "must be a JSON object",
    ),
    (
        "options of SMS on Messenger",
        |s| message(s, 0).sms = Some(v1::SmsOptions::default()),
        "steps[0].message.sms",
        "belong to another channel",
    ),
    (
        "options of Viber on SMS",
        |s| message(s, 1).viber_service_msg = Some(ttl(60, 0)),
        "steps[1].message.viber_service_msg",
        "belong to another channel",
    ),
    (
        "options of WhatsApp on SMS",
        |s| locale(s, "en-GB"),
        "steps[1].message.whatsapp",
        "belong to another channel",
    ),
    (
        "options of Messenger on SMS",
        |s| message(s, 1).messenger = Some(v1::MessengerOptions::default()),
        "steps[1].message.messenger",
        "belong to another channel",
    ),
    (
        "an id on WhatsApp that is none of WhatsApp's",
        |s| {
            whatsapp(s, text("Your table is ready."));
            to(s, 1).endpoint = id("private.1");
        },
        "steps[1].recipient",
        "an id that WhatsApp gave the person: two capital letters, a period",
    ),
    (
        "a code on WhatsApp to an id",
        |s| {
            whatsapp(s, code("271828", "").unwrap());
            locale(s, "en-GB");
            message(s, 1).whatsapp.as_mut().unwrap().code_template = "one_time_code".into();
            to(s, 1).endpoint = id("US.13491208655302741918");
        },
        "steps[1].recipient",
        "must be a number: WhatsApp takes authentication templates to no id",
    ),
    (
        "a registered text that cannot be",
        |s| {
            let content_id = "7".repeat(51);
            message(s, 1).sms = Some(v1::SmsOptions { content_id, ..Default::default() });
        },
        "steps[1].message.sms.content_id",
        "1 to 50 characters",
    ),
    (
        "a video on Viber without its preview",
        |s| {
            let video =
                Some(v1::ViberVideo { duration: span(10, 0), size_mb: 4, ..Default::default() });
            viber(s, v1::ViberServiceMsgOptions { video, ..Default::default() });
            say(s, 1, film());
        },
        "steps[1].message.viber_service_msg.video.preview_url",
        "must",
    ),
    (
        "a video on Viber that is too long",
        |s| {
            let preview_url = "https://example.org/a.png".into();
            let video = Some(v1::ViberVideo { preview_url, duration: span(601, 0), size_mb: 4 });
            viber(s, v1::ViberServiceMsgOptions { video, ..Default::default() });
            say(s, 1, film());
        },
        "steps[1].message.viber_service_msg.video.duration",
        "whole seconds, 1 to 600",
    ),
    (
        "a video on Viber of which nothing is said",
        |s| {
            viber(s, v1::ViberServiceMsgOptions::default());
            say(s, 1, film());
        },
        "steps[1].message.viber_service_msg.video",
        "must be given with a video",
    ),
    (
        "a file's name under a text",
        |s| {
            let file_name = "private.pdf".into();
            viber(s, v1::ViberServiceMsgOptions { file_name, ..Default::default() });
        },
        "steps[1].message.viber_service_msg.file_name",
        "belongs to a file",
    ),
    (
        "options of RCS on SMS",
        |s| message(s, 1).rcs = Some(v1::RcsOptions::default()),
        "steps[1].message.rcs",
        "belong to another channel",
    ),
    (
        "a sender of RCS that cannot be registered",
        |s| rcs(s, "Private Shop", v1::RcsOptions::default()),
        "steps[1].sender",
        "the registered sender, 1 to 50 ASCII letters, digits, - _ and .",
    ),
    (
        "a ttl of RCS under 300 s",
        |s| rcs(s, "Acme", v1::RcsOptions { ttl: span(299, 0), ..Default::default() }),
        "steps[1].message.rcs.ttl",
        "whole seconds, 300 to 2592000",
    ),
    (
        "a category of RCS that nobody knows",
        |s| rcs(s, "Acme", v1::RcsOptions { category: 6, ..Default::default() }),
        "steps[1].message.rcs.category",
        "RCS_CATEGORY_SERVICE_REQUEST",
    ),
    (
        "a ttl under 30 s",
        |s| viber(s, ttl(29, 0)),
        "steps[1].message.viber_service_msg.ttl",
        "whole seconds, 30 to 259200",
    ),
    (
        "a ttl over 3 days",
        |s| viber(s, ttl(3 * DAY_S + 1, 0)),
        "steps[1].message.viber_service_msg.ttl",
        "whole seconds, 30 to 259200",
    ),
    (
        "a ttl of half seconds",
        |s| viber(s, ttl(60, 500_000_000)),
        "steps[1].message.viber_service_msg.ttl",
        "whole seconds",
    ),
    (
        "a button that runs a script",
        |s| viber(s, button("javascript:private()", "Press")),
        "steps[1].message.viber_service_msg.action.url",
        "must begin with https:// or http://",
    ),
    (
        "a button that says nothing",
        |s| viber(s, button("https://example.org", "")),
        "steps[1].message.viber_service_msg.action.text",
        "with something to read",
    ),
    (
        "open options where the channel has a message of its own for them",
        |s| message(s, 1).options = Some(prost_types::Struct::default()),
        "steps[1].message.options",
        "the options of this channel stand in sms",
    ),
    (
        "a code that is none",
        |s| message(s, 1).content = code("12 34", ""),
        "steps[1].message.code.code",
        "4 to 15 characters, each an ASCII letter or digit",
    ),
    (
        "a sentence without the code",
        |s| message(s, 1).content = code("271828", "Your code is private."),
        "steps[1].message.code.text",
        "must hold {code} once",
    ),
];

fn film() -> v1::message::Content {
    let url = "https://example.org/a.mp4".to_owned();
    v1::message::Content::Video(v1::Video { url, caption: String::new() })
}

fn code(code: &str, text: &str) -> Option<v1::message::Content> {
    Some(v1::message::Content::Code(v1::Code { code: code.to_owned(), text: text.to_owned() }))
}

/// A number that no enum has, wherever an enum stands in a workflow.
pub(super) const ENUMS: &[Spoiled] = &[
    ("an unknown template", |s| s.template = 2, "template", "WORKFLOW_TEMPLATE_FAILOVER; 2 is"),
    (
        "an unknown on_late_success",
        |s| s.on_late_success = 3,
        "on_late_success",
        "ON_LATE_SUCCESS_STOP, ON_LATE_SUCCESS_CONTINUE; 3 is none of them",
    ),
    ("an unknown on_unknown", |s| s.on_unknown = -1, "on_unknown", "ON_UNKNOWN_WAIT_RECEIPT"),
    (
        "an unknown priority",
        |s| s.priority = i32::MAX,
        "priority",
        "PRIORITY_HIGH, PRIORITY_NORMAL",
    ),
    (
        "an unknown encoding",
        |s| message(s, 1).sms = Some(v1::SmsOptions { encoding: 4, ..Default::default() }),
        "steps[1].message.sms.encoding",
        "SMS_ENCODING_AUTO, SMS_ENCODING_TEXT, SMS_ENCODING_UNICODE",
    ),
    (
        "an unknown category on Messenger",
        |s| category(s, 4, ""),
        "steps[0].message.messenger.category",
        "MESSENGER_CATEGORY_MESSAGE_TAG",
    ),
    (
        "the retired policy on WhatsApp",
        |s| {
            whatsapp(s, text("Your table is ready."));
            message(s, 1).whatsapp =
                Some(v1::WhatsAppOptions { policy: 2, ..v1::WhatsAppOptions::default() });
        },
        "steps[1].message.whatsapp.policy",
        "WHATS_APP_POLICY_DETERMINISTIC; 2 is none of them",
    ),
    (
        "an unknown category on Viber",
        |s| viber(s, v1::ViberServiceMsgOptions { category: 3, ..Default::default() }),
        "steps[1].message.viber_service_msg.category",
        "VIBER_CATEGORY_TRANSACTION, VIBER_CATEGORY_PROMOTION",
    ),
];

pub(super) const WHOLE: &[Spoiled] = &[
    ("valid_until past", |s| s.valid_until = ahead(-1), "valid_until", "must lie ahead"),
    ("valid_until now", |s| s.valid_until = ahead(0), "valid_until", "must lie ahead"),
    (
        "valid_until before send_at",
        |s| (s.send_at, s.valid_until) = (ahead(60), ahead(59)),
        "valid_until",
        "must be after send_at",
    ),
    (
        "valid_until of no year",
        |s| s.valid_until = Some(Timestamp { seconds: i64::MAX, nanos: 0 }),
        "valid_until",
        "of the years 1 to 9999",
    ),
    (
        "send_at over 90 days ahead",
        |s| s.send_at = ahead(90 * DAY_S + 1),
        "send_at",
        "at most 90 days ahead",
    ),
    (
        "send_at past the year 9999",
        |s| s.send_at = Some(Timestamp { seconds: i64::MAX, nanos: 0 }),
        "send_at",
        "of the years 1 to 9999",
    ),
    (
        "send_at with negative nanoseconds",
        |s| s.send_at = Some(Timestamp { seconds: NOW_S + 60, nanos: -1 }),
        "send_at",
        "0 to 999,999,999 nanoseconds",
    ),
    ("a send_within of nothing", |s| s.send_within = span(0, 0), "send_within", "1 s to 30 days"),
    ("a negative send_within", |s| s.send_within = span(-1, 0), "send_within", "1 s to 30 days"),
    (
        "a send_within over 30 days",
        |s| s.send_within = span(30 * DAY_S + 1, 0),
        "send_within",
        "1 s to 30 days",
    ),
    (
        "33 labels",
        |s| s.labels = (0..33).map(|n| (format!("private{n}"), String::new())).collect(),
        "labels",
        "at most 32 labels, and holds 33",
    ),
    (
        "a label without a key",
        |s| s.labels = [(String::new(), "private".into())].into(),
        "labels",
        "1 to 63 bytes, and one has 0",
    ),
    (
        "a label's key of 64 bytes",
        |s| s.labels = [("private-".repeat(8), String::new())].into(),
        "labels",
        "1 to 63 bytes, and one has 64",
    ),
    (
        "a label's value of 256 bytes",
        |s| s.labels = [("k".into(), "private-".repeat(32))].into(),
        "labels",
        "at most 255 bytes, and one has 256",
    ),
    (
        "a label's key with a zero-width character",
        |s| s.labels = [("private\u{200b}".into(), String::new())].into(),
        "labels",
        "each key and each value must hold printable characters only",
    ),
    (
        "a label's value with a direction mark",
        |s| s.labels = [("k".into(), "private\u{202e}".into())].into(),
        "labels",
        "each key and each value must hold printable characters only",
    ),
    (
        "a personal label that there is not",
        |s| s.personal_labels = vec!["private".into()],
        "personal_labels[0]",
        "must be the key of one of `labels`",
    ),
    (
        "a personal label named twice",
        |s| {
            s.labels = [("k".into(), "private".into())].into();
            s.personal_labels = vec!["k".into(), "k".into()];
        },
        "personal_labels[1]",
        "must not be named twice",
    ),
    (
        "a label whose key contains the recipient",
        |s| s.labels = [(format!("of {NUMBER}"), "v".into())].into(),
        "labels",
        "no key may contain a recipient",
    ),
    (
        "a client_ref of blanks",
        |s| s.client_ref = "   ".into(),
        "client_ref",
        "must hold printable characters only",
    ),
    (
        "a client_ref with a line break",
        |s| s.client_ref = "private\nprivate".into(),
        "client_ref",
        "must hold printable characters only",
    ),
    (
        "a client_ref of 101 characters",
        |s| s.client_ref = "ä".repeat(101),
        "client_ref",
        "at most 100 characters",
    ),
];

/// Rules that go beyond what a channel declares; the sandbox applies them in its place.
pub(super) const RULES: &[Spoiled] = &[
    (
        "a message tag without a tag",
        |s| category(s, 3, ""),
        "steps[0].message.messenger.tag",
        "must name a message tag",
    ),
    (
        "a tag without its category",
        |s| category(s, 1, "HUMAN_AGENT"),
        "steps[0].message.messenger.tag",
        "belongs to category message_tag; leave it out",
    ),
    (
        "a template without a locale",
        |s| whatsapp(s, template("private:ready")),
        "steps[1].message.whatsapp.locale",
        "must name the template's language",
    ),
    (
        "a retired message tag",
        |s| category(s, 3, "ACCOUNT_UPDATE"),
        "steps[0].message.messenger.tag",
        "is refused by Messenger since 2026-04-27",
    ),
    (
        "a parameter with a line break",
        |s| {
            let name = "private:ready".to_owned();
            let parameters = vec!["private".to_owned(), "private\nprivate".to_owned()];
            whatsapp(s, Content::Template(v1::Template { name, parameters }));
            locale(s, "en-GB");
        },
        "steps[1].message.template.parameters[1]",
        "no line break and no tab",
    ),
    (
        "an emoji in GSM",
        |s| {
            say(s, 1, text("private 🎉"));
            message(s, 1).sms = Some(v1::SmsOptions { encoding: 2, ..Default::default() });
        },
        "steps[1].message.sms.encoding",
        "must be unicode or auto",
    ),
    (
        "a locale that is none",
        |s| {
            whatsapp(s, template("private:ready"));
            locale(s, "private!");
        },
        "steps[1].message.whatsapp.locale",
        "such as en-GB",
    ),
    (
        "a button of 31 characters",
        |s| viber(s, button("https://example.org", &"ä".repeat(31))),
        "steps[1].message.viber_service_msg.action.text",
        "1 to 30 characters",
    ),
    (
        "a button under a picture without a caption",
        |s| {
            viber(s, button("https://example.org", "Press"));
            say(s, 1, image("https://example.org/private.png", ""));
        },
        "steps[1].message.image.caption",
        "must be given where the picture has a button",
    ),
    (
        "a button under a file",
        |s| {
            viber(s, button("https://example.org", "Press"));
            let (url, caption) = ("https://example.org/private.pdf".to_owned(), String::new());
            say(s, 1, Content::File(v1::File { url, caption }));
        },
        "steps[1].message.viber_service_msg.action",
        "under text or image only",
    ),
];

/// Something that may be done to a good workflow: its name, and what.
pub(super) type Allowed = (&'static str, fn(&mut WorkflowSpec));

/// At a limit, and so right.
pub(super) const AT_THE_LIMIT: &[Allowed] = &[
    ("a text of 1,000 characters in 3,000 bytes by SMS", |s| say(s, 1, text("語".repeat(1000)))),
    ("a text of 640 characters in 2,560 bytes on Messenger", |s| say(s, 0, text("🙂".repeat(640)))),
    ("a number of 15 digits", |s| to(s, 1).endpoint = number("447700900001234")),
    ("a number of 7 digits", |s| to(s, 1).endpoint = number("4477009")),
    ("an id of 50 characters", |s| to(s, 0).endpoint = id(&"ä".repeat(50))),
    ("20 steps", |s| repeat(s, 19, span(60, 0))),
    ("an expiry of 1 s", |s| rule(s).expiry_time = span(1, 0)),
    ("expiries of 30 days, 90 days together", |s| repeat(s, 3, span(30 * DAY_S, 0))),
    ("no expiry", |s| rule(s).expiry_time = None),
    ("send_at 90 days ahead", |s| s.send_at = ahead(90 * DAY_S)),
    ("send_at past", |s| s.send_at = ahead(-DAY_S)),
    ("valid_until a second ahead", |s| s.valid_until = ahead(1)),
    ("a send_within of 30 days", |s| s.send_within = span(30 * DAY_S, 0)),
    ("32 labels at their longest", |s| {
        s.labels = (10..42).map(|n| (format!("{n}{}", "k".repeat(61)), "v".repeat(255))).collect();
    }),
    ("a client_ref of 100 characters", |s| s.client_ref = "ä".repeat(100)),
    ("a person on WhatsApp", |s| {
        whatsapp(s, text("Your table is ready."));
        to(s, 1).endpoint = id("US.13491208655302741918");
    }),
    ("RCS with a ttl of 30 days", |s| {
        rcs(s, "Acme", v1::RcsOptions { category: 4, ttl: span(30 * DAY_S, 0) });
    }),
    ("a ttl of 30 s", |s| viber(s, ttl(30, 0))),
    ("a ttl of 3 days", |s| viber(s, ttl(3 * DAY_S, 0))),
    ("a URL whose scheme shouts", |s| say(s, 0, image("HTTPS://EXAMPLE.ORG/a.png", ""))),
    ("an id beyond ASCII", |s| to(s, 0).endpoint = id("ไทย हिन्दी")),
    ("a URL of 2,000 bytes", |s| {
        say(s, 0, image(&format!("https://example.org/{}", "a".repeat(1980)), ""));
    }),
];
