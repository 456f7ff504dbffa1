//! Reads what Vonage tells: status webhooks and inbound messages, in the shapes of v0.1 and v1.
//!
//! The two shapes are told apart key by key, not by a version: an account may get both, and a key
//! that is not known is ignored, whatever stands there ([`Json`] looks only where it is asked). Nothing
//! here can fail on a webhook that is genuine: what is not understood is answered 200, because a repeat
//! would not be understood either.
//!
//! An inbound message that quotes one of ours is a [`Reply`]; any other is genuine, understood, and
//! says nothing about an attempt. An SMS never quotes, so its replies cannot be matched. The bare word STOP is an
//! opt-out.

use std::borrow::Cow;

use dispatch_contract::{
    Account, AttemptId, Channel, ChannelSender, Endpoint, Failure, Inbound, OptOut, Receipt, Reply,
    Report, Status, UnixMillis, Usage, WebhookOutcome, WebhookRequest,
};

use super::{
    WebhookKeys,
    errors::{CodeSource, meaning},
    send_result::{id, is_code, problem_code},
    signature, time,
};
use dispatch_kit::{json::Json, opt_out};

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
    let reply = quoted(value).map(|provider_id| {
        Inbound::Reply(Reply {
            provider_id: Some(provider_id),
            // Vonage names the message that is answered by its own id only.
            attempt: None,
            provider_time: value.read("timestamp", time::read),
        })
    });
    Item::Understood(reply.into_iter().chain(stop(value)).collect())
}

/// What a person who writes STOP wants of the sender that they wrote to. v0.1 has the text within the message, and says
/// of either side what it is there.
fn stop(value: Json<'_>) -> Vec<Inbound> {
    let Some(told) = opt_out_of(value) else { return Vec::new() };
    // Who writes to a number, writes to it as a sender of MMS, too.
    let of_mms = (told.sender.channel == Channel::SMS).then(|| {
        let sender = ChannelSender { channel: Channel::MMS, ..told.sender.clone() };
        OptOut { sender, ..told.clone() }
    });
    std::iter::once(told).chain(of_mms).map(Inbound::OptOut).collect()
}

fn opt_out_of(value: Json<'_>) -> Option<OptOut> {
    let word = opt_out::is_lifted_by_json;
    let within = |message: Json<'_>| message.read("content", |content| content.read("text", word));
    let tapped =
        |button: Json<'_>| button.read("text", word).or_else(|| button.read("title", word));
    let said = value.read("text", word).or_else(|| value.read("message", within));
    let tapped = || ["button", "reply"].into_iter().find_map(|name| value.read(name, tapped));
    let is_lifted = said.or_else(tapped)?;
    let of_side = |side: Json<'_>| side.read("type", channel);
    let channel = value.read("channel", channel).or_else(|| value.read("to", of_side))?;
    let id = value.read("to", party)?;
    let recipient = match value.read("from", party)? {
        person if channel == Channel::MESSENGER => Endpoint::Id(person),
        person => Endpoint::Number(person),
    };
    let sender = ChannelSender { channel, id };
    Some(OptOut { sender, recipient, is_lifted })
}

fn channel(name: Json<'_>) -> Option<Channel> {
    match &*name.text()? {
        "viber_service" => Some(Channel::VIBER),
        own => own.parse().ok(),
    }
}

/// A side of a message, as messages name it.
fn party(side: Json<'_>) -> Option<String> {
    let within = || side.read("number", Json::text).or_else(|| side.read("id", Json::text));
    let id = side.text().or_else(within)?;
    let id = id.trim_start_matches('+');
    (!id.is_empty()).then(|| id.to_owned())
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

/// The id of the message that an inbound one quotes. v0.1 does not document where it stands, so
/// both likely places are looked at.
fn quoted(value: Json<'_>) -> Option<String> {
    let context =
        |value: Json<'_>| value.read("context", |context| context.read("message_uuid", id));
    context(value).or_else(|| value.read("message", context))
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
    fn a_quoting_message_is_a_reply_in_both_shapes() {
        let v1 = json!({
            "channel": "whatsapp", "message_uuid": "in-1", "message_type": "text", "text": "yes",
            "timestamp": "2020-01-01T14:00:00Z", "context": { "message_uuid": "u-1" },
        });
        let v01 = json!({
            "message_uuid": "in-1", "timestamp": "2020-01-01T14:00:00Z",
            "message": { "content": { "type": "text", "text": "yes" },
                         "context": { "message_uuid": "u-1" } },
        });
        let reply = Inbound::Reply(Reply {
            provider_id: Some("u-1".to_owned()),
            attempt: None,
            provider_time: Some(UnixMillis(1_577_887_200_000)),
        });
        for body in [v1, v01] {
            assert_eq!(read_value(&body).inbound, std::slice::from_ref(&reply), "{body}");
        }
    }

    #[test]
    fn who_writes_stop_wants_no_more_of_the_sender_in_both_shapes() {
        let v1 = json!({
            "channel": "sms", "message_uuid": "in-1", "message_type": "text", "text": "Stop",
            "from": "447700900001", "to": "447700900000",
        });
        let v01 = json!({
            "message_uuid": "in-1", "from": { "type": "sms", "number": "447700900001" },
            "to": { "type": "sms", "number": "447700900000" },
            "message": { "content": { "type": "text", "text": "STOP" } },
        });
        let sender = ChannelSender { channel: Channel::SMS, id: "447700900000".to_owned() };
        let recipient = Endpoint::Number("447700900001".to_owned());
        let stop = OptOut { sender, recipient, is_lifted: false };
        for body in [v1, v01] {
            let sender = ChannelSender { channel: Channel::MMS, ..stop.sender.clone() };
            let of_mms = OptOut { sender, ..stop.clone() };
            let told = [stop.clone(), of_mms].map(Inbound::OptOut);
            assert_eq!(read_value(&body).inbound, told, "{body}");
        }
        let page = json!({
            "channel": "messenger", "message_uuid": "in-1", "message_type": "text", "text": "START",
            "from": "person", "to": "page",
        });
        let sender = ChannelSender { channel: Channel::MESSENGER, id: "page".to_owned() };
        let recipient = Endpoint::Id("person".to_owned());
        let start = Inbound::OptOut(OptOut { sender, recipient, is_lifted: true });
        assert_eq!(read_value(&page).inbound, [start]);
    }

    #[test]
    fn a_message_that_quotes_nothing_is_understood_and_tells_nothing() {
        let outcome = read_value(&json!({
            "channel": "sms", "message_uuid": "in-1", "message_type": "text", "text": "hi",
        }));
        assert_eq!(outcome, WebhookOutcome::understood(Vec::new()));
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
