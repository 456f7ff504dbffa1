//! Opening: the tables are there, this process owns them, and what they hold is what was acknowledged.

use std::sync::{Arc, Mutex};

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{
    CLOCK, PostgresBackend, PostgresOptions, database::Database, key_folder::PostgresKeys,
    lease::Lease, schema,
};
use crate::store::{
    Cursor, Incarnation, JournalStore, KeyFolder, StoreError,
    backend::{Backend, Writes},
    journal::{self, Checkpoint, rebuild},
    key_folder::KeyFolderInRows,
};

/// So few connections are too few: one renews the lease while another waits for a commit.
const FEWEST: usize = 2;

impl PostgresOptions {
    /// Waits until no other process is active, and opens what is there; an empty database becomes an empty store. The
    /// keys of contents are in the same database.
    ///
    /// # Errors
    /// If the database cannot be reached, refuses something, or lacks what was acknowledged.
    pub fn open(&self) -> Result<(JournalStore, Arc<dyn KeyFolder>), StoreError> {
        self.open_unless(&|| false)
    }

    /// The same, unless it is given up while another process is active.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if it was given up.
    pub fn open_unless(
        &self,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<(JournalStore, Arc<dyn KeyFolder>), StoreError> {
        if self.connections < FEWEST {
            let why = format!("a store on PostgreSQL needs {FEWEST} connections at least");
            return Err(StoreError::Refused(why));
        }
        let backend = Arc::new(self.own(is_given_up)?);
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
        Ok((store, Arc::new(keys)))
    }
}

impl PostgresOptions {
    /// The database, with its tables, once this process owns it.
    fn own(&self, is_given_up: &dyn Fn() -> bool) -> Result<PostgresBackend, StoreError> {
        let database = Arc::new(Database::new(self)?);
        warn_of_fsync(&database)?;
        schema::migrate(&database)?;
        let lease = Lease::acquire(&database, &self.name, is_given_up)?;
        Ok(PostgresBackend { lease, database, commits: Mutex::new(0), beside: Mutex::new(0) })
    }

    /// The tables of the keys alone.
    #[cfg(test)]
    pub(in crate::store) fn open_keys(&self) -> Result<Arc<PostgresKeys>, StoreError> {
        Ok(Arc::new(PostgresKeys(Arc::new(self.own(&|| false)?))))
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
