use std::time::Duration;

use dispatch_contract::{
    Channel, ChannelAdapter, Content, Endpoint, Field, Media, Message, Options, UnixMillis,
};
use dispatch_kit::conformance::assert_parts;
use dispatch_viber::{ViberAction, ViberCategory, ViberOptions, ViberVideo};
use serde_json::json;

use super::*;
use crate::{ApiVersion, VonageSubject, wire, wire_of_use};

const ATTEMPT: &str = "0198c0ffee007000800000000000beef.7";

fn message(content: Content, viber: Option<ViberOptions>) -> Message {
    Message {
        channel: Channel::VIBER,
        from: Endpoint::Id("9876543210".to_owned()),
        to: Endpoint::Number("447700900000".to_owned()),
        content,
        options: viber.as_ref().map(Options::of).unwrap_or_default(),
    }
}

fn text() -> Content {
    Content::Text("Hello from Acme!".to_owned())
}

fn image(caption: Option<&str>) -> Content {
    Content::Image(Media {
        url: "https://example.com/image.jpg".to_owned(),
        caption: caption.map(str::to_owned),
    })
}

fn code() -> Content {
    let text = Some("Your code is {code}.".to_owned());
    Content::Code { code: "271828".to_owned(), text }
}

fn file() -> Content {
    Content::File(Media { url: "https://example.com/a.pdf".to_owned(), caption: None })
}

fn options(ttl_s: Option<u32>, button: Option<(&str, &str)>) -> Option<ViberOptions> {
    let button = button.map(|(url, text)| (url.to_owned(), text.to_owned()));
    let action = button.map(|(url, text)| ViberAction { url, text });
    let category = Some(ViberCategory::Transaction);
    Some(ViberOptions { category, ttl_s, action, ..ViberOptions::default() })
}

fn video() -> Content {
    Content::Video(Media {
        url: "https://example.com/a.mp4".to_owned(),
        caption: Some("Watch".to_owned()),
    })
}

fn of_video(preview_url: &str, duration_s: u32, size_mb: u32) -> ViberOptions {
    let preview_url = preview_url.to_owned();
    let video = Some(ViberVideo { preview_url, duration_s, size_mb });
    ViberOptions { video, ..ViberOptions::default() }
}

const BUTTON: (&str, &str) = ("https://example.com/page1.html", "Find out more");

#[tokio::test]
async fn it_keeps_what_it_declares() {
    for version in [ApiVersion::V1, ApiVersion::V01] {
        let samples = vec![
            message(text(), options(Some(600), None)),
            message(image(Some("Look")), options(None, Some(BUTTON))),
            message(file(), None),
            message(code(), None),
            message(video(), Some(of_video("https://example.com/a.png", 10, 4))),
        ];
        let subject =
            VonageSubject::new(&Channel::VIBER, version, samples).expect("one of Vonage's");
        assert_parts(&subject, subject.parts()).await;
    }
}

#[test]
fn the_channel_has_another_name_in_each_version() {
    let wire = wire(&message(text(), options(Some(600), None)));
    assert_eq!(
        wire.v1.expect("sayable"),
        json!({
            "channel": "viber_service",
            "message_type": "text",
            "to": "447700900000",
            "from": "9876543210",
            "text": "Hello from Acme!",
            "viber_service": { "category": "transaction", "ttl": 600 },
            "client_ref": ATTEMPT,
            "webhook_version": "v1",
            "webhook_url": "https://example.com/status",
        })
    );
    assert_eq!(
        wire.v01.expect("sayable"),
        json!({
            "to": { "type": "viber_service_msg", "number": "447700900000" },
            "from": { "type": "viber_service_msg", "id": "9876543210" },
            "message": {
                "content": { "type": "text", "text": "Hello from Acme!" },
                "viber_service_msg": { "category": "transaction", "ttl": 600 },
            },
            "client_ref": ATTEMPT,
        })
    );
}

#[test]
fn a_picture_with_a_button_goes_through_v1() {
    let wire = wire(&message(image(Some("Look")), options(None, Some(BUTTON))));
    let v1 = wire.v1.expect("sayable");
    assert_eq!(v1["image"], json!({ "url": "https://example.com/image.jpg", "caption": "Look" }));
    assert_eq!(
        v1["viber_service"],
        json!({
            "category": "transaction",
            "action": { "url": "https://example.com/page1.html", "text": "Find out more" },
        })
    );
    assert!(wire.v01.is_none());
}

#[test]
fn what_v0_1_does_not_know_goes_through_v1() {
    for (content, options) in
        [(text(), options(None, Some(BUTTON))), (image(Some("Look")), None), (file(), None)]
    {
        assert!(wire(&message(content, options)).v01.is_none());
    }
    assert!(wire(&message(image(None), None)).v01.is_some());
}

#[test]
fn a_code_goes_out_as_its_sentence() {
    let wire = wire(&message(code(), None));
    let v1 = wire.v1.expect("sayable");
    assert_eq!(
        (&v1["message_type"], &v1["text"]),
        (&json!("text"), &json!("Your code is 271828."))
    );
    assert!(wire.v01.is_none(), "whatever v0.1 has no word for goes through v1");
}

#[test]
fn the_time_to_live_is_30_s_to_3_days() {
    for (ttl_s, right) in [(29, false), (30, true), (259_200, true), (259_201, false)] {
        let found = check(&message(text(), options(Some(ttl_s), None)));
        assert_eq!(found.is_empty(), right, "{ttl_s}: {found:?}");
        assert!(found.iter().all(|field| *field == Field::Option("ttl_s")));
    }
}

#[test]
fn a_button_stands_under_text_or_a_captioned_picture() {
    let with_button = |content| check(&message(content, options(None, Some(BUTTON))));
    assert_eq!(with_button(text()), []);
    assert_eq!(with_button(image(Some("Look"))), []);
    assert_eq!(with_button(image(None)), [Field::Within("image.caption")]);
    assert_eq!(with_button(file()), [Field::Option("action")]);
}

#[test]
fn a_button_has_a_short_text_and_a_web_address() {
    let long = format!("https://example.com/{}", "a".repeat(1_981));
    for (url, words, field) in [
        ("https://example.com", "ж".repeat(30), None),
        (&long[..2_000], "Go".to_owned(), None),
        ("https://example.com", "ж".repeat(31), Some("action.text")),
        ("https://example.com", String::new(), Some("action.text")),
        ("https://example.com", " \n".to_owned(), Some("action.text")),
        ("https://example.com", "a\0b".to_owned(), Some("action.text")),
        ("tel:447700900000", "Call".to_owned(), Some("action.url")),
        ("https://[::1/", "Go".to_owned(), Some("action.url")),
        ("HTTPS://example.com", "Go".to_owned(), None),
        (&long, "Go".to_owned(), Some("action.url")),
    ] {
        let found = check(&message(text(), options(None, Some((url, &words)))));
        assert_eq!(found.first().copied(), field.map(Field::Option), "{url:.40} {words}");
    }
}

fn check(message: &Message) -> Vec<Field> {
    let adapter = adapter(&Arc::default());
    adapter.check(message, UnixMillis(0)).into_iter().map(|violation| violation.field).collect()
}

#[test]
fn what_is_of_use_for_a_while_only_lives_no_longer() {
    let ttl = |asked, seconds| {
        let message = message(text(), asked);
        let wire = wire_of_use(&message, Some(Duration::from_secs(seconds)));
        let v01 = wire.v01.expect("sayable")["message"].get("viber_service_msg").cloned();
        let v1 = wire.v1.expect("sayable").get("viber_service").cloned();
        assert_eq!(v1, v01);
        v1.and_then(|options| options["ttl"].as_u64())
    };
    assert_eq!(ttl(None, 600), Some(600));
    assert_eq!(ttl(None, 5), Some(30), "the shortest there is");
    assert_eq!(ttl(None, 259_200), None, "as long as Viber tries by itself");
    assert_eq!(ttl(options(Some(60), None), 600), Some(60));
    assert_eq!(ttl(options(Some(86_400), None), 600), Some(600));
}

#[test]
fn a_video_has_a_preview_a_length_and_a_size() {
    let good = || of_video("https://example.com/a.png", 600, 200);
    let wire = wire(&message(video(), Some(good())));
    let v1 = wire.v1.expect("sayable");
    assert_eq!(
        v1["video"],
        json!({
            "url": "https://example.com/a.mp4", "caption": "Watch",
            "thumb_url": "https://example.com/a.png", "duration": "600", "file_size": "200",
        })
    );
    let told = json!({ "category": "transaction", "duration": "600", "file_size": "200" });
    assert_eq!(v1["viber_service"], told);
    assert!(wire.v01.is_none());

    assert_eq!(check(&message(video(), Some(good()))), []);
    assert_eq!(check(&message(video(), None)), [Field::Option("video")]);
    assert_eq!(check(&message(text(), Some(good()))), [Field::Option("video")]);
    let button =
        ViberOptions { video: good().video, ..options(None, Some(BUTTON)).unwrap_or_default() };
    assert_eq!(check(&message(video(), Some(button))), [Field::Option("action")]);
    let long = format!("https://example.com/{}", "a".repeat(981));
    for (wrong, field) in [
        (of_video("", 10, 4), "video.preview_url"),
        (of_video(&long, 10, 4), "video.preview_url"),
        (of_video("https://example.com/a.png", 0, 4), "video.duration_s"),
        (of_video("https://example.com/a.png", 601, 4), "video.duration_s"),
        (of_video("https://example.com/a.png", 10, 0), "video.size_mb"),
        (of_video("https://example.com/a.png", 10, 201), "video.size_mb"),
    ] {
        assert_eq!(check(&message(video(), Some(wrong))), [Field::Option(field)]);
    }
}

#[test]
fn a_file_has_a_name_and_a_text_a_type() {
    let named = |name: &str| {
        let file_name = Some(name.to_owned());
        Some(ViberOptions { file_name, ..ViberOptions::default() })
    };
    let v1 = wire(&message(file(), named("menu.pdf"))).v1.expect("sayable");
    assert_eq!(v1["file"], json!({ "url": "https://example.com/a.pdf", "name": "menu.pdf" }));
    assert_eq!(check(&message(file(), named(&"a".repeat(25)))), []);
    assert_eq!(check(&message(file(), named(&"a".repeat(26)))), [Field::Option("file_name")]);
    assert_eq!(check(&message(text(), named("a.pdf"))), [Field::Option("file_name")]);

    let typed = |name: &str| {
        let text_type = Some(name.to_owned());
        Some(ViberOptions { text_type, ..ViberOptions::default() })
    };
    let wire = wire(&message(text(), typed("template")));
    let told = json!({ "category": "transaction", "type": "template" });
    assert_eq!(wire.v1.expect("sayable")["viber_service"], told);
    assert_eq!(wire.v01.expect("sayable")["message"]["viber_service_msg"], told);
    assert_eq!(check(&message(text(), typed("approved"))), [Field::Option("type")]);
}
