//! How a receiver can tell that a callback is ours.
//!
//! By a JWT (HS256) as the Messages API signs its webhooks, with the body's SHA-256 in `payload_hash`,
//! or by the three headers of the Standard Webhooks specification. Either way `webhook-id` names the
//! callback, the same at every attempt, so that a receiver can tell a repeat from a new one. The token
//! itself is new at each attempt: receivers that keep used `jti`s refuse an old one.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dispatch_contract::{Secret, UnixMillis};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use uuid::Uuid;

use super::CallbackId;
use crate::access::Signing;

/// The prefix of a Standard Webhooks secret; base64 follows.
const PREFIX: &str = "whsec_";

/// What is signed, and for whom.
pub(super) struct SigningInput<'a> {
    pub(super) id: CallbackId,
    pub(super) body: &'a [u8],
    pub(super) tenant: &'a str,
    pub(super) application: Uuid,
    /// The raw wall clock.
    pub(super) now: UnixMillis,
}

#[derive(Serialize)]
struct CallbackClaims<'a> {
    /// In seconds.
    iat: u64,
    jti: String,
    /// What receivers of the old API look for.
    iss: &'static str,
    /// Lower-case hex SHA-256 of the body.
    payload_hash: String,
    /// The account, by which receivers of several find the secret: here the tenant.
    api_key: &'a str,
    application_id: String,
}

/// The headers beside the body.
///
/// # Errors
/// If it cannot be signed: then it is not to be sent.
pub(super) fn headers(
    signed: &SigningInput<'_>,
    secret: &Secret,
    how: Signing,
) -> Result<Vec<(&'static str, String)>, String> {
    let mut headers = vec![("webhook-id", signed.id.to_string())];
    match how {
        Signing::Jwt => {
            headers.push(("authorization", format!("Bearer {}", token(signed, secret)?)));
        }
        Signing::StandardWebhooks => {
            let timestamp = signed.now.0 / 1000;
            let mac = standard_webhooks(signed, secret, timestamp);
            headers.push(("webhook-timestamp", timestamp.to_string()));
            headers.push(("webhook-signature", format!("v1,{mac}")));
        }
    }
    Ok(headers)
}

fn token(signed: &SigningInput<'_>, secret: &Secret) -> Result<String, String> {
    let claims = CallbackClaims {
        iat: signed.now.0 / 1000,
        jti: Uuid::now_v7().to_string(),
        iss: "Vonage",
        payload_hash: sha256_hex(signed.body),
        api_key: signed.tenant,
        application_id: signed.application.to_string(),
    };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|error| format!("a callback could not be signed: {error}"))
}

fn standard_webhooks(signed: &SigningInput<'_>, secret: &Secret, timestamp: u64) -> String {
    let text = secret.expose();
    let decoded = text.strip_prefix(PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
    let bytes = decoded.unwrap_or_else(|| text.as_bytes().to_vec());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let mut mac = hmac::Context::with_key(&key);
    mac.update(format!("{}.{timestamp}.", signed.id).as_bytes());
    mac.update(signed.body);
    STANDARD.encode(mac.sign())
}

fn sha256_hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::*;

    const BODY: &[u8] = br#"{"status":"delivered"}"#;

    fn signed() -> SigningInput<'static> {
        let about = Uuid::from_u128(0x0190_a1b2_0000_7000_8000_0000_0000_0001);
        SigningInput {
            id: CallbackId { about, sequence: 7 },
            body: BODY,
            tenant: "default",
            application: Uuid::from_u128(0xaaaa),
            now: UnixMillis(1_800_000_000_999),
        }
    }

    fn headers_with(secret: &str, how: Signing) -> BTreeMap<&'static str, String> {
        headers(&signed(), &Secret::new(secret), how).unwrap().into_iter().collect()
    }

    #[test]
    fn a_token_covers_the_body_and_names_the_application() {
        let headers = headers_with("a secret of thirty-two characters", Signing::Jwt);
        let token = headers["authorization"].strip_prefix("Bearer ").unwrap();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        let key = DecodingKey::from_secret(b"a secret of thirty-two characters");
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims;
        assert_eq!(claims["iat"], 1_800_000_000);
        assert_eq!(claims["iss"], "Vonage");
        assert_eq!(claims["api_key"], "default");
        assert_eq!(claims["application_id"], "00000000-0000-0000-0000-00000000aaaa");
        assert_eq!(
            claims["payload_hash"],
            "2499358d3b73660dd38ee30338a37045ae22062c41f1be9df142285a615a6ae9"
        );
        let again = headers_with("a secret of thirty-two characters", Signing::Jwt);
        assert_ne!(again["authorization"], headers["authorization"], "one jti for two attempts");
        assert_eq!(again["webhook-id"], headers["webhook-id"]);
    }

    /// The secret is that of the Standard Webhooks libraries' tests; the signature was made with another
    /// implementation.
    #[test]
    fn the_standard_webhooks_headers_are_those_of_the_specification() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let headers = headers_with(secret, Signing::StandardWebhooks);
        assert_eq!(headers["webhook-id"], "0190a1b2-0000-7000-8000-000000000001.7");
        assert_eq!(headers["webhook-timestamp"], "1800000000");
        assert_eq!(headers["webhook-signature"], "v1,Ih/EdaUZ6iu5X+cKCRXxRIgQNrOINbrGwQd/PAaC02E=");
        assert!(!headers.contains_key("authorization"));
    }
}
