//! Opens the store that the configuration names.

use super::{StartError, ballast};
use crate::{
    config::{Config, StoreKind},
    store::{MemoryStore, ReadOnlyStore, SledOptions, Store, StoreError},
};

pub(super) fn open(config: &Config) -> Result<Box<dyn Store>, StartError> {
    Ok(match config.store.kind {
        StoreKind::Memory => Box::new(MemoryStore::new()),
        StoreKind::Sled => {
            let options = SledOptions {
                folder: config.store.data.clone(),
                cache_bytes: config.store.cache_mib * 1024 * 1024,
            };
            if config.store.read_only {
                ballast::release(&config.store.data);
            }
            let opened = match (config.store.accept_loss, config.store.read_only) {
                (true, _) => options.open_after_loss(),
                (false, true) => options.open_to_read(),
                (false, false) => options.open(),
            };
            let opened: Box<dyn Store> = Box::new(opened.map_err(|error| full(error, config))?);
            if config.store.read_only {
                return Ok(Box::new(ReadOnlyStore(opened)));
            }
            ballast::keep(&config.store.data, config.store.ballast_mib * 1024 * 1024);
            opened
        }
    })
}

/// Says what can be done about a store that did not open because its disk is full.
fn full(error: StoreError, config: &Config) -> StartError {
    match error {
        StoreError::Io(text) if text.contains("os error 28") && !config.store.read_only => {
            StartError::Store(StoreError::Io(format!(
                "{text}. The disk is full: make some 32 MiB of room, or start with --read-only to see \
                 what is there"
            )))
        }
        error => StartError::Store(error),
    }
}
