//! Webhooks: bodies that the account signed, tokens that it signed, and headers from anywhere.

use std::sync::LazyLock;

use dispatch_contract::{
    Account, Content, Inbound, InboundMessage, Provider, Report, Secret, UnixMillis, Verdict,
    WebhookOutcome, WebhookRequest,
};
use dispatch_kit::inbound::{MOST_PARTS, PART_BYTES};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::settings::halves;

const SECRET: &str = "a secret of thirty-two characters";
pub(super) const NOW: UnixMillis = UnixMillis(1_900_000_000_000);

/// No id of a provider's is longer; what is, is left out.
const ID_BYTES: usize = 512;
const CODE_BYTES: usize = 64;

/// The first byte chooses the version, the second who made the call's headers:
/// the harness, signing the body; the harness, signing the claims before the first zero byte; or
/// the caller, one header a line before the first zero byte.
pub fn webhook(data: &[u8]) {
    let [choice, mode, rest @ ..] = data else { return };
    let version = if choice & 0x80 == 0 { "v1" } else { "v0.1" };
    let account = account(version);
    match mode % 3 {
        0 => {
            let headers = signed(&json!({ "payload_hash": hash(rest), "iat": NOW.0 / 1000 }));
            let outcome = read(&**VONAGE, &account, &headers, rest);
            assert_ne!(outcome.verdict, Verdict::Forged, "it is genuine");
            assert_eq!(outcome.status, 200, "a repeat would not be understood either");
            forged_if_changed(&**VONAGE, &account, &headers, rest);
        }
        1 => {
            let (claims, body) = halves(rest);
            let Ok(claims) = serde_json::from_slice::<Value>(claims) else { return };
            let headers = signed(&claims);
            if read(&**VONAGE, &account, &headers, body).verdict != Verdict::Forged {
                assert!(claims.get("payload_hash").is_some(), "a token signs one body");
                forged_if_changed(&**VONAGE, &account, &headers, body);
            }
        }
        _ => {
            let (head, body) = halves(rest);
            let line = |line: &[u8]| {
                let at = line.iter().position(|byte| *byte == b':')?;
                let name = std::str::from_utf8(&line[..at]).ok()?.to_ascii_lowercase();
                Some((name, line[at + 1..].to_vec()))
            };
            let headers: Vec<_> = head.split(|byte| *byte == b'\n').filter_map(line).collect();
            if read(&**VONAGE, &account, &headers, body).verdict != Verdict::Forged {
                forged_if_changed(&**VONAGE, &account, &headers, body);
            }
        }
    }
}

/// Reads twice, and holds the outcome against what every provider promises.
pub(super) fn read(
    provider: &dyn Provider,
    account: &Account,
    headers: &[(String, Vec<u8>)],
    body: &[u8],
) -> WebhookOutcome {
    let request = WebhookRequest {
        method: "POST",
        url: "https://dispatch.example/receipts/vonage/main?x=1",
        query: "x=1",
        headers,
        body,
    };
    let outcome = read_request(provider, account, &request, NOW);
    let has_it = String::from_utf8_lossy(body).contains(SECRET);
    assert!(has_it || !format!("{outcome:?}").contains(SECRET), "a secret is shown");
    outcome
}

/// The same, of any provider.
pub(super) fn read_request(
    provider: &dyn Provider,
    account: &Account,
    request: &WebhookRequest<'_>,
    now: UnixMillis,
) -> WebhookOutcome {
    let outcome = provider.webhook(request, account, now);
    assert_eq!(provider.webhook(request, account, now), outcome, "reading is a function");
    assert_eq!(outcome.status == 401, outcome.verdict == Verdict::Forged);
    promises(&outcome);
    outcome
}

/// What holds of whatever was read.
fn promises(outcome: &WebhookOutcome) {
    if outcome.verdict != Verdict::Understood {
        assert_eq!(outcome.inbound, [], "nothing is taken from what was not understood");
    }
    for told in &outcome.inbound {
        match told {
            Inbound::Receipt(receipt) => {
                assert!(receipt.provider_id.is_some() || receipt.attempt.is_some());
                assert!(receipt.provider_id.as_ref().is_none_or(|id| id.len() <= ID_BYTES));
                assert!(receipt.code.as_ref().is_none_or(|code| code.len() <= CODE_BYTES));
                let is_failure = matches!(receipt.report, Report::Failed(_));
                assert!(is_failure || receipt.code.is_none());
                // The sentence is ours: the provider's may hold a person's number.
                assert!(receipt.detail.is_none() || receipt.code.is_some());
            }
            Inbound::Message(message) => written(message),
            Inbound::Watermark(watermark) => {
                assert!(!watermark.sender.id.is_empty() && !watermark.recipient.value().is_empty());
            }
            Inbound::OptOut(opt_out) => {
                assert!(!opt_out.sender.id.is_empty() && !opt_out.recipient.value().is_empty());
            }
            other => panic!("no adapter tells {other:?} yet"),
        }
    }
}

/// What holds of what a person wrote.
fn written(message: &InboundMessage) {
    assert!(!message.id.is_empty() && message.id.len() <= ID_BYTES);
    assert!(!message.from.value().is_empty() && !message.to.id.is_empty());
    assert!(message.quoted_id.as_ref().is_none_or(|id| id.len() <= ID_BYTES));
    assert!(message.content.len() <= MOST_PARTS);
    for part in &message.content {
        match part {
            Content::Text(text) => assert!((1..=PART_BYTES).contains(&text.len())),
            Content::Custom(object) => {
                assert!(object.len() <= PART_BYTES);
                assert!(serde_json::from_str::<Map<String, Value>>(object).is_ok());
            }
            Content::Location { latitude, longitude, .. } => {
                assert!(latitude.parse::<f64>().is_ok() && longitude.parse::<f64>().is_ok());
            }
            Content::Image(_) | Content::Audio(_) | Content::Video(_) | Content::File(_) => {}
            Content::Template { .. } | Content::Code { .. } => panic!("no person sends {part:?}"),
        }
    }
}

/// One more byte that is not white space, and the signature is another body's.
fn forged_if_changed(
    provider: &dyn Provider,
    account: &Account,
    headers: &[(String, Vec<u8>)],
    body: &[u8],
) {
    let changed = [body, b"0"].concat();
    assert_eq!(read(provider, account, headers, &changed).verdict, Verdict::Forged);
}

pub(super) fn signed(claims: &Value) -> Vec<(String, Vec<u8>)> {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key);
    let token = token.expect("claims that are JSON can be signed");
    vec![("authorization".to_owned(), format!("Bearer {token}").into_bytes())]
}

pub(super) fn hash(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn account(version: &str) -> Account {
    let settings = [("api_version", version), ("api_key", "abcd1234")];
    let secrets = ["api_secret", "signature_secret"];
    Account {
        name: "main".to_owned(),
        revision: 1,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        secrets: secrets.map(|name| (name.to_owned(), Secret::new(SECRET))).into(),
    }
}

pub(super) static VONAGE: LazyLock<Box<dyn Provider>> =
    LazyLock::new(|| Box::new(dispatch_vonage::provider()));
