//! The channel as a whole: the suite, and what leaves.

use std::time::Duration;

use dispatch_contract::{
    Account, Content, Endpoint, Field, Inbound, Message, Options, Probe, Receipt, Report, Retry,
    Secret, SendContext, Status, UnixMillis, Usage, Verdict, WebhookOutcome, WebhookRequest,
};
use dispatch_kit::{
    conformance::{
        ConformanceSubject, NOW, StubAnswer, assert_conforms, attempt,
        stub::{Behaviour, PlayedProvider, Stub},
    },
    golden::{GoldenMessage, assert_golden},
};
use serde_json::{Value, json};

use super::{SIGNATURE, TIMESTAMP, TelegramSubject, read_webhook, signature};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
const TOKEN: &str = "AAGG-a-token-for-the-conformance-suite";

fn code(code: &str) -> Message {
    let subject = TelegramSubject::usual();
    Message {
        channel: subject.adapter().channel().clone(),
        from: Endpoint::Id("acme_codes".to_owned()),
        to: Endpoint::Number("447700900000".to_owned()),
        content: Content::Code { code: code.to_owned(), text: None },
        options: Options::default(),
    }
}

#[tokio::test]
async fn the_channel_keeps_what_it_declares() {
    assert_conforms(&TelegramSubject::usual()).await;
}

#[tokio::test]
async fn codes_leave_as_their_golden_files_have_them() {
    let usual = Endpoint::Id("VerificationCodes".to_owned());
    let messages = [
        GoldenMessage::new("code", code("271828")),
        GoldenMessage::new("from-telegram-itself", Message { from: usual, ..code("2718") }),
        GoldenMessage::new("of-use-for-a-moment", code("271828"))
            .of_use_for(Duration::from_millis(10)),
        GoldenMessage::new("of-use-for-a-while", code("271828"))
            .of_use_for(Duration::from_millis(90_500)),
        GoldenMessage::new("of-use-for-a-day", code("271828"))
            .of_use_for(Duration::from_secs(86_400)),
    ];
    let headers = ["authorization", "content-type"];
    assert_golden(&TelegramSubject::usual(), FOLDER, &headers, &messages).await;
}

#[test]
fn only_codes_that_telegram_sends_are_taken() {
    let subject = TelegramSubject::usual();
    for (text, is_right) in
        [("2718", true), ("27182818", true), ("271", false), ("271828182", false), ("A718", false)]
    {
        let found = subject.adapter().check(&code(text), NOW);
        assert_eq!(found.is_empty(), is_right, "{text}: {found:?}");
        assert!(found.iter().all(|it| it.field == Field::Within("code.code")), "{found:?}");
    }
    for sender in ["acme", "1acme", "acme codes", "@acme_codes", ""] {
        let message = Message { from: Endpoint::Id(sender.to_owned()), ..code("271828") };
        assert!(!subject.adapter().check(&message, NOW).is_empty(), "{sender}");
    }
}

#[test]
fn what_reports_cannot_come_to_is_told_beforehand() {
    let subject = TelegramSubject::usual();
    let mut account = subject.account("https://gatewayapi.telegram.org");
    let said = |account: &Account, url: Option<&str>| {
        subject.provider().check_callback_url(account, url).unwrap_or_default()
    };
    let long = format!("https://dispatch.example/{}", "a".repeat(256));
    assert!(said(&account, None).contains("listen.public_url is empty"));
    assert!(said(&account, Some(&long)).contains("at most 256 bytes"));
    assert!(said(&account, Some("http://dispatch.example/")).contains("no https address"));
    assert_eq!(said(&account, Some("https://dispatch.example/receipts/telegram/main")), "");
    let here = subject.account("http://127.0.0.1:9");
    assert_eq!(said(&here, Some("http://127.0.0.1:8")), "", "whatever stands in for it");

    account.settings.insert("codes".to_owned(), "FLOOD_WAIT = permanent".to_owned());
    assert_eq!(subject.provider().check(&account), Vec::<String>::new());
    account.settings.insert("codes".to_owned(), "flood = permanent".to_owned());
    assert!(subject.provider().check(&account)[0].contains("PHONE_NUMBER_INVALID"));
}

fn context(account: &Account) -> SendContext<'_> {
    SendContext {
        attempt: attempt(),
        account,
        callback_url: None,
        useful_for: None,
        now: NOW,
        timeout: Duration::from_secs(2),
    }
}

#[tokio::test]
async fn where_it_is_asked_first_a_number_that_cannot_be_reached_costs_no_send() {
    let subject = TelegramSubject::usual();
    let asking = |url: &str| {
        let mut account = subject.account(url);
        account.settings.insert("check_send_ability".to_owned(), "yes".to_owned());
        account
    };
    let granted = Behaviour::Answer(subject.accepted("first"));
    let stub = Stub::start(granted).expect("a socket");
    let account = asking(&stub.url());
    let sent = subject.adapter().send(&context(&account), &code("271828")).await.expect("sent");
    assert_eq!(sent.provider_ids, ["first"]);
    let requests = stub.requests();
    let [check, send] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(check.starts_with("POST /checkSendAbility ") && !check.contains("271828"), "{check}");
    assert!(send.starts_with("POST /sendVerificationMessage "), "{send}");
    assert!(send.contains(r#""request_id":"first""#), "{send}");

    let nobody = json!({ "ok": false, "error": "PHONE_NUMBER_NOT_FOUND" }).to_string();
    let in_doubt = StubAnswer::new(500, "{}");
    for (answer, retry) in [
        (StubAnswer::new(200, nobody), Retry::Permanent),
        (in_doubt, Retry::Temporary { after: None }),
    ] {
        let stub = Stub::start(Behaviour::Answer(answer)).expect("a socket");
        let account = asking(&stub.url());
        let error = subject.adapter().send(&context(&account), &code("271828")).await;
        assert_eq!(error.expect_err("refused").retry, retry);
        assert_eq!(stub.requests().len(), 1, "nothing was sent");
    }
}

#[tokio::test]
async fn a_revocation_that_nobody_can_tell_the_end_of_takes_nothing_back() {
    let subject = TelegramSubject::usual();
    for status in [json!({ "status": "sent", "updated_at": 1 }), Value::Null] {
        let result = json!({ "request_id": "1", "request_cost": 0, "delivery_status": status });
        let answer = StubAnswer::new(200, json!({ "ok": true, "result": result }).to_string());
        let stub = Stub::start(Behaviour::Answer(answer)).expect("a socket");
        let account = subject.account(&stub.url());
        let error = subject.adapter().recall(&context(&account), "1").await.expect_err("unknown");
        assert_eq!(error.retry, Retry::Unknown);
    }
}

#[tokio::test]
async fn a_token_works_is_refused_or_is_not_known_of_and_nothing_is_sent() {
    let subject = TelegramSubject::usual();
    let said = |error: &str| json!({ "ok": false, "error": error }).to_string();
    for (status, body, wanted) in [
        (200, said("REQUEST_ID_INVALID"), "works"),
        (400, said("REQUEST_ID_INVALID"), "works"),
        (200, said("ACCESS_TOKEN_INVALID"), "refused"),
        (401, String::new(), "refused"),
        (200, said("FLOOD_WAIT_3"), "cannot be asked"),
        (500, String::new(), "cannot be asked"),
        (404, String::new(), "cannot be asked"),
    ] {
        let answer = Behaviour::Answer(StubAnswer::new(status, body));
        let stub = Stub::start(answer).expect("a socket");
        let account = subject.account(&stub.url());
        let found: Probe = subject.provider().probe(&account, NOW, Duration::from_secs(2)).await;
        assert!(found.to_string().starts_with(wanted), "{status}: {found}");
        assert!(!found.to_string().contains(TOKEN));
        let request = stub.request().expect("a request");
        assert!(request.starts_with("POST /checkVerificationStatus "), "{request}");
    }
}

fn reported(token: &str, body: &str) -> WebhookOutcome {
    let mut account = TelegramSubject::usual().account("http://127.0.0.1:9");
    account.secrets.insert("access_token_next".to_owned(), Secret::new("old"));
    let body = body.as_bytes();
    let headers = [
        (TIMESTAMP.to_owned(), b"1700000000".to_vec()),
        (SIGNATURE.to_owned(), signature(token, "1700000000", body).into_bytes()),
    ];
    let url = "https://dispatch.example/receipts/telegram/main";
    read_webhook(
        &WebhookRequest { method: "POST", url, query: "", headers: &headers, body },
        &account,
    )
}

#[test]
fn a_report_is_read_in_full() {
    let body = json!({
        "request_id": "271828182845904", "phone_number": "+447700900000", "request_cost": 0.01,
        "is_refunded": true, "payload": attempt().to_string(),
        "delivery_status": { "status": "expired", "updated_at": 1_700_000_000 },
    });
    let outcome = reported(TOKEN, &body.to_string());
    let receipt = Receipt {
        attempt: Some(attempt()),
        provider_id: Some("271828182845904".to_owned()),
        report: Report::Failed(dispatch_contract::Failure::Undeliverable),
        provider_time: Some(UnixMillis(1_700_000_000_000)),
        code: Some("expired".to_owned()),
        detail: Some("it was not delivered in its time, and deleted".to_owned()),
        usage: Some(Usage { currency: "USD".to_owned(), price: "0".to_owned() }),
    };
    assert_eq!(outcome.inbound, [Inbound::Receipt(receipt)]);

    let read = json!({
        "request_id": "1", "request_cost": 0.01, "payload": "another's",
        "delivery_status": { "status": "read" },
    });
    for token in [TOKEN, "old"] {
        let outcome = reported(token, &read.to_string());
        let [Inbound::Receipt(receipt)] = outcome.inbound.as_slice() else { panic!("{outcome:?}") };
        assert_eq!((receipt.attempt, receipt.report), (None, Report::Reached(Status::Read)));
        let usage = receipt.usage.as_ref().expect("its cost");
        assert_eq!((usage.price.as_str(), &receipt.code), ("0.01", &None));
    }
    assert_eq!(reported("another", &read.to_string()).verdict, Verdict::Forged);
    for odd in [
        "",
        "{}",
        "[]",
        r#"{"request_id":"1"}"#,
        r#"{"request_id":"1","delivery_status":{"status":"eaten"}}"#,
    ] {
        assert_eq!(reported(TOKEN, odd).verdict, Verdict::NotUnderstood, "{odd}");
    }
}
