use dispatch_contract::{Secret, UnixMillis, Verdict};
use serde_json::{Value, json};

use super::*;

const ATTEMPT: &str = "0198c0ffee007000800000000000beef.3";
const SECRET: &str = "app-secret";

fn account() -> Account {
    let secrets = [("app_secret", SECRET), ("app_secret_next", "next"), ("verify_token", "to&ken")];
    Account {
        name: "main".to_owned(),
        revision: 1,
        settings: [("codes".to_owned(), "131998 = account; 10 = content".to_owned())].into(),
        secrets: secrets.map(|(name, text)| (name.to_owned(), Secret::new(text))).into(),
    }
}

fn signed(secret: &str, body: &[u8]) -> WebhookOutcome {
    let signature = SignatureScheme::Sha256Hex.sign(secret.as_bytes(), body);
    posted(&format!("sha256={signature}"), body)
}

fn posted(signature: &str, body: &[u8]) -> WebhookOutcome {
    let headers = [("x-hub-signature-256".to_owned(), signature.as_bytes().to_vec())];
    let request = WebhookRequest { method: "POST", url: "", query: "", headers: &headers, body };
    read(&request, &account())
}

fn read_body(body: &[u8]) -> WebhookOutcome {
    signed(SECRET, body)
}

/// A webhook of WhatsApp's, with this value for each number.
fn webhook(values: &[Value]) -> Vec<u8> {
    let changes = |value| json!([{ "field": "messages", "value": value }]);
    let entries = values.iter().map(|value| json!({ "id": "1", "changes": changes(value) }));
    let body =
        json!({ "object": "whatsapp_business_account", "entry": entries.collect::<Value>() });
    body.to_string().into_bytes()
}

fn only_receipt(status: Value) -> Receipt {
    let outcome = read_body(&webhook(&[json!({ "statuses": [status] })]));
    match outcome.inbound.as_slice() {
        [Inbound::Receipt(receipt)] => receipt.clone(),
        other => panic!("one receipt expected, not {other:?}"),
    }
}

#[test]
fn a_failure_is_read_in_full() {
    let receipt = only_receipt(json!({
        "id": "wamid.1", "status": "failed", "timestamp": "1698266945",
        "recipient_id": "447700900000", "biz_opaque_callback_data": ATTEMPT,
        "errors": [{ "code": 131026, "title": "Message undeliverable", "message": "x",
                     "error_data": { "details": "447700900000 is not there" }, "href": "h" }],
    }));
    assert_eq!(
        receipt,
        Receipt {
            attempt: ATTEMPT.parse().ok(),
            provider_id: Some("wamid.1".to_owned()),
            report: Report::Failed(Failure::Undeliverable),
            provider_time: Some(UnixMillis(1_698_266_945_000)),
            code: Some("131026".to_owned()),
            detail: Some("the person cannot be reached on this channel".to_owned()),
            usage: None,
        }
    );
}

#[test]
fn every_status_is_read_also_of_a_person_who_hides_the_number() {
    for (status, code, report) in [
        ("sent", None, Report::Reached(Status::Submitted)),
        ("delivered", None, Report::Reached(Status::Delivered)),
        ("read", None, Report::Reached(Status::Read)),
        ("played", None, Report::Reached(Status::Read)),
        ("failed", None, Report::Failed(Failure::Undeliverable)),
        ("failed", Some(131_047), Report::Failed(Failure::Undeliverable)),
        ("failed", Some(132_001), Report::Failed(Failure::Rejected)),
        ("failed", Some(131_042), Report::Failed(Failure::Rejected)),
        ("failed", Some(131_000), Report::Failed(Failure::Undeliverable)),
        // The account says whose fault it is.
        ("failed", Some(131_998), Report::Failed(Failure::Rejected)),
    ] {
        let errors: Vec<_> = code.map(|code| json!({ "code": code })).into_iter().collect();
        let receipt = only_receipt(json!({ "id": "w", "status": status, "errors": errors }));
        assert_eq!(receipt.report, report, "{status} {code:?}");
        assert_eq!(receipt.code, code.map(|code: u32| code.to_string()));
    }
}

#[test]
fn a_batch_of_many_numbers_is_taken_item_by_item() {
    let delivered = |id: &str| json!({ "id": id, "status": "delivered", "timestamp": "1" });
    let outcome = read_body(&webhook(&[
        json!({ "metadata": { "phone_number_id": "10001" },
                "statuses": [delivered("w1"), { "id": "w2", "status": "odd" }, delivered("w3")] }),
        json!({ "metadata": { "phone_number_id": "10002" }, "statuses": [7, delivered("w4")] }),
        json!({ "statuses": "odd", "errors": [{ "code": 131031, "title": "locked" }] }),
    ]));
    let ids = outcome.inbound.iter().map(|told| match told {
        Inbound::Receipt(receipt) => receipt.provider_id.clone(),
        other => panic!("a receipt expected, not {other:?}"),
    });
    let ids: Vec<_> = ids.flatten().collect();
    assert_eq!(ids, ["w1", "w3", "w4"]);
    assert_eq!(outcome.verdict, Verdict::Understood);
}

/// A webhook of Messenger's, with these events of one page.
fn page(events: Value) -> WebhookOutcome {
    let body =
        json!({ "object": "page", "entry": [{ "id": "7", "time": 1, "messaging": events }] });
    read_body(body.to_string().as_bytes())
}

/// An event between a person and a page.
fn event(name: &str, what: Value) -> Value {
    let mut event = json!({
        "sender": { "id": "2384965291561984" }, "recipient": { "id": "107083064136738" },
        "timestamp": 1_458_668_856_463_u64,
    });
    event[name] = what;
    event
}

#[test]
fn what_a_page_delivered_is_told_by_ids_and_an_echo_by_our_own() {
    let receipt = |attempt, mid: &str, status| {
        Inbound::Receipt(Receipt {
            attempt,
            provider_id: Some(mid.to_owned()),
            report: Report::Reached(status),
            provider_time: Some(UnixMillis(1_458_668_856_463)),
            code: None,
            detail: None,
            usage: None,
        })
    };
    let mids = json!({ "mids": ["m_1", 7, "m_2"], "watermark": 1_458_668_856_253_u64 });
    let echo =
        json!({ "is_echo": true, "mid": "m_3", "app_id": 1, "metadata": ATTEMPT, "text": "t" });
    let stranger = json!({ "is_echo": true, "mid": "m_4", "metadata": "order-17", "text": "t" });
    let outcome =
        page(json!([event("delivery", mids), event("message", echo), event("message", stranger),]));
    assert_eq!(
        outcome.inbound,
        [
            receipt(None, "m_1", Status::Delivered),
            receipt(None, "7", Status::Delivered),
            receipt(None, "m_2", Status::Delivered),
            receipt(ATTEMPT.parse().ok(), "m_3", Status::Submitted),
        ]
    );
}

#[test]
fn what_is_told_without_ids_is_told_of_all_that_a_page_sent_a_person() {
    let told = json!({ "watermark": 1_458_668_856_253_u64 });
    let outcome = page(json!([event("delivery", told.clone()), event("read", told)]));
    let watermark = |status| {
        Inbound::Watermark(Watermark {
            sender: ChannelSender { channel: Channel::MESSENGER, id: "107083064136738".to_owned() },
            recipient: Endpoint::Id("2384965291561984".to_owned()),
            status,
            until: UnixMillis(1_458_668_856_253),
        })
    };
    assert_eq!(outcome.inbound, [watermark(Status::Delivered), watermark(Status::Read)]);
    let nothing = [json!({}), json!({ "watermark": "soon" }), json!([])];
    for nothing in nothing {
        assert_eq!(page(json!([event("read", nothing)])).inbound, []);
    }
}

#[test]
fn what_no_person_says_on_a_page_is_understood_and_tells_nothing() {
    let referral = event("referral", json!({ "ref": "shop" }));
    assert_eq!(page(json!([referral])), WebhookOutcome::understood(Vec::new()));
    assert_eq!(page(json!([{}, 7, "x"])), WebhookOutcome::not_understood());
}

#[test]
fn what_people_write_on_instagram_is_understood_and_is_no_page_s() {
    let said = event("message", json!({ "mid": "m_in", "text": "STOP" }));
    let told = |object: Option<&str>| {
        let mut body = json!({ "entry": [{ "time": 1, "messaging": [said] }] });
        if let Some(object) = object {
            body["object"] = object.into();
        }
        read_body(body.to_string().as_bytes())
    };
    assert_eq!(told(Some("instagram")), WebhookOutcome::understood(Vec::new()));
    for of_page in [Some("page"), None] {
        assert_eq!(told(of_page).inbound.len(), 2, "{of_page:?}");
    }
}

#[test]
fn a_change_that_is_none_of_ours_is_understood_and_tells_nothing() {
    let change =
        json!({ "field": "message_template_status_update", "value": { "event": "PAUSED" } });
    let body = json!({ "object": "whatsapp_business_account", "entry": [{ "changes": [change] }] });
    let outcome = read_body(body.to_string().as_bytes());
    assert_eq!(outcome, WebhookOutcome::understood(Vec::new()));
}

#[test]
fn what_is_not_understood_is_answered_200_and_changes_nothing() {
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "7",
        "{\"entry\":",
        &deep,
        r#"{"object":"whatsapp_business_account","entry":[]}"#,
        r#"{"entry":[{"changes":[{"field":"messages"}]}]}"#,
        r#"{"entry":[{"changes":[{"field":"messages","value":{"statuses":[{"status":"read"}]}}]}]}"#,
        r#"{"entry":[{"changes":[{"field":"messages","value":{"statuses":[{"id":"w"}]}}]}]}"#,
    ] {
        assert_eq!(read_body(body.as_bytes()), WebhookOutcome::not_understood(), "{body:.60}");
    }
}

#[test]
fn what_is_odd_where_nobody_looks_does_not_lose_the_status() {
    for odd in [
        &br#""Ana \ud83d""#[..],
        b"\"Ana M\xfc\x00\"",
        b"1e999999",
        &[[b'['; 9_999], [b']'; 9_999]].concat(),
    ] {
        let status = br#"{"id":"w1","status":"read"}"#.as_slice();
        let head = b"\xef\xbb\xbf{\"entry\":[{\"changes\":[{\"field\":\"messages\",\"value\":{\"contacts\":[{\"profile\":{\"name\":";
        let body = [head.as_slice(), odd, b"}}],\"statuses\":[", status, b"]}}]}]}"].concat();
        let outcome = read_body(&body);
        assert_eq!(outcome.inbound.len(), 1, "{}", String::from_utf8_lossy(odd));
    }
}

#[test]
fn the_raw_bytes_are_what_is_signed_by_either_secret() {
    let escaped = br#"{"entry":[{"changes":[{"field":"x","value":"\u00e4"}]}]}"#;
    for secret in [SECRET, "next"] {
        assert_eq!(signed(secret, escaped).verdict, Verdict::Understood, "{secret}");
    }
    assert_eq!(signed("", escaped).verdict, Verdict::Forged);
    let signature = SignatureScheme::Sha256Hex.sign(SECRET.as_bytes(), escaped);
    for wrong in [
        signature.clone(),
        format!("sha1={signature}"),
        format!("sha256= {signature}"),
        "sha256=".to_owned(),
    ] {
        assert_eq!(posted(&wrong, escaped).verdict, Verdict::Forged, "{wrong}");
    }
}

#[test]
fn a_challenge_is_repeated_to_whoever_knows_the_token() {
    let asked = |query: &str| {
        let request = WebhookRequest { method: "GET", url: "", query, headers: &[], body: b"" };
        read(&request, &account())
    };
    let right = asked("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=to%26ken");
    assert_eq!((right.status, right.body.as_slice()), (200, &b"1158201444"[..]));
    let long =
        format!("hub.mode=subscribe&hub.verify_token=to%26ken&hub.challenge={}", "1".repeat(2_000));
    for wrong in [
        "",
        "hub.mode=subscribe&hub.challenge=1",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=to",
        "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=to%26ken",
        "hub.mode=subscribe&hub.verify_token=to%26ken",
        &long,
    ] {
        let outcome = asked(wrong);
        assert_eq!((outcome.status, outcome.verdict), (401, Verdict::Forged), "{wrong:.60}");
    }
}
