//! Tokens that a provider signs its webhooks with (JSON Web Tokens, RFC 7519).
//!
//! Only the signature is judged here. What a token has to claim, and for how long it is taken, is each provider's
//! own: receipts are repeated for days under their first token, so that an `exp` alone would lose them.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

/// The longest token that is looked at, in bytes. A genuine one has some 400.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The token in a header `Bearer <token>`; the scheme's case does not matter (RFC 9110 §11.1). `None` where there
/// is none, or one longer than [`MAX_TOKEN_BYTES`].
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    let fits = scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN_BYTES;
    fits.then_some(token)
}

/// The claims of a token that `secret` signed: HS256 and nothing else, so neither `none` nor an algorithm that
/// would take the secret for a public key. An empty secret signs nothing: anyone has it.
pub fn hs256_claims(token: &str, secret: &str) -> Option<Value> {
    if secret.is_empty() || token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::decode::<Value>(token, &key, &validation).ok().map(|data| data.claims)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;

    fn token(algorithm: Algorithm, secret: &str) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), &json!({ "exp": 1, "aud": "x" }), &key)
            .unwrap()
    }

    #[test]
    fn claims_are_read_of_what_the_secret_signed_alone() {
        let genuine = token(Algorithm::HS256, "secret");
        assert_eq!(hs256_claims(&genuine, "secret"), Some(json!({ "exp": 1, "aud": "x" })));
        assert_eq!(hs256_claims(&genuine, "other"), None);
        assert_eq!(hs256_claims(&token(Algorithm::HS384, "secret"), "secret"), None);
        assert_eq!(hs256_claims(&token(Algorithm::HS256, ""), ""), None);
        let (head, rest) = genuine.split_once('.').unwrap();
        assert_eq!(hs256_claims(&format!("eyJhbGciOiJub25lIn0.{rest}"), "secret"), None);
        for cut in [head, "", "..", "a.b.c"] {
            assert_eq!(hs256_claims(cut, "secret"), None, "{cut}");
        }
    }

    #[test]
    fn the_token_is_what_stands_behind_bearer() {
        assert_eq!(bearer("bearer  a.b.c "), Some("a.b.c"));
        for header in ["a.b.c", "Basic a.b.c", "", &format!("Bearer {}", "a".repeat(9000))] {
            assert_eq!(bearer(header), None);
        }
    }
}
