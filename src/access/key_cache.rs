//! The parsed public keys of applications.
//!
//! The row of an application is read for every token; what is cached is only the parsing of it. So an
//! entry never has to be invalidated: it counts while the row is the same bytes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jsonwebtoken::DecodingKey;
use uuid::Uuid;

use super::{Application, Caller, Scope};
use crate::store::{Kind, Settings, StoreError, decode};

/// How many applications' keys are cached.
const MOST: usize = 1024;

/// The cache, by application.
#[derive(Default)]
pub(super) struct KeyCache(Mutex<HashMap<Uuid, Arc<KeyCacheEntry>>>);

/// An application's public key and caller, parsed.
pub(super) struct KeyCacheEntry {
    /// What it was parsed of: another row is another application.
    row: Vec<u8>,
    pub(super) caller: Caller,
    /// `None` if the application has no key, or none that can be read.
    pub(super) key: Option<DecodingKey>,
}

impl KeyCache {
    /// How many keys are cached.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The key of the application of that id, as it is at this moment; `None` if there is no such
    /// application.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(super) fn get(
        &self,
        settings: &dyn Settings,
        id: Uuid,
    ) -> Result<Option<Arc<KeyCacheEntry>>, StoreError> {
        let Some(row) = settings.get(Kind::Application, id.as_bytes())? else {
            return Ok(None);
        };
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = cache.get(&id)
            && entry.row == row
        {
            return Ok(Some(Arc::clone(entry)));
        }
        let application: Application = decode(&row, || format!("application {id}"))?;
        let key = application.public_key.as_deref();
        let parsed = Arc::new(KeyCacheEntry {
            caller: Caller {
                tenant: application.tenant.as_str().into(),
                scopes: Scope::APPLICATION.to_vec(),
                application: Some(id),
                name: id.to_string().into(),
                source: None,
            },
            key: key.and_then(|pem| DecodingKey::from_rsa_pem(pem.as_bytes()).ok()),
            row,
        });
        if cache.len() >= MOST {
            cache.clear();
        }
        cache.insert(id, Arc::clone(&parsed));
        Ok(Some(parsed))
    }
}
