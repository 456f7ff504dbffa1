//! Opening: the tables are there, this process owns them, and what they hold is what was acknowledged.

use std::sync::{Arc, Mutex};

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{
    CLOCK, PostgresBackend, PostgresOptions,
    database::{Connections, Database},
    key_folder::PostgresKeys,
    lease::Lease,
    schema,
};
use crate::store::{
    Cursor, Incarnation, JournalStore, KeyFolder, StoreError,
    backend::{Backend, Writes},
    journal::{self, Checkpoint, rebuild},
    key_folder::KeyFolderInRows,
};

/// A store, and the folder of the keys of its contents.
pub type StoreAndKeys = (JournalStore, Arc<dyn KeyFolder>);

impl PostgresOptions {
    /// Waits until no other process is active, and opens what is there; an empty database becomes an empty store. The
    /// keys of contents are in the same database.
    ///
    /// # Errors
    /// If the database cannot be reached, refuses something, or lacks what was acknowledged.
    pub fn open(&self) -> Result<StoreAndKeys, StoreError> {
        let opened = self.open_unless(&|| false)?;
        opened.ok_or_else(|| StoreError::Database("nobody waits for it".to_owned()))
    }

    /// The same, or `None` if it is given up while another process is active.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_unless(
        &self,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Option<StoreAndKeys>, StoreError> {
        let Some(backend) = self.own(is_given_up)?.map(Arc::new) else { return Ok(None) };
        let newest = backend.acknowledged()?;
        let seam: &dyn Backend = &*backend;
        let noted: Option<Incarnation> = seam.decode(journal::INCARNATION)?;
        let checkpoint = Checkpoint::of_this_life(seam, noted);
        let rebuilt = rebuild(seam, checkpoint)?;
        if rebuilt.newest < newest {
            return Err(backend.database.failed(&format!(
                "the newest {} rows of the journal are lost: it was put back from an older copy in part. Restore a \
                 whole backup of the database",
                newest.0 - rebuilt.newest.0
            )));
        }
        let incarnation = match noted {
            Some(incarnation) => incarnation,
            None => {
                let new = Incarnation(Uuid::now_v7());
                let mut writes = Writes::default();
                writes.put(journal::INCARNATION.to_vec(), &new)?;
                seam.commit(writes, Cursor(0))?;
                new
            }
        };
        let clock = seam.decode(CLOCK)?;
        let keys = KeyFolderInRows::new(Arc::new(PostgresKeys(Arc::clone(&backend))));
        let settings = Arc::clone(&backend) as _;
        let store = JournalStore::new(backend, settings, incarnation, clock, rebuilt)?;
        Ok(Some((store, Arc::new(keys))))
    }

    /// The database, with its tables, once this process owns it.
    fn own(&self, is_given_up: &dyn Fn() -> bool) -> Result<Option<PostgresBackend>, StoreError> {
        if self.connections < Connections::FEWEST {
            let why = format!("store.connections must be {} at least", Connections::FEWEST);
            return Err(StoreError::Refused(why));
        }
        let Connections { reading, writing, renewing } = Connections::new(self)?;
        warn_of_fsync(&reading)?;
        schema::migrate(&writing)?;
        let lease = Lease::acquire(&renewing, &self.name, is_given_up)?;
        Ok(lease.map(|lease| {
            let (commits, beside) = (Mutex::new(0), Mutex::new(0));
            PostgresBackend { lease, database: reading, writing, commits, beside }
        }))
    }

    /// The tables of the keys alone.
    #[cfg(test)]
    pub(in crate::store) fn open_keys(&self) -> Result<Arc<PostgresKeys>, StoreError> {
        let backend = self.own(&|| false)?.expect("nobody gives it up");
        Ok(Arc::new(PostgresKeys(Arc::new(backend))))
    }
}

impl PostgresBackend {
    /// The newest entry of the journal that was acknowledged.
    fn acknowledged(&self) -> Result<Cursor, StoreError> {
        let newest = "SELECT coalesce(max(newest), 0) FROM dispatch.partition";
        let newest = self.rows(newest, &[], |row| row.try_get::<_, i64>(0))?;
        Ok(newest.first().map_or(Cursor(0), |newest| Cursor(*newest as u64)))
    }
}

/// Says so where a power cut would take what was acknowledged.
fn warn_of_fsync(database: &Database) -> Result<(), StoreError> {
    let name = "fsync";
    let params: [(&(dyn ToSql + Sync), Type); 1] = [(&name, Type::TEXT)];
    let setting = database.read(async |client| {
        let row = client.query_typed_opt("SELECT current_setting($1)", &params).await?;
        row.map(|row| row.try_get::<_, String>(0)).transpose()
    })?;
    if setting.as_deref() == Some("off") {
        tracing::warn!(
            database = database.place(),
            "fsync is off: a power cut takes what was acknowledged, and messages may go out twice"
        );
    }
    Ok(())
}
