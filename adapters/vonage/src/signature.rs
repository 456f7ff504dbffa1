//! Tells genuine webhooks from forged ones.
//!
//! A signed webhook carries `Authorization: Bearer <JWT>`, HS256 under the account's signature
//! secret, with the SHA-256 of the body in the claim `payload_hash`. Both are required here,
//! although Vonage's guide calls the hash optional: without it any token once seen would sign any
//! body.
//!
//! Not checked: `jti` against repeats (a repeated receipt is harmless, and remembering ids would
//! need a store) and `exp` (Vonage sends none; its repeats carry their first token for 24 h). The
//! age of `iat` is checked only where the account sets a tolerance.

use std::time::Duration;

use serde_json::Value;

use dispatch_contract::{UnixMillis, WebhookRequest};
use dispatch_kit::{
    jwt::{bearer, hs256_claims},
    signature::is_sha256_of,
};

use super::WebhookKeys;

/// Whether `request` comes from the provider's account that `keys` belong to. Without any secret
/// nothing does, unless the account says that unsigned webhooks are to be taken.
pub(super) fn is_genuine(
    request: &WebhookRequest<'_>,
    keys: &WebhookKeys<'_>,
    now: UnixMillis,
) -> bool {
    if keys.accept_unsigned {
        return true;
    }
    let Some(token) = request.header("authorization").and_then(bearer) else { return false };
    let Some(claims) = keys.secrets.iter().find_map(|secret| hs256_claims(token, secret)) else {
        return false;
    };
    ours(&claims, keys) && young(&claims, keys.tolerance, now) && covers(&claims, request.body)
}

/// Whether the claims name this account and application, as far as both sides name any.
fn ours(claims: &Value, keys: &WebhookKeys<'_>) -> bool {
    let agrees = |claim: &str, own: Option<&str>| match (claims.get(claim), own) {
        (Some(claimed), Some(own)) => claimed.as_str() == Some(own),
        (None, _) | (_, None) => true,
    };
    agrees("api_key", keys.api_key) && agrees("application_id", keys.application_id)
}

fn young(claims: &Value, tolerance: Option<Duration>, now: UnixMillis) -> bool {
    let Some(tolerance) = tolerance else { return true };
    let issued_s = match claims.get("iat") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_f64().map(|seconds| seconds as u64),
        None => None,
    };
    issued_s.is_some_and(|s: u64| now.since(UnixMillis(s.saturating_mul(1_000))) <= tolerance)
}

/// Whether the claimed hash is that of `body`: of its very bytes, or (Vonage's own sample hashes a
/// re-serialised body) of its compact form.
fn covers(claims: &Value, body: &[u8]) -> bool {
    let Some(claimed) = claims.get("payload_hash").and_then(Value::as_str) else { return false };
    is_sha256_of(body, claimed) || is_sha256_of(&compact(body), claimed)
}

/// `json` without the white space between its tokens. The order of keys and the spelling of numbers
/// and texts stay, so this cannot turn one document into another.
fn compact(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_text, mut escaped) = (false, false);
    for &byte in json {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_text = byte == b'"';
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use dispatch_kit::signature::sha256_hex;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::json;

    use super::*;

    const BODY: &[u8] = br#"{"status":"delivered"}"#;
    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn keys() -> WebhookKeys<'static> {
        WebhookKeys {
            secrets: vec!["old secret", "new secret"],
            accept_unsigned: false,
            tolerance: None,
            api_key: Some("abcd1234"),
            application_id: None,
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "Vonage", "iat": NOW.0 / 1_000, "jti": "j", "api_key": "abcd1234",
            "application_id": "app", "payload_hash": sha256_hex(BODY),
        })
    }

    fn token(secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
    }

    fn genuine_with(header: &str, body: &[u8], keys: &WebhookKeys<'_>) -> bool {
        let headers = [("authorization".to_owned(), header.as_bytes().to_vec())];
        let request =
            WebhookRequest { method: "POST", url: "", query: "", headers: &headers, body };
        is_genuine(&request, keys, NOW)
    }

    fn genuine(header: &str) -> bool {
        genuine_with(header, BODY, &keys())
    }

    #[test]
    fn either_secret_signs_and_the_scheme_s_case_does_not_matter() {
        assert!(genuine(&format!("Bearer {}", token("old secret", &claims()))));
        assert!(genuine(&format!("bearer {}", token("new secret", &claims()))));
        assert!(!genuine(&format!("Bearer {}", token("another secret", &claims()))));
    }

    #[test]
    fn other_algorithms_are_forged() {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let none = format!("{}.{}.", part(json!({ "alg": "none" })), part(claims()));
        assert!(!genuine(&format!("Bearer {none}")));
        let good = token("old secret", &claims());
        let signature = good.rsplit('.').next().expect("three parts");
        for alg in ["RS256", "HS384", "hs256", "none"] {
            let forged = format!("{}.{}.{signature}", part(json!({ "alg": alg })), part(claims()));
            assert!(!genuine(&format!("Bearer {forged}")), "{alg}");
        }
        let key = EncodingKey::from_secret(b"old secret");
        let hs512 = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims(), &key);
        assert!(!genuine(&format!("Bearer {}", hs512.expect("a token"))));
    }

    #[test]
    fn a_missing_or_malformed_header_is_forged() {
        let good = token("old secret", &claims());
        let long = "a".repeat(dispatch_kit::jwt::MAX_TOKEN_BYTES + 1);
        for header in
            ["", "Bearer", "Bearer ", "Bearer a.b.c", &good, &format!("Basic {good}"), &long]
        {
            assert!(!genuine(header), "{header}");
        }
        let request =
            WebhookRequest { method: "POST", url: "", query: "", headers: &[], body: BODY };
        assert!(!is_genuine(&request, &keys(), NOW));
    }

    #[test]
    fn a_token_signs_one_body_only() {
        let header = format!("Bearer {}", token("old secret", &claims()));
        assert!(!genuine_with(&header, br#"{"status":"read"}"#, &keys()));
        for hash in [json!(null), json!(""), json!(7), json!("00")] {
            let mut claims = claims();
            claims["payload_hash"] = hash;
            assert!(!genuine(&format!("Bearer {}", token("old secret", &claims))), "{claims}");
        }
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove("payload_hash");
        assert!(!genuine(&format!("Bearer {}", token("old secret", &claims))));
    }

    #[test]
    fn the_hash_may_be_that_of_the_compact_body() {
        let header = format!("Bearer {}", token("old secret", &claims()));
        assert!(genuine_with(&header, b"{\n  \"status\": \"delivered\"\n}\n", &keys()));
        assert!(!genuine_with(&header, b"{ \"status\": \" delivered\" }", &keys()));
    }

    #[test]
    fn white_space_within_texts_stays() {
        assert_eq!(compact(br#"{ "a \" b" : [ 1 , " \\" ] }"#), br#"{"a \" b":[1," \\"]}"#);
        assert_eq!(compact(b"\" open"), b"\" open");
    }

    #[test]
    fn another_account_s_webhook_is_forged() {
        let mut claims = claims();
        claims["api_key"] = json!("ffff0000");
        let header = format!("Bearer {}", token("old secret", &claims));
        assert!(!genuine(&header));
        assert!(genuine_with(&header, BODY, &WebhookKeys { api_key: None, ..keys() }));
        let other = WebhookKeys { application_id: Some("other"), api_key: None, ..keys() };
        assert!(!genuine_with(&header, BODY, &other));
    }

    #[test]
    fn age_counts_only_where_the_account_sets_a_tolerance() {
        let day = Duration::from_secs(86_400);
        let aged = |seconds: u64| {
            let mut claims = claims();
            claims["iat"] = json!(NOW.0 / 1_000 - seconds);
            format!("Bearer {}", token("old secret", &claims))
        };
        let strict = WebhookKeys { tolerance: Some(day), ..keys() };
        let mut fraction = claims();
        fraction["iat"] = json!(NOW.0 as f64 / 1_000.0 - 0.5);
        let header = format!("Bearer {}", token("old secret", &fraction));
        assert!(genuine_with(&header, BODY, &strict));
        assert!(genuine(&aged(10 * 86_400)));
        assert!(genuine_with(&aged(86_400), BODY, &strict));
        assert!(!genuine_with(&aged(86_401), BODY, &strict));
    }

    #[test]
    fn without_any_secret_everything_is_forged_unless_the_account_accepts_it() {
        let header = format!("Bearer {}", token("", &claims()));
        let none = WebhookKeys { secrets: vec![], ..keys() };
        assert!(!genuine_with(&header, BODY, &none));
        assert!(genuine_with("", BODY, &WebhookKeys { accept_unsigned: true, ..none }));
    }
}
