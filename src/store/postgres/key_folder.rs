//! The keys of contents in rows, so that whoever takes over has them.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    ops::Range,
    sync::Arc,
};

use tokio_postgres::types::{ToSql, Type};

use super::{
    PostgresBackend,
    commit::{BESIDE, Fenced, commit},
};
use crate::store::key_folder::{KeyBlocks, KeyTables};

/// The tables of the keys, in the database of a store.
pub(in crate::store) struct PostgresKeys(pub(super) Arc<PostgresBackend>);

impl PostgresKeys {
    /// Does a statement once, under the next number.
    fn commit(
        &self,
        number: i64,
        statement: &'static str,
        rest: &[(&(dyn ToSql + Sync), Type)],
    ) -> io::Result<()> {
        let fenced = Fenced { statement, touched: &[BESIDE], number, rest };
        commit(&self.0.writing, &self.0.lease, &fenced).map_err(io::Error::other)
    }

    fn number(&self, name: &str) -> io::Result<Option<u64>> {
        const ASK: &str = "SELECT number FROM dispatch.key_file WHERE name = $1";
        let found = self.0.rows(ASK, &[(&name, Type::TEXT)], |row| row.try_get::<_, i64>(0));
        Ok(found.map_err(io::Error::other)?.pop().map(|number| number as u64))
    }
}

/// Blocks as the database takes them.
fn as_sql(blocks: &KeyBlocks) -> (Vec<i64>, Vec<&[u8]>) {
    blocks.iter().map(|(number, bytes)| (*number as i64, &bytes[..])).unzip()
}

impl KeyTables for PostgresKeys {
    fn place(&self) -> String {
        format!("the keys of contents in {}", self.0.database.place())
    }

    fn names(&self) -> io::Result<BTreeMap<String, u64>> {
        const ASK: &str = "SELECT name, number FROM dispatch.key_file";
        let names =
            self.0.rows(ASK, &[], |row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)? as u64)));
        Ok(names.map_err(io::Error::other)?.into_iter().collect())
    }

    fn put(&self, name: &str, blocks: &KeyBlocks, length: u64) -> io::Result<u64> {
        let (numbers, bytes) = as_sql(blocks);
        let length = length as i64;
        self.0.beside(|number| {
            self.commit(
                number,
                "SELECT dispatch.put_key_file($1, $2, $3, $4, $5, $6, $7)",
                &[
                    (&name, Type::TEXT),
                    (&length, Type::INT8),
                    (&numbers, Type::INT8_ARRAY),
                    (&bytes, Type::BYTEA_ARRAY),
                ],
            )
        })?;
        self.number(name)?.ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.beside(|number| {
            self.number(name)?.ok_or(ErrorKind::NotFound)?;
            self.commit(
                number,
                "SELECT dispatch.remove_key_file($1, $2, $3, $4)",
                &[(&name, Type::TEXT)],
            )
        })
    }

    fn read(&self, file: u64, blocks: Range<u64>) -> io::Result<(u64, KeyBlocks)> {
        const ASK: &str = "SELECT f.length, b.number, b.bytes FROM dispatch.key_file f \
                           LEFT JOIN dispatch.key_block b ON b.file = f.number AND b.number >= $2 AND b.number < $3 \
                           WHERE f.number = $1";
        let (file, from, to) = (file as i64, blocks.start as i64, blocks.end as i64);
        let params: [(&(dyn ToSql + Sync), _); 3] =
            [(&file, Type::INT8), (&from, Type::INT8), (&to, Type::INT8)];
        let rows = self.0.rows(ASK, &params, |row| {
            let block =
                row.try_get::<_, Option<i64>>(1)?.zip(row.try_get::<_, Option<Vec<u8>>>(2)?);
            Ok((row.try_get::<_, i64>(0)?, block))
        });
        let rows = rows.map_err(io::Error::other)?;
        let length = rows.first().ok_or(ErrorKind::NotFound)?.0 as u64;
        let blocks = rows.into_iter().filter_map(|(_, block)| block);
        Ok((length, blocks.map(|(number, bytes)| (number as u64, bytes)).collect()))
    }

    fn overwrite(&self, file: u64, blocks: &KeyBlocks, length: u64) -> io::Result<()> {
        const IS_THERE: &str = "SELECT number FROM dispatch.key_file WHERE number = $1";
        let (numbers, bytes) = as_sql(blocks);
        let (file, length) = (file as i64, length as i64);
        self.0.beside(|number| {
            // Nobody else removes one meanwhile.
            let found = self.0.rows(IS_THERE, &[(&file, Type::INT8)], |_| Ok(()));
            found.map_err(io::Error::other)?.pop().ok_or(ErrorKind::NotFound)?;
            self.commit(
                number,
                "SELECT dispatch.overwrite_key_file($1, $2, $3, $4, $5, $6, $7)",
                &[
                    (&file, Type::INT8),
                    (&length, Type::INT8),
                    (&numbers, Type::INT8_ARRAY),
                    (&bytes, Type::BYTEA_ARRAY),
                ],
            )
        })
    }
}
