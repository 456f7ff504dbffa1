//! Reads what Vonage tells: status webhooks and inbound messages, in the shapes of v0.1 and v1.
//!
//! The two shapes are told apart key by key, not by a version: an account may get both, and a key
//! that is not known is ignored, whatever stands there ([`Json`] looks only where it is asked). Nothing
//! here can fail on a webhook that is genuine: what is not understood is answered 200, because a repeat
//! would not be understood either.
//!
//! What persons write is an [`InboundMessage`](dispatch_contract::InboundMessage), and the bare word STOP an opt-out
//! beside it (`inbound.rs`). An SMS never quotes, so no message of ours counts as answered by one.

use std::borrow::Cow;

use dispatch_contract::{
    Account, AttemptId, Failure, Inbound, Receipt, Report, Status, UnixMillis, Usage,
    WebhookOutcome, WebhookRequest,
};
use dispatch_kit::json::Json;

use super::{
    WebhookKeys,
    errors::{CodeSource, meaning},
    inbound::from_person,
    send_result::{id, is_code, problem_code},
    signature, time,
};

/// The largest body that is parsed. Vonage's have some 2 KB; an array of them is not documented.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What became of one item.
enum Item {
    /// Genuine; perhaps with nothing for us.
    Understood(Vec<Inbound>),
    NotUnderstood,
}

/// Checks and reads one call of Vonage's. An array is taken item by item.
pub fn read(request: &WebhookRequest<'_>, account: &Account, now: UnixMillis) -> WebhookOutcome {
    if !signature::is_genuine(request, &WebhookKeys::read(account), now) {
        return WebhookOutcome::forged();
    }
    if request.body.len() > MAX_BODY_BYTES {
        return WebhookOutcome::not_understood();
    }
    let mut inbound = Vec::new();
    let mut understood = false;
    for value in Json::items(request.body) {
        match item(value) {
            Item::Understood(told) => {
                inbound.extend(told);
                understood = true;
            }
            Item::NotUnderstood => {}
        }
    }
    if understood { WebhookOutcome::understood(inbound) } else { WebhookOutcome::not_understood() }
}

fn item(value: Json<'_>) -> Item {
    if let Some(report) = value.read("status", report) {
        let receipt = receipt(value, report).map(|it| vec![Inbound::Receipt(it)]);
        return receipt.map_or(Item::NotUnderstood, Item::Understood);
    }
    let has = |name| value.read(name, Some).is_some();
    if !has("message_uuid") || !(has("message") || has("message_type")) {
        return Item::NotUnderstood;
    }
    Item::Understood(from_person(value))
}

fn receipt(value: Json<'_>, report: Report) -> Option<Receipt> {
    let provider_id = value.read("message_uuid", id);
    let attempt: Option<AttemptId> =
        value.read("client_ref", |reference| reference.text()?.trim().parse().ok());
    if provider_id.is_none() && attempt.is_none() {
        return None;
    }
    let code = match report {
        Report::Reached(_) => None,
        Report::Failed(_) => value.read("error", error_code),
    };
    let detail = code
        .as_deref()
        .and_then(|code| meaning(code, CodeSource::Receipt))
        .map(|meaning| meaning.sentence.to_owned());
    Some(Receipt {
        attempt,
        provider_id,
        report,
        provider_time: value.read("timestamp", time::read),
        code,
        detail,
        usage: value.read("usage", usage),
    })
}

/// What a status word says, whatever its case and the blanks around it. `seen` stands only in the
/// prose of the oldest guides, for `read`.
fn report(status: Json<'_>) -> Option<Report> {
    match status.text()?.trim().to_ascii_lowercase().as_str() {
        "submitted" => Some(Report::Reached(Status::Submitted)),
        "delivered" => Some(Report::Reached(Status::Delivered)),
        "read" | "seen" => Some(Report::Reached(Status::Read)),
        "rejected" => Some(Report::Failed(Failure::Rejected)),
        "undeliverable" => Some(Report::Failed(Failure::Undeliverable)),
        _ => None,
    }
}

/// The code of an error object: `code` (v0.1), or a problem's (v1).
fn error_code(error: Json<'_>) -> Option<String> {
    let code = |code: Json<'_>| code.scalar().filter(|code| is_code(code)).map(Cow::into_owned);
    error.read("code", code).or_else(|| problem_code(error))
}

fn usage(usage: Json<'_>) -> Option<Usage> {
    let text = |value: Json<'_>| value.scalar().map(Cow::into_owned);
    let currency = usage.read("currency", text).filter(|text| text.len() == 3)?;
    let price = usage.read("price", text).filter(|text| (1..=32).contains(&text.len()))?;
    Some(Usage { currency, price })
}

#[cfg(test)]
mod tests {
    use dispatch_contract::Verdict;
    use serde_json::{Value, json};

    use super::*;

    const ATTEMPT: &str = "0198c0ffee007000800000000000beef.3";

    /// Reads `body` as if it were genuine.
    fn read_body(body: &[u8]) -> WebhookOutcome {
        let account = Account {
            name: "main".to_owned(),
            revision: 1,
            settings: [("unsigned_webhooks".to_owned(), "accept".to_owned())].into(),
            secrets: [].into(),
        };
        let request = WebhookRequest { method: "POST", url: "", query: "", headers: &[], body };
        read(&request, &account, UnixMillis(0))
    }

    fn read_value(value: &Value) -> WebhookOutcome {
        read_body(value.to_string().as_bytes())
    }

    fn only_receipt(value: &Value) -> Receipt {
        match read_value(value).inbound.as_slice() {
            [Inbound::Receipt(receipt)] => receipt.clone(),
            other => panic!("one receipt expected, not {other:?}"),
        }
    }

    #[test]
    fn a_v1_rejection_is_read_in_full() {
        let receipt = only_receipt(&json!({
            "message_uuid": "u-1", "channel": "sms", "to": "447700900000", "from": "Acme",
            "timestamp": "2020-01-01T14:00:00.000Z", "status": "rejected", "client_ref": ATTEMPT,
            "error": { "type": "https://developer.vonage.com/api-errors/messages#1050",
                       "title": "1050", "detail": "447700900000 is barred", "instance": "i" },
            "usage": { "currency": "EUR", "price": "0.0333" },
            "sms": { "count_total": "2" }, "workflow": { "items_number": "1" },
        }));
        assert_eq!(
            receipt,
            Receipt {
                attempt: ATTEMPT.parse().ok(),
                provider_id: Some("u-1".to_owned()),
                report: Report::Failed(Failure::Rejected),
                provider_time: Some(UnixMillis(1_577_887_200_000)),
                code: Some("1050".to_owned()),
                detail: Some("the number is barred from messages".to_owned()),
                usage: Some(Usage { currency: "EUR".to_owned(), price: "0.0333".to_owned() }),
            }
        );
    }

    #[test]
    fn a_v0_1_rejection_is_read_in_full() {
        let receipt = only_receipt(&json!({
            "message_uuid": "u-1", "to": { "type": "sms", "number": "447700900000" },
            "from": { "type": "sms", "number": "Acme" }, "timestamp": "2020-01-01 14:00:00 UTC",
            "status": "undeliverable", "client_ref": ATTEMPT,
            "error": { "code": 1360, "reason": "TTL activated" },
            "usage": { "currency": "EUR", "price": 0.5 },
            "_links": { "workflow": { "dispatch_uuid": "d" } },
        }));
        assert_eq!(receipt.report, Report::Failed(Failure::Undeliverable));
        assert_eq!(receipt.code.as_deref(), Some("1360"));
        assert_eq!(receipt.detail.as_deref(), Some("not delivered within its time to live"));
        assert_eq!(receipt.usage.map(|usage| usage.price).as_deref(), Some("0.5"));
        assert_eq!(receipt.provider_time, Some(UnixMillis(1_577_887_200_000)));
    }

    #[test]
    fn every_status_is_read() {
        for (status, report) in [
            ("submitted", Report::Reached(Status::Submitted)),
            ("delivered", Report::Reached(Status::Delivered)),
            ("read", Report::Reached(Status::Read)),
            ("seen", Report::Reached(Status::Read)),
            ("rejected", Report::Failed(Failure::Rejected)),
            ("undeliverable", Report::Failed(Failure::Undeliverable)),
        ] {
            let receipt = only_receipt(&json!({ "message_uuid": "u-1", "status": status }));
            assert_eq!(receipt.report, report, "{status}");
            assert_eq!(receipt.code, None);
        }
    }

    #[test]
    fn a_stranger_s_client_ref_is_left_out() {
        let receipt = only_receipt(
            &json!({ "message_uuid": "u-1", "status": "delivered", "client_ref": "order-17" }),
        );
        assert_eq!(receipt.attempt, None);
    }

    #[test]
    fn a_code_is_found_wherever_it_stands() {
        for error in [
            json!({ "code": "1170" }),
            json!({ "code": 1170 }),
            json!({ "title": "1170" }),
            json!({ "title": 1170 }),
            json!({ "title": "Invalid", "type": "https://x/api-errors/messages#1170" }),
        ] {
            let body = json!({ "message_uuid": "u", "status": "rejected", "error": error });
            assert_eq!(only_receipt(&body).code.as_deref(), Some("1170"), "{error}");
        }
    }

    #[test]
    fn an_array_is_taken_item_by_item() {
        let outcome = read_value(&json!([
            { "message_uuid": "u-1", "status": "delivered" },
            { "status": "delivered" },
            null,
            { "message_uuid": "u-2", "status": "read" },
        ]));
        assert_eq!(outcome.verdict, Verdict::Understood);
        assert_eq!(outcome.inbound.len(), 2);
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
            "\"x\"",
            "{\"status\":",
            &deep,
            r#"{"status":"accepted","message_uuid":"u"}"#,
            r#"{"message_uuid":"u","status":"delivere"#,
            r#"{"status":7,"message_uuid":"u"}"#,
            r#"{"status":"delivered"}"#,
            r#"{"status":"delivered","message_uuid":{},"client_ref":[]}"#,
            r#"{"dispatch_uuid":"d","template":"failover","timestamp":"x"}"#,
        ] {
            assert_eq!(read_body(body.as_bytes()), WebhookOutcome::not_understood(), "{body:.60}");
        }
        let huge = vec![b' '; MAX_BODY_BYTES + 1];
        assert_eq!(read_body(&huge), WebhookOutcome::not_understood());
    }

    #[test]
    fn what_is_odd_where_nobody_looks_does_not_lose_the_status() {
        for odd in [
            &br#""Ana \ud83d""#[..],
            b"\"Ana M\xfc\xfci\x00\"",
            b"1e999999",
            b"NaN",
            &[[b'['; 9_999], [b']'; 9_999]].concat(),
        ] {
            let profile = [b"\"profile\":{\"name\":", odd, b"}"].concat();
            let report = br#""message_uuid":"u-1","channel":"whatsapp","status":"read""#;
            let good = [b"{", report.as_slice(), b"}"].concat();
            let first = [b"{", profile.as_slice(), b",", report, b"}"].concat();
            let last = [b"\xef\xbb\xbf{", report.as_slice(), b",", &profile, b"}"].concat();
            let among = [b"[", good.as_slice(), b",{", &profile, b"}]"].concat();
            let wanted = read_body(&good);
            assert_eq!((wanted.verdict, wanted.inbound.len()), (Verdict::Understood, 1));
            for body in [first, last, among] {
                let shown = String::from_utf8_lossy(&body[..body.len().min(90)]).into_owned();
                assert_eq!(read_body(&body), wanted, "{shown}");
            }
        }
    }

    #[test]
    fn a_status_word_counts_whatever_its_case_and_the_blanks_around_it() {
        for status in ["Delivered", "DELIVERED", " delivered", "delivered\t\n"] {
            let receipt = only_receipt(&json!({ "message_uuid": "u-1", "status": status }));
            assert_eq!(receipt.report, Report::Reached(Status::Delivered), "{status:?}");
        }
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_that_makes_sense_counts() {
        for body in [
            r#"{"status":"read","message_uuid":"u-1","status":7,"message_uuid":{}}"#,
            r#"{"status":null,"status":"delivered","message_uuid":"u-1","status":"read"}"#,
        ] {
            let outcome = read_body(body.as_bytes());
            let [Inbound::Receipt(receipt)] = outcome.inbound.as_slice() else {
                panic!("one receipt expected of {body}")
            };
            assert_eq!(receipt.report, Report::Reached(Status::Read), "{body}");
            assert_eq!(receipt.provider_id.as_deref(), Some("u-1"), "{body}");
        }
    }

    #[test]
    fn over_long_ids_and_codes_are_left_out() {
        let long = "9".repeat(1_000);
        let receipt = only_receipt(&json!({
            "message_uuid": long, "client_ref": ATTEMPT, "status": "rejected",
            "error": { "code": long }, "usage": { "currency": "EUR", "price": long },
        }));
        assert_eq!((receipt.provider_id, receipt.code, receipt.usage), (None, None, None));
    }
}
