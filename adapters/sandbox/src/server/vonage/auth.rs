//! Who may send: what the Messages API takes as `Authorization`.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dispatch_contract::UnixMillis;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use crate::server::ServerConfig;

/// How long a token without `exp` is good for, in seconds.
const DEFAULT_LIFE_S: u64 = 900;

/// How far a caller's clock may run ahead of ours, in seconds.
const SKEW_S: u64 = 60;

/// Checks callers.
pub(super) struct Callers {
    /// `key:secret`, in base64; a simulator need not guard it better than its configuration does.
    basic: Option<String>,
    jwt: Option<DecodingKey>,
    application_id: Option<String>,
}

#[derive(Deserialize)]
struct SenderClaims {
    application_id: Option<String>,
    jti: Option<String>,
    /// In seconds.
    iat: Option<u64>,
    /// In seconds.
    exp: Option<u64>,
}

impl Callers {
    pub(super) fn new(config: &ServerConfig) -> Result<Self, jsonwebtoken::errors::Error> {
        let jwt = match &config.public_key_pem {
            Some(pem) => Some(DecodingKey::from_rsa_pem(pem.as_bytes())?),
            None => None,
        };
        let basic = config
            .api_secret
            .as_ref()
            .map(|secret| STANDARD.encode(format!("{}:{}", config.api_key, secret.expose())));
        Ok(Callers { basic, jwt, application_id: config.application_id.clone() })
    }

    /// Whether a caller with these headers may send, or why not.
    pub(super) fn check(&self, headers: &HeaderMap, now: UnixMillis) -> Result<(), &'static str> {
        let header = headers
            .get(header::AUTHORIZATION)
            .ok_or("Request header 'Authorization' missing")?
            .to_str()
            .map_err(|_| "Request header 'Authorization' is no text")?;
        let (scheme, credential) =
            header.split_once(' ').ok_or("Request header 'Authorization' has no credential")?;
        let anything_goes = self.basic.is_none() && self.jwt.is_none();
        if scheme.eq_ignore_ascii_case("basic") {
            match &self.basic {
                Some(expected) if expected == credential.trim() => Ok(()),
                Some(_) => Err("The API key or its secret is wrong"),
                None if anything_goes => Ok(()),
                None => Err("This account takes tokens only"),
            }
        } else if scheme.eq_ignore_ascii_case("bearer") {
            match &self.jwt {
                Some(key) => self.token(key, credential.trim(), now),
                None if anything_goes => Ok(()),
                None => Err("This account takes its key and secret only"),
            }
        } else {
            Err("Request header 'Authorization' must be Basic or Bearer")
        }
    }

    fn token(&self, key: &DecodingKey, token: &str, now: UnixMillis) -> Result<(), &'static str> {
        let mut validation = Validation::new(Algorithm::RS256);
        // Times are judged below, by the injected clock.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<SenderClaims>(token, key, &validation)
            .map_err(|_| "Invalid Token: it is not signed by this application")?
            .claims;
        if claims.jti.is_none_or(|jti| jti.is_empty()) {
            return Err("Invalid Token: it has no jti");
        }
        let Some(application_id) = claims.application_id else {
            return Err("Invalid Token: it has no application_id");
        };
        if self.application_id.as_ref().is_some_and(|expected| *expected != application_id) {
            return Err("Invalid Token: it is another application's");
        }
        let iat = claims.iat.ok_or("Invalid Token: it has no iat")?;
        let now_s = now.0 / 1000;
        if iat > now_s.saturating_add(SKEW_S) {
            return Err("Invalid Token: it was issued in the future");
        }
        if claims.exp.unwrap_or(iat.saturating_add(DEFAULT_LIFE_S)) < now_s {
            return Err("Invalid Token: it has expired");
        }
        Ok(())
    }
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").finish_non_exhaustive()
    }
}
