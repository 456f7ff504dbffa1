//! Signs webhooks as Vonage does: a JWT, HS256, with the body's hash among the claims.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use sha2::{Digest, Sha256};

pub const KEY: &str = "abcd1234";
pub const SECRET: &str = "a secret of thirty-two characters";

/// A key of the configuration, as services ask for that have a real account.
pub fn access_key() -> String {
    format!(
        "[[access.keys]]\nid = \"{KEY}\"\nsecret = \"{SECRET}\"\n\
         scopes = [\"create\", \"read\", \"cancel\", \"admin\", \"operator\"]\n"
    )
}

/// What brings it; where there is no key, it is as good as nothing.
pub fn credential() -> dispatch::client::Credential {
    dispatch::client::Credential::key(&format!("{KEY}:{SECRET}")).unwrap()
}

/// The `Authorization` of a webhook with this body.
pub fn signed(body: &[u8]) -> String {
    let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    let claims = json!({
        "iss": "Vonage", "iat": 1_800_000_000, "jti": "j", "api_key": KEY, "payload_hash": hash,
    });
    let header = json!({ "typ": "JWT", "alg": "HS256" });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let mac = URL_SAFE_NO_PAD.encode(hmac_sha256(SECRET.as_bytes(), signed.as_bytes()));
    format!("Bearer {signed}.{mac}")
}

/// RFC 2104, for keys of at most one block.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |with: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0)).take(64);
        key.map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([padded(0x36).as_slice(), message].concat());
    Sha256::digest([padded(0x5c).as_slice(), inner.as_slice()].concat()).into()
}
