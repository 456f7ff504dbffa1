//! What a caller brings to be let in: the `Authorization` header, and the claims of a token.

use std::sync::{Arc, LazyLock};

use dispatch::{
    access::{Access, Application, Denied},
    store::{self, Kind, MemoryStore, SettingChange, Settings, Store},
};
use dispatch_contract::UnixMillis;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::Value;
use uuid::Uuid;

const PRIVATE: &str = include_str!("../../../adapters/sandbox/tests/sandbox/http/private_key.pem");
const PUBLIC: &str = include_str!("../../../adapters/sandbox/tests/sandbox/http/public_key.pem");
const APPLICATION: Uuid = Uuid::from_u128(0xaaaa_aaaa_aaaa_4aaa_8aaa_aaaa_aaaa_aaaa);
const NOW_S: f64 = 1_800_000_000.0;

static ACCESS: LazyLock<Access> = LazyLock::new(|| {
    let settings: Arc<dyn Settings> = MemoryStore::new().settings();
    let application = Application {
        id: APPLICATION,
        tenant: "acme".to_owned(),
        name: String::new(),
        public_key: Some(PUBLIC.to_owned()),
        messages: None,
        other_capabilities: String::new(),
        improve_ai: false,
        create_time_ms: 0,
    };
    let row = store::encode(&application).expect("an application can be written");
    let row = SettingChange::put(Kind::Application, *APPLICATION.as_bytes(), row);
    settings.write(vec![row]).expect("memory takes it");
    Access::new(settings).without_anonymous()
});

static KEY: LazyLock<EncodingKey> =
    LazyLock::new(|| EncodingKey::from_rsa_pem(PRIVATE.as_bytes()).expect("a key"));

/// A header; or behind a zero byte the claims of a token that is signed with the right key.
pub fn authorization(data: &[u8]) {
    let now = UnixMillis(NOW_S as u64 * 1000);
    match data.split_first() {
        Some((0, claims)) => {
            use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
            let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
            let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
            let signature = crypto::sign(message.as_bytes(), &KEY, Algorithm::RS256);
            let token = format!("Bearer {message}.{}", signature.expect("the key signs"));
            if let Ok(caller) = ACCESS.authenticate(Some(&token), now) {
                assert_eq!(caller.application, Some(APPLICATION));
                // What stands in claims that nobody reads may be what this reader does not take.
                let Ok(claims) = serde_json::from_slice::<Value>(claims) else { return };
                let at = |name: &str| claims[name].as_f64();
                let iat = at("iat").expect("a token says when it was made");
                assert!(iat <= NOW_S + 60.0 && at("nbf").is_none_or(|nbf| nbf <= NOW_S + 60.0));
                let end = at("exp").unwrap_or(iat + 900.0);
                assert!(NOW_S < end + 60.0 && end <= iat + 86_400.0);
            }
        }
        Some(_) | None => {
            let Ok(header) = std::str::from_utf8(data) else { return };
            let denied = ACCESS.authenticate(Some(header), now);
            // Nobody has a key, and none of the corpora holds a token that is signed.
            let denied = denied.expect_err("nobody is let in");
            // Whoever brings a key learns that there is none yet.
            assert!(matches!(denied, Denied::Invalid(_) | Denied::NoKey), "{denied:?}");
        }
    }
}
