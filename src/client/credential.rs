//! Who calls: what every call carries in its `authorization` metadata.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// A key and its secret, a token, or nothing.
#[derive(Clone, Default)]
pub struct Credential(Option<MetadataValue<Ascii>>);

impl Credential {
    /// Nothing: for a service that has no key yet.
    pub fn none() -> Self {
        Credential(None)
    }

    /// A key, as `ID:SECRET`; `None` if there is no `:` in it.
    pub fn key(id_and_secret: &str) -> Option<Self> {
        id_and_secret.contains(':').then_some(())?;
        Credential::header(&format!("Basic {}", STANDARD.encode(id_and_secret)))
    }

    /// A token of an application; `None` if it cannot be one.
    pub fn token(token: &str) -> Option<Self> {
        Credential::header(&format!("Bearer {token}"))
    }

    fn header(text: &str) -> Option<Self> {
        let mut value: MetadataValue<Ascii> = text.parse().ok()?;
        value.set_sensitive(true);
        Some(Credential(Some(value)))
    }
}

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}
