//! What a call to Vonage is authorised with: Basic credentials, or a token of the application's.
//!
//! Tokens live for 15 minutes, Vonage's own default, and are kept until 60 s before their end: an
//! RSA signature costs about as much as the rest of a send. The claims are the required three
//! (`application_id`, `iat`, `jti`) and `exp`; no `acl`, because the token never leaves this
//! process for anyone but Vonage.

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use uuid::Uuid;

use dispatch_contract::{Account, AdapterError, ErrorKind, Fault, Retry, UnixMillis};
use dispatch_kit::per_account::PerAccount;

use super::{ProviderCredential, VonageAccount};

const LIFETIME_S: u64 = 900;
const RENEW_BEFORE_END_S: u64 = 60;

/// The tokens in use, by account.
#[derive(Debug, Default)]
pub(super) struct TokenCache(PerAccount<Token>);

#[derive(Clone)]
struct Token {
    issued_s: u64,
    header: String,
}

#[derive(Serialize)]
struct ProviderTokenClaims<'a> {
    application_id: &'a str,
    iat: u64,
    exp: u64,
    jti: Uuid,
}

impl TokenCache {
    /// The `Authorization` header for a call at `now`.
    ///
    /// # Errors
    /// If the account's private key is not an RSA key.
    pub(super) fn authorization(
        &self,
        account: &Account,
        view: &VonageAccount<'_>,
        now: UnixMillis,
    ) -> Result<String, AdapterError> {
        let (application_id, private_key) = match view.credential {
            ProviderCredential::Key { api_key, api_secret } => {
                return Ok(basic(api_key, api_secret));
            }
            ProviderCredential::Application { application_id, private_key } => {
                (application_id, private_key)
            }
        };
        let now_s = now.0 / 1_000;
        let make = || {
            let token = sign(application_id, private_key, now_s)?;
            Ok(Token { issued_s: now_s, header: format!("Bearer {token}") })
        };
        let token = self.0.fresh(account, |token| token.is_fresh(now_s), make);
        token.map(|token| token.header).map_err(|problem: String| {
            AdapterError::new(ErrorKind::Unauthorized, Fault::Account, Retry::Permanent, problem)
        })
    }
}

impl Token {
    /// A token from the future is not fresh: the wall clock was set back, and Vonage judges `iat`.
    fn is_fresh(&self, now_s: u64) -> bool {
        (self.issued_s..self.issued_s + LIFETIME_S - RENEW_BEFORE_END_S).contains(&now_s)
    }
}

/// Signs a token for `application_id`.
///
/// # Errors
/// If `private_key` is no RSA private key in PEM form. The sentence does not show it.
pub(super) fn sign(application_id: &str, private_key: &str, now_s: u64) -> Result<String, String> {
    let wrong = |_| {
        "secret private_key must be the application's RSA private key in PEM form, line breaks \
         included"
            .to_owned()
    };
    let key = EncodingKey::from_rsa_pem(private_key.as_bytes()).map_err(wrong)?;
    let claims = ProviderTokenClaims {
        application_id,
        iat: now_s,
        exp: now_s.saturating_add(LIFETIME_S),
        jti: Uuid::new_v4(),
    };
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).map_err(wrong)
}

fn basic(api_key: &str, api_secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{api_key}:{api_secret}")))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
        rsa::{KeyPair, KeySize},
        signature::KeyPair as _,
    };
    use dispatch_contract::Secret;
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::*;

    const NOW_S: u64 = 1_700_000_000;

    /// A key pair made for this run: private and public half, PEM.
    static KEYS: LazyLock<(String, String)> = LazyLock::new(|| {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key pair");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS#8");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("X.509");
        (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
    });

    fn pem(label: &str, der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    fn account(revision: u64) -> Account {
        Account {
            name: "main".to_owned(),
            revision,
            settings: [("application_id".to_owned(), "app-1".to_owned())].into(),
            secrets: [("private_key".to_owned(), Secret::new(KEYS.0.as_str()))].into(),
        }
    }

    fn header(tokens: &TokenCache, revision: u64, now_s: u64) -> String {
        let account = account(revision);
        let view = VonageAccount::read(&account).expect("a good account");
        tokens.authorization(&account, &view, UnixMillis(now_s * 1_000)).expect("a token")
    }

    #[test]
    fn the_token_carries_the_claims_that_vonage_asks_for() {
        let header = header(&TokenCache::default(), 1, NOW_S);
        let token = header.strip_prefix("Bearer ").expect("a bearer token");
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        let key = DecodingKey::from_rsa_pem(KEYS.1.as_bytes()).expect("a public key");
        let data = jsonwebtoken::decode::<Value>(token, &key, &validation).expect("genuine");
        assert_eq!(data.header.typ.as_deref(), Some("JWT"));
        assert_eq!(data.claims["application_id"], "app-1");
        assert_eq!(data.claims["iat"], NOW_S);
        assert_eq!(data.claims["exp"], NOW_S + 900);
        assert!(Uuid::try_parse(data.claims["jti"].as_str().expect("a text")).is_ok());
    }

    #[test]
    fn a_token_is_kept_until_a_minute_before_its_end() {
        let tokens = TokenCache::default();
        let first = header(&tokens, 1, NOW_S);
        assert_eq!(header(&tokens, 1, NOW_S + 839), first);
        assert_ne!(header(&tokens, 1, NOW_S + 840), first);
    }

    #[test]
    fn a_changed_account_and_a_clock_set_back_get_a_new_token() {
        let tokens = TokenCache::default();
        let first = header(&tokens, 1, NOW_S);
        assert_ne!(header(&tokens, 2, NOW_S), first);
        let second = header(&tokens, 2, NOW_S);
        assert_ne!(header(&tokens, 2, NOW_S - 1), second);
    }

    #[test]
    fn basic_credentials_are_encoded() {
        assert_eq!(basic("aaa012", "abc123456789"), "Basic YWFhMDEyOmFiYzEyMzQ1Njc4OQ==");
    }

    #[test]
    fn a_public_key_or_garbage_is_refused_without_being_shown() {
        for key in ["", "garbage", &KEYS.1] {
            let problem = sign("app-1", key, NOW_S).expect_err("refused");
            assert!(problem.contains("RSA private key"));
        }
    }
}
