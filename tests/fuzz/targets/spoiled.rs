//! A genuine receipt, and a genuine answer to a send, spoiled where nobody looks: what they tell stays.

use dispatch_contract::Verdict;
use dispatch_kit::{codes::Codes, conformance, http::HttpResponse, json::Json};
use serde_json::json;

use super::webhook::{NOW, VONAGE, account, hash, read, signed};

const ATTEMPT: &str = "0198c0ffee007000800000000000beef.3";
const STATUSES: [&str; 6] = ["submitted", "delivered", "read", "seen", "rejected", "undeliverable"];

/// The first byte chooses the shape, the second the status and how its word is
/// written; all others spoil.
pub fn spoiled(data: &[u8]) {
    let [choice, word, with @ ..] = data else { return };
    let (is_v1, version) = if choice & 0x80 == 0 { (true, "v1") } else { (false, "v0.1") };
    let status = STATUSES[usize::from(word % 6)];
    let mut body = json!({
        "message_uuid": "11111111-2222-4333-8444-555555555555",
        "timestamp": "2025-02-03T12:14:25Z",
        "status": status,
        "client_ref": ATTEMPT,
        "usage": { "currency": "EUR", "price": "0.0333" },
    });
    if ["rejected", "undeliverable"].contains(&status) {
        body["error"] = if is_v1 {
            json!({ "title": "1360", "detail": "TTL activated" })
        } else {
            json!({ "code": 1360, "reason": "TTL activated" })
        };
    }
    let account = account(version);
    let told = |body: &[u8]| {
        let headers = signed(&json!({ "payload_hash": hash(body), "iat": NOW.0 / 1000 }));
        read(&**VONAGE, &account, &headers, body)
    };
    let genuine = told(body.to_string().as_bytes());
    assert_eq!((genuine.verdict, genuine.inbound.len()), (Verdict::Understood, 1));

    body["status"] = match word / 6 % 4 {
        0 => status.to_owned(),
        1 => status.to_uppercase(),
        2 => format!(" {status}\t"),
        _ => format!("{}{}", status[..1].to_uppercase(), &status[1..]),
    }
    .into();
    let spoil = |body: &str| conformance::spoiled(body.as_bytes(), with);
    assert_eq!(told(&spoil(&body.to_string())), genuine);

    // An answer is one value.
    for (status, body) in [
        (202, r#"{"message_uuid":"u-1","workflow_id":"w"}"#),
        (422, r#"{"type":"x#1000","title":"1000","detail":"Throttled","instance":"i"}"#),
        (422, r#"{"title":"t","type":"x#1150","invalid_parameters":[{"name":"text"}]}"#),
    ] {
        let answer =
            |body| dispatch_vonage::decode(&HttpResponse::new(status, body), Codes::default());
        let odd = spoil(body);
        if Json::items(&odd).count() == 1 {
            assert_eq!(answer(odd), answer(body.as_bytes().to_vec()));
        }
    }
}
