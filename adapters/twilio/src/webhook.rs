//! Reads what Twilio tells: statuses of messages, and messages of people, as forms; and the same statuses as
//! events in JSON, where an account has a sink for them.
//!
//! Fields come without notice, so whatever is not asked for is ignored. Nothing here can fail on a webhook
//! that is genuine: what is not understood is answered 200, because a repeat would not be understood either.
//!
//! A form's attempt stands in the query of the URL that it was posted to, which is ours and signed. A person's message
//! is an [`InboundMessage`](dispatch_contract::InboundMessage) (`inbound.rs`). One that asks for no more messages is an
//! [`OptOut`](dispatch_contract::OptOut) beside that, whether Twilio says so (`OptOutType`) or it is the bare word; and so
//! is a status whose code says it.

use dispatch_contract::{
    Account, ErrorKind, Failure, Fault, Inbound, Receipt, Report, Status, WebhookOutcome,
    WebhookRequest,
};
use dispatch_kit::{codes::Codes, json::Json};

use super::{
    account::signing_tokens,
    encode::ATTEMPT,
    errors::{is_of_sending, meaning},
    form::Form,
    inbound::{from_person, opt_outs},
    send_result::{code, code_of, is_id, known},
    signature,
};

/// The largest body that is parsed. Twilio's forms have some 500 bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How the types of events about messages begin.
const EVENTS: &str = "com.twilio.messaging.";

/// What became of one item.
enum TwilioEvent {
    /// Genuine; perhaps with nothing for us.
    Understood(Vec<Inbound>),
    NotUnderstood,
}

/// Checks and reads one call of Twilio's.
pub fn read(request: &WebhookRequest<'_>, account: &Account) -> WebhookOutcome {
    if !signature::is_genuine(request, &signing_tokens(account)) {
        return WebhookOutcome::forged();
    }
    if request.body.len() > MAX_BODY_BYTES {
        return WebhookOutcome::not_understood();
    }
    let codes = Codes::of(account);
    let told = match signature::body_hash(request.query) {
        Some(_) => Json::items(request.body).map(|told| event(told, codes)).collect(),
        None => vec![form(&Form::of(request.query.as_bytes()), &Form::of(request.body), codes)],
    };
    let is_understood = told.iter().any(|told| !matches!(told, TwilioEvent::NotUnderstood));
    let inbound = told.into_iter().flat_map(|told| match told {
        TwilioEvent::Understood(inbound) => inbound,
        TwilioEvent::NotUnderstood => Vec::new(),
    });
    let inbound: Vec<_> = inbound.collect();
    if is_understood {
        WebhookOutcome::understood(inbound)
    } else {
        WebhookOutcome::not_understood()
    }
}

fn form(query: &Form<'_>, form: &Form<'_>, codes: Codes<'_>) -> TwilioEvent {
    let provider_id = ["MessageSid", "SmsSid"].into_iter().find_map(|name| form.get(name));
    let Some(provider_id) = provider_id.filter(|id| is_id(id)) else {
        return TwilioEvent::NotUnderstood;
    };
    let status = ["MessageStatus", "SmsStatus"].into_iter().find_map(|name| form.get(name));
    let is_inbound = matches!(status, None | Some("received" | "receiving"));
    if is_inbound {
        // Only a person's message holds what was written; a picture alone has an empty text and a count.
        return match form.get("Body").or(form.get("NumMedia")) {
            Some(_) => TwilioEvent::Understood(from_person(form, provider_id)),
            None => TwilioEvent::NotUnderstood,
        };
    }
    let code = form.get("ErrorCode").and_then(code_of);
    let Some(report) = status.and_then(|status| report(status, code, codes)) else {
        return TwilioEvent::NotUnderstood;
    };
    let mut receipt = receipt(provider_id, report, code);
    receipt.attempt = query.get(ATTEMPT).and_then(|text| text.parse().ok());
    let mut told = vec![Inbound::Receipt(receipt)];
    let is_failure = matches!(report, Report::Failed(_));
    let meaning = code.and_then(|code| known(code, codes));
    if is_failure && meaning.is_some_and(|it| it.kind == ErrorKind::OptedOut) {
        told.extend(opt_outs(form.get("From"), form.get("To"), false));
    }
    TwilioEvent::Understood(told)
}

/// An event of a sink's: `{"type": "com.twilio.messaging.message.delivered", "data": {…}}`.
fn event(event: Json<'_>, codes: Codes<'_>) -> TwilioEvent {
    let is_of_message = event.read("type", |kind| Some(kind.text()?.starts_with(EVENTS)));
    if is_of_message != Some(true) {
        return TwilioEvent::NotUnderstood;
    }
    let told = event.read("data", |data| {
        let provider_id = data.read("messageSid", |id| id.text().filter(|id| is_id(id)))?;
        let code = data.read("errorCode", code);
        let report = data.read("messageStatus", |status| report(&status.text()?, code, codes))?;
        Some(receipt(&provider_id, report, code))
    });
    TwilioEvent::Understood(told.map(Inbound::Receipt).into_iter().collect())
}

fn receipt(provider_id: &str, report: Report, code: Option<u32>) -> Receipt {
    let code = match report {
        Report::Reached(_) => None,
        Report::Failed(_) => code,
    };
    Receipt {
        attempt: None,
        provider_id: Some(provider_id.to_owned()),
        report,
        // `RawDlrDoneDate` has minutes, and no time zone.
        provider_time: None,
        code: code.map(|code| code.to_string()),
        detail: code.and_then(meaning).map(|meaning| meaning.sentence.to_owned()),
        usage: None,
    }
}

/// What a status says. A message of which a part was delivered is not: whoever waits for it has not all of
/// it. One that failed before it was sent was rejected, unless the account says of its code that it lay with
/// the person or the provider.
fn report(status: &str, code: Option<u32>, codes: Codes<'_>) -> Option<Report> {
    match status.trim().to_ascii_lowercase().as_str() {
        "accepted" | "scheduled" | "queued" | "sending" | "sent" | "partially_delivered" => {
            Some(Report::Reached(Status::Submitted))
        }
        "delivered" => Some(Report::Reached(Status::Delivered)),
        "read" => Some(Report::Reached(Status::Read)),
        "failed" => Some(Report::Failed(failure(code, codes))),
        "undelivered" | "canceled" => Some(Report::Failed(Failure::Undeliverable)),
        _ => None,
    }
}

fn failure(code: Option<u32>, codes: Codes<'_>) -> Failure {
    let named = code.filter(|code| codes.has(&code.to_string()));
    match named.and_then(|code| known(code, codes)).map(|known| known.fault) {
        Some(Fault::Content | Fault::Account) => Failure::Rejected,
        Some(Fault::Recipient | Fault::Provider) => Failure::Undeliverable,
        None if code.is_some_and(is_of_sending) => Failure::Undeliverable,
        None => Failure::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use dispatch_contract::{Channel, ChannelSender, Endpoint, OptOut, Secret, Verdict};
    use dispatch_kit::signature::sha256_hex;

    use super::*;
    use crate::signature::{BODY_HASH, HEADER, SCHEME, signed_text};

    const ATTEMPT_ID: &str = "0198c0ffee007000800000000000beef.3";
    const URL: &str = "https://dispatch.example/receipts/twilio/main";

    fn account() -> Account {
        let secret = |name: &str, text: &str| (name.to_owned(), Secret::new(text));
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: [(
                "codes".to_owned(),
                "29999 = recipient; 30999 = content; 30998 = opted_out".to_owned(),
            )]
            .into(),
            secrets: [secret("auth_token", "new"), secret("auth_token_next", "old")].into(),
        }
    }

    fn read_under(token: &str, url: &str, body: &str) -> WebhookOutcome {
        let signature = SCHEME.sign(token.as_bytes(), signed_text(url, body.as_bytes()).as_bytes());
        let headers = [(HEADER.to_owned(), signature.into_bytes())];
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let body = body.as_bytes();
        let request = WebhookRequest { method: "POST", url, query, headers: &headers, body };
        read(&request, &account())
    }

    fn only_receipt(body: &str) -> Receipt {
        let url = format!("{URL}?attempt={ATTEMPT_ID}");
        match read_under("new", &url, body).inbound.as_slice() {
            [Inbound::Receipt(receipt)] => receipt.clone(),
            other => panic!("one receipt expected of {body}, not {other:?}"),
        }
    }

    #[test]
    fn a_failure_is_read_in_full_and_without_what_may_be_personal() {
        let receipt = only_receipt(
            "MessageSid=SM1&SmsSid=SM1&MessageStatus=undelivered&To=%2B447700900000&From=Acme&ErrorCode=30003\
             &ErrorMessage=Unreachable+%2B447700900000&RawDlrDoneDate=2611230640",
        );
        assert_eq!(
            receipt,
            Receipt {
                attempt: ATTEMPT_ID.parse().ok(),
                provider_id: Some("SM1".to_owned()),
                report: Report::Failed(Failure::Undeliverable),
                provider_time: None,
                code: Some("30003".to_owned()),
                detail: Some("the handset cannot be reached".to_owned()),
                usage: None,
            }
        );
    }

    #[test]
    fn every_status_has_its_meaning() {
        use Failure::{Rejected, Undeliverable};
        for (status, report) in [
            ("accepted", Report::Reached(Status::Submitted)),
            ("scheduled", Report::Reached(Status::Submitted)),
            ("queued", Report::Reached(Status::Submitted)),
            ("sending", Report::Reached(Status::Submitted)),
            ("sent", Report::Reached(Status::Submitted)),
            ("partially_delivered", Report::Reached(Status::Submitted)),
            ("delivered", Report::Reached(Status::Delivered)),
            ("read", Report::Reached(Status::Read)),
            ("Read", Report::Reached(Status::Read)),
            ("undelivered", Report::Failed(Undeliverable)),
            ("canceled", Report::Failed(Undeliverable)),
            ("failed", Report::Failed(Rejected)),
            ("failed&ErrorCode=21610", Report::Failed(Rejected)),
            ("failed&ErrorCode=63016", Report::Failed(Rejected)),
            ("failed&ErrorCode=30036", Report::Failed(Undeliverable)),
            // The account says whose fault these are.
            ("failed&ErrorCode=29999", Report::Failed(Undeliverable)),
            ("failed&ErrorCode=30999", Report::Failed(Rejected)),
        ] {
            let receipt = only_receipt(&format!("MessageSid=SM1&MessageStatus={status}"));
            assert_eq!(receipt.report, report, "{status}");
        }
        // The older names alone will do.
        let receipt = only_receipt("SmsSid=SM1&SmsStatus=delivered&ErrorCode=30003");
        assert_eq!((receipt.report, receipt.code), (Report::Reached(Status::Delivered), None));
    }

    #[test]
    fn either_token_signs_and_an_attempt_that_is_none_is_left_out() {
        let body = "MessageSid=SM1&MessageStatus=delivered";
        for token in ["new", "old"] {
            let outcome = read_under(token, URL, body);
            let [Inbound::Receipt(receipt)] = outcome.inbound.as_slice() else {
                panic!("{outcome:?}")
            };
            assert_eq!((receipt.attempt, receipt.provider_id.as_deref()), (None, Some("SM1")));
        }
        assert_eq!(read_under("other", URL, body).verdict, Verdict::Forged);
        let outcome = read_under("new", &format!("{URL}?attempt=7"), body);
        assert!(
            matches!(outcome.inbound.as_slice(), [Inbound::Receipt(it)] if it.attempt.is_none())
        );
    }

    #[test]
    fn who_wants_no_more_messages_is_told_of_by_twilio_s_word_or_by_their_own() {
        let told = |fields: &str| {
            let body = format!("MessageSid=SM2&SmsStatus=received&NumMedia=0&{fields}");
            let outcome = read_under("new", URL, &body);
            assert_eq!(outcome.verdict, Verdict::Understood, "{fields}");
            // What they said is a message, too.
            let of_wish = outcome.inbound.into_iter().filter(|it| matches!(it, Inbound::OptOut(_)));
            of_wish.collect::<Vec<_>>()
        };
        let opt_out = |channel, sender: &str, person: &str, is_lifted| {
            let sender = ChannelSender { channel, id: sender.to_owned() };
            let recipient = Endpoint::Number(person.to_owned());
            Inbound::OptOut(OptOut { sender, recipient, is_lifted })
        };
        let text = "From=%2B447700900001&To=%2B447700900000";
        let both = |is_lifted| {
            [Channel::SMS, Channel::MMS]
                .map(|it| opt_out(it, "447700900000", "447700900001", is_lifted))
        };
        assert_eq!(told(&format!("{text}&Body=Stop")), both(false));
        assert_eq!(told(&format!("{text}&Body=Arr%C3%AAt&OptOutType=STOP")), both(false));
        assert_eq!(told(&format!("{text}&Body=START")), both(true));
        assert_eq!(told(&format!("{text}&Body=Yes&OptOutType=START")), both(true));
        let others =
            ["Body=Yes", "Body=Bus+stop", "Body=STOP&OptOutType=HELP", "Body=Help&OptOutType=HELP"];
        for other in others {
            assert_eq!(told(&format!("{text}&{other}")), [], "{other}");
        }
        let chat = "From=whatsapp%3A%2B447700900001&To=whatsapp%3A%2B447700900000&Body=stop";
        assert_eq!(told(chat), [opt_out(Channel::WHATSAPP, "447700900000", "447700900001", false)]);
        let brand = "From=rcs%3A%2B447700900001&To=rcs%3Abrand_agent&Body=stop";
        assert_eq!(told(brand), [opt_out(Channel::RCS, "brand_agent", "447700900001", false)]);
        assert_eq!(told("From=%2B447700900001&Body=STOP"), [], "to nobody");
        assert_eq!(told("From=x%3A1&To=x%3A2&Body=STOP"), [], "on no channel of ours");
    }

    #[test]
    fn a_message_that_failed_because_of_an_opt_out_tells_of_it() {
        let body = "MessageSid=SM1&MessageStatus=failed&From=%2B447700900000&To=%2B447700900001";
        let count = |code: &str| {
            let outcome = read_under("new", URL, &format!("{body}&ErrorCode={code}"));
            let is = |it: &&Inbound| matches!(it, Inbound::OptOut(it) if !it.is_lifted);
            (outcome.inbound.len(), outcome.inbound.iter().filter(is).count())
        };
        assert_eq!(count("21610"), (3, 2));
        // The account says of this one that it is no longer wanted.
        assert_eq!(count("30998"), (3, 2));
        assert_eq!(count("30005"), (1, 0));
    }

    #[test]
    fn what_makes_no_sense_is_genuine_all_the_same() {
        for body in [
            "",
            "MessageSid=SM1",
            "MessageSid=SM1&MessageStatus=eaten",
            "MessageStatus=delivered",
            "MessageSid=..%2F..&MessageStatus=delivered",
            "{}",
        ] {
            let outcome = read_under("new", URL, body);
            assert_eq!((outcome.verdict, outcome.status), (Verdict::NotUnderstood, 200), "{body}");
        }
    }

    #[test]
    fn events_in_json_are_read_one_by_one() {
        let event = |data: &str| {
            format!(r#"{{"type":"com.twilio.messaging.message.status","data":{data}}}"#)
        };
        let events = [
            event(r#"{"messageSid":"SM1","messageStatus":"delivered"}"#),
            event(r#"{"messageSid":"SM2","messageStatus":"failed","errorCode":"30005"}"#),
            event(r#"{"messageSid":"SM3"}"#),
            r#"{"type":"com.twilio.voice","data":{"messageSid":"SM4","messageStatus":"read"}}"#
                .to_owned(),
        ];
        let body = format!("[{}]", events.join(","));
        let url = format!("{URL}?{BODY_HASH}={}", sha256_hex(body.as_bytes()));
        let outcome = read_under("new", &url, &body);
        let told = outcome.inbound.iter().map(|inbound| match inbound {
            Inbound::Receipt(it) => (it.provider_id.as_deref(), it.report, it.code.as_deref()),
            other => panic!("{other:?}"),
        });
        let told: Vec<_> = told.collect();
        assert_eq!(
            told,
            [
                (Some("SM1"), Report::Reached(Status::Delivered), None),
                (Some("SM2"), Report::Failed(Failure::Undeliverable), Some("30005")),
            ]
        );
        let other = format!("{body} ");
        let headers = [(HEADER.to_owned(), SCHEME.sign(b"new", url.as_bytes()).into_bytes())];
        let query = url.split_once('?').expect("a query").1;
        let request = WebhookRequest {
            method: "POST",
            url: &url,
            query,
            headers: &headers,
            body: other.as_bytes(),
        };
        assert_eq!(read(&request, &account()).verdict, Verdict::Forged);
    }
}
