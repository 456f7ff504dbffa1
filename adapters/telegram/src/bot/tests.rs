//! The channel as a whole: the suite, and what leaves.

use std::time::Duration;

use dispatch_contract::{Content, ContentKind, Endpoint, ErrorKind, Message, Retry};
use dispatch_kit::{
    codes::Codes,
    conformance::{ConformanceSubject, NOW, assert_conforms},
    golden::{GoldenMessage, assert_golden},
    http::HttpResponse,
};
use serde_json::json;

use super::{TelegramBotSubject, send_result};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");

#[tokio::test]
async fn the_channel_keeps_what_it_declares() {
    assert_conforms(&TelegramBotSubject::usual()).await;
}

#[tokio::test]
async fn texts_leave_as_their_golden_files_have_them() {
    let subject = TelegramBotSubject::usual();
    let sample = subject.sample(ContentKind::Text).expect("a text");
    let said = Some("Your code is {code}.".to_owned());
    let code = Content::Code { code: "271828".to_owned(), text: said };
    let group = Endpoint::Id("-1001234567890".to_owned());
    let messages = [
        GoldenMessage::new("text", sample.clone()),
        GoldenMessage::new("code", Message { content: code, ..sample.clone() }),
        GoldenMessage::new("to-a-group", Message { to: group, ..sample }),
    ];
    assert_golden(&subject, FOLDER, &["authorization", "content-type"], &messages).await;
}

#[test]
fn only_ids_of_chats_are_reached() {
    let subject = TelegramBotSubject::usual();
    let sample = subject.sample(ContentKind::Text).expect("a text");
    for (id, is_right) in [
        ("1", true),
        ("-1001234567890", true),
        ("", false),
        ("-", false),
        ("@acme", false),
        ("01", false),
    ] {
        let message = Message { to: Endpoint::Id(id.to_owned()), ..sample.clone() };
        assert_eq!(subject.adapter().check(&message, NOW).is_empty(), is_right, "{id}");
    }
}

#[test]
fn how_long_to_wait_stands_in_the_answer() {
    let body = json!({ "ok": false, "error_code": 429, "parameters": { "retry_after": 7 } });
    let answer = HttpResponse::new(429, body.to_string());
    let error = send_result::decode(&answer, Codes::default()).expect_err("refused");
    let after = Some(Duration::from_secs(7));
    assert_eq!((error.kind, error.retry), (ErrorKind::Throttled, Retry::Temporary { after }));
    assert_eq!(error.code.as_deref(), Some("429"));
}
