//! Signs webhooks as Vonage signs them: a token that holds the hash of the body.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    provider::SimulatedProvider,
    server::{ServerConfig, webhook_sender::WebhookSigner},
};

/// Signs with the account's signature secret.
pub(super) struct TokenSigner {
    provider: Arc<SimulatedProvider>,
    key: EncodingKey,
    api_key: String,
    application_id: Option<String>,
    signed: AtomicU64,
}

#[derive(Serialize)]
struct WebhookClaims<'a> {
    /// In seconds.
    iat: u64,
    jti: String,
    iss: &'static str,
    /// Lower-case hex SHA-256 of the body.
    payload_hash: &'a str,
    api_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<&'a str>,
}

impl TokenSigner {
    /// The account's, if it has a secret.
    pub(super) fn of(config: &ServerConfig, provider: &Arc<SimulatedProvider>) -> Option<Self> {
        let secret = config.signature_secret.as_ref()?;
        Some(TokenSigner {
            provider: Arc::clone(provider),
            key: EncodingKey::from_secret(secret.expose().as_bytes()),
            api_key: config.api_key.clone(),
            application_id: config.application_id.clone(),
            signed: AtomicU64::new(0),
        })
    }
}

impl WebhookSigner for TokenSigner {
    fn sign(&self, _url: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let now = self.provider.clock().wall();
        let payload_hash: String =
            Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let count = self.signed.fetch_add(1, Ordering::Relaxed);
        let seed = self.provider.seed();
        let claims = WebhookClaims {
            iat: now.0 / 1000,
            // The time keeps a restarted server from naming two tokens alike.
            jti: seed.id(count, &["jti", &now.0.to_string(), &payload_hash]).to_string(),
            iss: "Vonage",
            payload_hash: &payload_hash,
            api_key: &self.api_key,
            application_id: self.application_id.as_deref(),
        };
        let token = jsonwebtoken::encode(&Header::default(), &claims, &self.key)
            .inspect_err(|error| tracing::error!(%error, "a status webhook could not be signed"));
        token.into_iter().map(|token| ("authorization", format!("Bearer {token}"))).collect()
    }
}
