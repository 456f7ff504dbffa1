//! Opens the store that the configuration names.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{StartError, ballast};
use crate::{
    config::{Config, StoreConfig, StoreKind, resolve_secret},
    owned_files,
    store::{
        KEY_FOLDER, KeyFolder, KeyFolderOnDisk, MemoryStore, PostgresOptions, ReadOnlyStore,
        SledOptions, Store, StoreError,
    },
};

/// A store, and the folder of the keys of its contents where they are kept.
pub(super) struct OpenedStore {
    pub(super) store: Box<dyn Store>,
    pub(super) keys: Option<Arc<dyn KeyFolder>>,
}

/// Opens the store. One that another process owns is waited for, until that is given up.
pub(super) async fn open(
    config: &Config,
    given_up: &CancellationToken,
) -> Result<OpenedStore, StartError> {
    match config.store.kind {
        StoreKind::Memory => Ok(OpenedStore { store: Box::new(MemoryStore::new()), keys: None }),
        StoreKind::Sled => {
            let keys = KeyFolderOnDisk::at(config.store.data.join(KEY_FOLDER));
            Ok(OpenedStore { store: sled(&config.store)?, keys: Some(keys) })
        }
        StoreKind::Postgres => postgres(config, given_up.clone()).await,
    }
}

fn sled(config: &StoreConfig) -> Result<Box<dyn Store>, StartError> {
    let options =
        SledOptions { folder: config.data.clone(), cache_bytes: config.cache_mib * 1024 * 1024 };
    if config.read_only {
        ballast::release(&config.data);
    }
    let opened = match (config.accept_loss, config.read_only) {
        (true, _) => options.open_after_loss(),
        (false, true) => options.open_to_read(),
        (false, false) => options.open(),
    };
    let opened: Box<dyn Store> = Box::new(opened.map_err(|error| full(error, config))?);
    if config.read_only {
        return Ok(Box::new(ReadOnlyStore(opened)));
    }
    ballast::keep(&config.data, config.ballast_mib * 1024 * 1024);
    Ok(opened)
}

async fn postgres(config: &Config, given_up: CancellationToken) -> Result<OpenedStore, StartError> {
    if config.store.read_only || config.store.accept_loss {
        return Err(StartError::Store(StoreError::Refused(
            "--read-only and --accept-loss are for a data folder: what a database lost, it tells itself".to_owned(),
        )));
    }
    let data = &config.store.data;
    if !data.is_dir() {
        let failed =
            |error| StoreError::Io(format!("cannot make the folder {}: {error}", data.display()));
        owned_files::make_folder(data).map_err(failed).map_err(StartError::Store)?;
    }
    let options = PostgresOptions {
        connection: resolve_secret(&config.store.connection).map_err(StartError::Config)?,
        connections: config.store.connections as usize,
        name: format!("{}, process {}", config.listen.grpc, std::process::id()),
    };
    let opened =
        tokio::task::spawn_blocking(move || options.open_unless(&|| given_up.is_cancelled())).await;
    let opened =
        opened.unwrap_or_else(|error| Err(StoreError::Io(format!("a start panicked: {error}"))));
    let (store, keys) = opened.map_err(StartError::Store)?.ok_or(StartError::GivenUp)?;
    Ok(OpenedStore { store: Box::new(store), keys: Some(keys) })
}

/// Says what can be done about a store that did not open because its disk is full.
fn full(error: StoreError, config: &StoreConfig) -> StartError {
    match error {
        StoreError::Io(text) if text.contains("os error 28") && !config.read_only => {
            StartError::Store(StoreError::Io(format!(
                "{text}. The disk is full: make some 32 MiB of room, or start with --read-only to see \
                 what is there"
            )))
        }
        error => StartError::Store(error),
    }
}
