//! Applications: who is told what becomes of a workflow, and how.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// When it was made, in milliseconds of the Unix epoch.
    pub created_at_ms: u64,
}

/// What an application does with messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagesCapability {
    /// Told of people's answers.
    pub inbound: Option<Webhook>,
    /// Told of statuses and final reports.
    pub status: Option<Webhook>,
    /// The words it is told in.
    pub shape: Shape,
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

/// The words of a callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// Messages v0.1 statuses with `_links.workflow`, and the Dispatch final report.
    #[default]
    V01,
    /// Messages v1 statuses.
    V1,
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
