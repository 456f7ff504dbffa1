//! The channel as a whole: the suite, and what leaves.

use std::time::Duration;

use dispatch_contract::{
    Account, AttemptId, Content, ContentKind, Endpoint, ErrorKind, Fault, Message, Retry, Secret,
    SendContext,
};
use dispatch_kit::{
    codes::Codes,
    conformance::{ConformanceSubject, NOW, assert_conforms},
    golden::{GoldenMessage, assert_golden},
    http::HttpResponse,
};
use serde_json::json;

use super::{TelegramBotSubject, send_result};

const BASE_URL: &str = "https://api.telegram.org";

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

#[test]
fn a_message_is_called_by_its_chat_and_its_number_there() {
    let under = |chat: i64, number: u64| {
        let message = json!({ "message_id": number, "chat": { "id": chat, "type": "private" } });
        let answer = json!({ "ok": true, "result": message });
        send_result::decode(&HttpResponse::new(200, answer.to_string()), Codes::default())
    };
    let ids = |chat, number| under(chat, number).expect("accepted").provider_ids;
    assert_eq!(ids(2_718_281_828, 42), ["2718281828:42"]);
    assert_eq!(ids(-1_001_234_567_890, 42), ["-1001234567890:42"]);
    // It is still to be sent, and will have another number.
    assert_eq!(under(1, 0).expect_err("no id").retry, Retry::Unknown);
}

#[tokio::test]
async fn where_the_bot_has_a_name_nothing_goes_out_under_another() {
    let subject = TelegramBotSubject::usual();
    let sample = subject.sample(ContentKind::Text).expect("a text");
    let account = subject.account("http://127.0.0.1:9");
    let context = SendContext {
        attempt: AttemptId { workflow: Default::default(), number: 1 },
        account: &account,
        callback_url: None,
        useful_for: None,
        now: NOW,
        timeout: Duration::from_secs(1),
    };
    let message = Message { from: Endpoint::Id("another_bot".to_owned()), ..sample };
    let error = subject.adapter().send(&context, &message).await.expect_err("another sender");
    assert_eq!((error.kind, error.fault), (ErrorKind::Forbidden, Fault::Account));
    assert_eq!(error.retry, Retry::Permanent);
}

fn account(settings: &[(&str, &str)], secret_token: Option<&str>) -> Account {
    let token = [("bot_token", "123456789:AA-x")].into_iter();
    let secrets = token.chain(secret_token.map(|token| ("secret_token", token)));
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Account {
        name: "main".to_owned(),
        revision: 1,
        settings: settings.iter().map(owned).collect(),
        secrets: secrets.map(|(name, secret)| (name.to_owned(), Secret::new(secret))).collect(),
    }
}

#[test]
fn what_an_account_lacks_to_hear_is_said() {
    let subject = TelegramBotSubject::usual();
    let problems = |account: &Account| {
        let provider = subject.provider();
        [provider.settings().problems(account), provider.check(account)].concat().join("; ")
    };
    let named = [("sender", "acme_bot")];
    assert_eq!(problems(&account(&[], None)), "");
    assert_eq!(problems(&account(&named, Some("a_Secret-1"))), "");
    assert!(problems(&account(&[], Some("a_secret"))).contains("setting sender is missing"));
    for odd in ["", "a secret", "sécret", &"a".repeat(257)] {
        let said = problems(&account(&named, Some(odd)));
        assert_eq!(said, "secret secret_token must be 1 to 256 of A-Z, a-z, 0-9, _ and -", "{odd}");
    }
    let odd = account(&[("sender", "acme_bot"), ("webhook", "ours")], Some("a_secret"));
    assert_eq!(problems(&odd), "setting webhook must be set or own");
}

#[test]
fn where_updates_cannot_come_that_is_said_with_what_to_set() {
    let subject = TelegramBotSubject::usual();
    let said = |settings: &[(&str, &str)], secret_token, url| {
        let account = account(settings, secret_token);
        subject.provider().check_callback_url(&account, url).unwrap_or_default()
    };
    let hears = |url| said(&[("base_url", BASE_URL)], Some("a_secret"), url);
    assert!(hears(None).contains("listen.public_url is empty"));
    for wrong in [
        "http://dispatch.example/receipts/telegram_bot/main",
        "https://dispatch.example:9443/receipts/telegram_bot/main",
        "https://[2001:db8::1]:9443/receipts/telegram_bot/main",
    ] {
        assert!(hears(Some(wrong)).contains("must be an https address"), "{wrong}");
    }
    for right in [
        "https://dispatch.example/receipts/telegram_bot/main",
        "https://dispatch.example:8443/receipts/telegram_bot/main",
        "https://[2001:db8::1]/receipts/telegram_bot/main",
    ] {
        assert_eq!(hears(Some(right)), "", "{right}");
    }
    // A server of one's own takes any; and of who does not ask for updates, or sees to them, nothing is said.
    let near = Some("http://127.0.0.1:8080/receipts/telegram_bot/main");
    assert_eq!(said(&[("base_url", "http://127.0.0.1:8081")], Some("a_secret"), near), "");
    assert_eq!(said(&[], None, None), "");
    assert_eq!(said(&[("webhook", "own")], Some("a_secret"), None), "");
}
