//! What the provider tells about its messages: signed status webhooks, as Vonage sends them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{peer, provider::Arrival};

/// Posts webhooks to a service.
#[derive(Clone)]
pub(super) struct Webhooks {
    client: reqwest::Client,
    url: Arc<str>,
    key: Arc<EncodingKey>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: u64,
    jti: String,
    iss: &'static str,
    payload_hash: &'a str,
    api_key: &'static str,
}

impl Webhooks {
    /// To `url`, signed with `secret`.
    pub(super) fn new(url: &str, secret: &str) -> Result<Webhooks, reqwest::Error> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(512)
            .timeout(Duration::from_secs(30))
            .build()?;
        let key = Arc::new(EncodingKey::from_secret(secret.as_bytes()));
        Ok(Webhooks { client, url: Arc::from(url), key })
    }

    /// Tells that the message of `arrival` has this status. Returns once that is taken.
    pub(super) async fn tell(&self, arrival: &Arrival, status: &str) -> Result<(), String> {
        let body = body(arrival, status);
        let token = self.token(&body).map_err(|error| error.to_string())?;
        let posted = self
            .client
            .post(&*peer::addressed(&self.url, arrival.number))
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .bearer_auth(token)
            .body(body)
            .send()
            .await
            .map_err(|error| format!("a webhook: {error}"))?;
        let status = posted.status();
        // Read to its end, so that the connection is used again.
        let told = posted.text().await.map_err(|error| format!("a webhook: {error}"))?;
        if status.is_success() { Ok(()) } else { Err(format!("a webhook: {status}: {told}")) }
    }

    fn token(&self, body: &str) -> Result<String, jsonwebtoken::errors::Error> {
        let payload_hash: String =
            Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let iat = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let jti = uuid::Uuid::now_v7().to_string();
        let claims = Claims {
            iat,
            jti,
            iss: "Vonage",
            payload_hash: &payload_hash,
            api_key: super::server::API_KEY,
        };
        jsonwebtoken::encode(&Header::default(), &claims, &self.key)
    }
}

fn body(arrival: &Arrival, status: &str) -> String {
    let Arrival { step, provider_id, client_ref, wall, .. } = arrival;
    let channel = if *step == 1 { "messenger" } else { "sms" };
    let timestamp = prost_types::Timestamp::from(*wall);
    format!(
        r#"{{"message_uuid":"{provider_id}","to":"447700900001","from":"447700900000","timestamp":"{timestamp}","status":"{status}","channel":"{channel}","client_ref":"{client_ref}"}}"#
    )
}
