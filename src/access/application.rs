//! Applications: who is told what becomes of a workflow, and how.

use dispatch_contract::{WrongUrl, check_url};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::destination::callback_rules;

/// An application of a tenant's. Kept as a setting of [`Kind::Application`](crate::store::Kind), under
/// its id's sixteen bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its id; stands in its tokens.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: String,
    /// For people.
    pub name: String,
    /// The public half of its key pair, PEM. Its tokens are signed with the other half, which is
    /// given out once and not kept.
    pub public_key: Option<String>,
    /// What it does with messages; without it, it is told nothing.
    pub messages: Option<MessagesCapability>,
    /// Capabilities that nothing here uses (voice, rtc, …): a JSON object as it was given, so that
    /// whoever reads an application back finds what it wrote.
    pub other_capabilities: String,
    /// As it was given; nothing here uses people's data for anything but sending.
    pub improve_ai: bool,
    /// When it was made, in milliseconds of the Unix epoch.
    pub create_time_ms: u64,
}

impl Application {
    /// The place that the secret of an application's callbacks is sealed for, by the [vault](super::Vault).
    pub fn secret_place(id: Uuid) -> Vec<u8> {
        [b"application/", &id.as_bytes()[..]].concat()
    }
}

/// What an application does with messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagesCapability {
    /// Told of people's answers.
    pub inbound: Option<Webhook>,
    /// Told of statuses and final reports.
    pub status: Option<Webhook>,
    /// The version of the payloads that it is sent.
    pub payload_version: PayloadVersion,
    /// How it can tell that it is us.
    pub signing: Signing,
    /// The secret that callbacks are signed with, encrypted.
    pub secret: Vec<u8>,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// `https://…`; `http://` only where the configuration allows it.
    pub address: String,
}

impl Webhook {
    /// Reads an address. Whether it may be called is decided when it is: that depends on where it
    /// leads by then, and on whether the configuration allows plain `http`, which no text here
    /// recommends.
    ///
    /// # Errors
    /// If it is none; the error says what would be right, and shows nothing of it.
    pub fn parse(address: &str) -> Result<Webhook, WrongUrl> {
        match check_url(address, callback_rules(true)) {
            Ok(_) => Ok(Webhook { address: address.to_owned() }),
            Err(WrongUrl::Scheme { .. }) => Err(WrongUrl::Scheme { http: false }),
            Err(wrong) => Err(wrong),
        }
    }
}

/// The version of a callback's payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PayloadVersion {
    /// Messages v0.1 statuses with `_links.workflow`, and the Dispatch final report.
    #[default]
    V01,
    /// Messages v1 statuses.
    V1,
}

impl PayloadVersion {
    /// Its name, as an application's `messages.version` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            PayloadVersion::V01 => "v0.1",
            PayloadVersion::V1 => "v1",
        }
    }

    /// The version of that name.
    pub fn named(name: &str) -> Option<PayloadVersion> {
        [PayloadVersion::V01, PayloadVersion::V1]
            .into_iter()
            .find(|version| version.as_str() == name)
    }
}

/// How a callback is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signing {
    /// `Authorization: Bearer` with a JWT (HS256) over the body's SHA-256, as the official helpers verify.
    #[default]
    Jwt,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature` of the Standard Webhooks specification.
    StandardWebhooks,
}

impl Signing {
    /// Its name, on the wire and in the CLI.
    pub fn as_str(self) -> &'static str {
        match self {
            Signing::Jwt => "jwt",
            Signing::StandardWebhooks => "standard_webhooks",
        }
    }

    /// The way of that name.
    pub fn named(name: &str) -> Option<Signing> {
        [Signing::Jwt, Signing::StandardWebhooks].into_iter().find(|it| it.as_str() == name)
    }
}
