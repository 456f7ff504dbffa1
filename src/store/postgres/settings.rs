//! What is kept beside workflows.

use tokio_postgres::types::Type;

use super::{
    PostgresBackend,
    commit::{BESIDE, Fenced, commit},
};
use crate::store::{
    KeyAndValue, Kind, SettingChange, Settings, StoreError,
    settings::{stored_key, stored_range},
};

impl Settings for PostgresBackend {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = stored_key(kind, key);
        self.database.read(async |client| {
            let ask = "SELECT value FROM dispatch.setting WHERE key = $1";
            let row = client.query_typed_opt(ask, &[(&key, Type::BYTEA)]).await?;
            row.map(|row| row.try_get(0)).transpose()
        })
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyAndValue>, StoreError> {
        let (from, to) = stored_range(kind, after);
        let limit = limit as i64;
        self.database.read(async |client| {
            let ask = "SELECT key, value FROM dispatch.setting WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3";
            let params = [(&from as _, Type::BYTEA), (&to as _, Type::BYTEA), (&limit as _, Type::INT8)];
            let rows = client.query_typed(ask, &params).await?;
            let row = |row: &tokio_postgres::Row| Ok((row.try_get::<_, &[u8]>(0)?[1..].to_vec(), row.try_get(1)?));
            rows.iter().map(row).collect()
        })
    }

    fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        changes.iter().try_for_each(SettingChange::check)?;
        // The last change of a key holds, and one statement changes no row twice.
        let last: std::collections::BTreeMap<_, _> =
            changes.iter().map(|change| (change.stored_key(), change.value.as_deref())).collect();
        let (keys, values): (Vec<_>, Vec<_>) = last.into_iter().unzip();
        self.beside(|number| {
            commit(
                &self.writing,
                &self.lease,
                &Fenced {
                    statement: "SELECT dispatch.change_settings($1, $2, $3, $4, $5)",
                    touched: &[BESIDE],
                    number,
                    rest: &[(&keys, Type::BYTEA_ARRAY), (&values, Type::BYTEA_ARRAY)],
                },
            )
        })
    }

    /// A commit of its own: nothing is cheaper here.
    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.write(changes)
    }
}
