//! A journal's bytes in PostgreSQL, for processes of which one is active and others wait.
//!
//! What a process owns, [`lease`] says; that nothing is written by one that no longer does, and nothing twice,
//! [`commit`]. The tables are in `schema/`: whatever they hold is bytes to them, as to every
//! [backend](super::backend).
//!
//! Needed of the database: transactions, `bytea`, unique indexes, functions. Not used: advisory locks but around
//! migrations, LISTEN and NOTIFY, SKIP LOCKED, prepared statements, and whatever else belongs to one connection.

mod checkpoint;
mod commit;
mod database;
mod key_folder;
mod lease;
mod open;
mod schema;
mod settings;

use std::{
    fmt,
    net::IpAddr,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio_postgres::{
    Config, Row,
    config::{Host, SslMode},
    types::{ToSql, Type},
};

use super::{
    ClockNote, Cursor, StoreError,
    backend::{Backend, ChunkPart, EntryPlace, KeyedRow, RangeEnd, RawChunk, Scanned, Writes},
};
use crate::machine::Partition;
use commit::{as_sql, commit_journal};
use database::Database;
#[cfg(test)]
pub(super) use key_folder::PostgresKeys;
use lease::Lease;
pub use open::StoreAndKeys;

/// Where a store on PostgreSQL is.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The connection string: `host=db user=dispatch dbname=dispatch`, or as a URL.
    pub connection: String,
    /// How many connections there may be at once, at least 4: two are for writing, and one renews the lease.
    pub connections: usize,
    /// How this process is called where others wait for it.
    pub name: String,
}

/// A database that this process owns.
struct PostgresBackend {
    // In this order: whoever is dropped first still asks what comes behind.
    lease: Lease,
    /// For reading.
    database: Arc<Database>,
    writing: Arc<Database>,
    /// The number of the journal's last commit.
    commits: Mutex<i64>,
    /// The same of what belongs to no partition.
    beside: Mutex<i64>,
}

/// Where the clocks are noted.
const CLOCK: &[u8] = b"#clock";

impl PostgresOptions {
    fn config(&self) -> Result<Config, StoreError> {
        let wrong = |why: String| {
            StoreError::Refused(format!(
                "store.connection: {why}; say for example \"host=localhost user=dispatch dbname=dispatch\""
            ))
        };
        // What the parser says may quote a part of a password.
        let config: Config = self.connection.parse().map_err(|_| {
            wrong("it cannot be read: write name=value, with quotes around a value with a space, or a URL".to_owned())
        })?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host".to_owned()));
        }
        match config.get_ssl_mode() {
            SslMode::Disable => Ok(config),
            SslMode::Prefer if config.get_hosts().iter().all(is_this_machine) => Ok(config),
            SslMode::Prefer => Err(wrong(
                "TLS to the database is not spoken yet, and others could read what goes to another machine: use a \
                 tunnel, or say sslmode=disable if the network between is yours alone"
                    .to_owned(),
            )),
            _ => Err(wrong(
                "TLS to the database is not spoken yet: use a tunnel, or sslmode=disable"
                    .to_owned(),
            )),
        }
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("connections", &self.connections)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl PostgresBackend {
    /// Commits something under the next number of what belongs to no partition, one after the other. With an error it is
    /// not committed, or nothing ever is again.
    fn beside<E>(&self, write: impl FnOnce(i64) -> Result<(), E>) -> Result<(), E> {
        let mut last = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        write(*last + 1)?;
        *last += 1;
        Ok(())
    }

    /// The rows that a statement answers with.
    fn rows<T>(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
        row: impl Fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, StoreError> {
        self.database.read(async |client| {
            let rows = client.query_typed(statement, params).await?;
            rows.iter().map(&row).collect()
        })
    }

    /// The chunks whose parts a statement answers with, in order.
    fn parts(
        &self,
        statement: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<RawChunk>, StoreError> {
        let parts = self.rows(statement, params, |row| {
            let (first, partition): (i64, i16) = (row.try_get(0)?, row.try_get(1)?);
            Ok((first, partition, Bytes::from(row.try_get::<_, Vec<u8>>(2)?)))
        })?;
        let mut chunks: Vec<RawChunk> = Vec::new();
        for (first, partition, bytes) in parts {
            let first = Cursor(first as u64);
            let partition = u8::try_from(partition).ok().and_then(Partition::new);
            let partition = Some(partition.ok_or_else(|| StoreError::Corrupt {
                place: super::backend::chunk_place(first),
                problem: "it is of a partition that there is not".to_owned(),
            })?);
            let part = ChunkPart { partition, bytes };
            match chunks.last_mut().filter(|chunk| chunk.first == first) {
                Some(chunk) => chunk.parts.push(part),
                None => chunks.push(RawChunk { first, parts: vec![part] }),
            }
        }
        Ok(chunks)
    }
}

fn keyed(row: &Row) -> Result<KeyedRow, tokio_postgres::Error> {
    Ok((row.try_get(0)?, Bytes::from(row.try_get::<_, Vec<u8>>(1)?)))
}

impl Backend for PostgresBackend {
    fn is_partitioned(&self) -> bool {
        true
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn check_owned(&self) -> Result<(), StoreError> {
        self.lease.check()
    }

    fn get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        const ASK: &str = "SELECT * FROM dispatch.index_values($1)";
        self.rows(ASK, &[(&keys, Type::BYTEA_ARRAY)], |row| {
            Ok(row.try_get::<_, Option<Vec<u8>>>(0)?.map(Bytes::from))
        })
    }

    fn page(
        &self,
        range: Range<Vec<u8>>,
        from: RangeEnd,
        limit: usize,
    ) -> Result<Vec<KeyedRow>, StoreError> {
        let statement = match from {
            RangeEnd::First => {
                "SELECT key, value FROM dispatch.index_row WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3"
            }
            RangeEnd::Last => {
                "SELECT key, value FROM dispatch.index_row WHERE key >= $1 AND key < $2 ORDER BY key DESC LIMIT $3"
            }
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let params: [(&(dyn ToSql + Sync), _); 3] =
            [(&range.start, Type::BYTEA), (&range.end, Type::BYTEA), (&limit, Type::INT8)];
        self.rows(statement, &params, keyed)
    }

    fn chunks(&self, from: Cursor, bytes: usize) -> Result<Vec<RawChunk>, StoreError> {
        let (from, bytes) = (as_sql(from), i64::try_from(bytes).unwrap_or(i64::MAX));
        let params: [(&(dyn ToSql + Sync), _); 2] = [(&from, Type::INT8), (&bytes, Type::INT8)];
        self.parts("SELECT first, partition, entries FROM dispatch.chunks($1, $2)", &params)
    }

    fn chunks_with(&self, places: &[EntryPlace]) -> Result<Vec<RawChunk>, StoreError> {
        let partitions: Vec<_> = places.iter().map(|it| i16::from(it.partition.number())).collect();
        let cursors: Vec<_> = places.iter().map(|place| as_sql(place.cursor)).collect();
        let params: [(&(dyn ToSql + Sync), _); 2] =
            [(&partitions, Type::INT2_ARRAY), (&cursors, Type::INT8_ARRAY)];
        self.parts("SELECT first, partition, entries FROM dispatch.parts_with($1, $2)", &params)
    }

    fn commit(&self, writes: Writes, newest: Cursor) -> Result<(), StoreError> {
        let mut last = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        commit_journal(&self.writing, &self.lease, *last, &writes, newest)
    }

    fn scan(&self, show: &mut dyn FnMut(Scanned)) {
        const BYTES: usize = 4 * 1024 * 1024;
        let mut from = Cursor(0);
        loop {
            let chunks = match self.chunks(from, BYTES) {
                Ok(chunks) => chunks,
                Err(error) => return show(Scanned::Unreadable(error)),
            };
            let new: Vec<_> = chunks.into_iter().filter(|chunk| chunk.first >= from).collect();
            let Some(last) = new.last() else { break };
            from = Cursor(last.first.0 + 1);
            new.into_iter().map(Scanned::Chunk).for_each(&mut *show);
        }
        // No kind of key begins so late.
        for row in (self as &dyn Backend).rows(Vec::new()..vec![u8::MAX]) {
            match row {
                Ok((key, _)) if key == CLOCK => {}
                Ok(row) => show(Scanned::Row(row)),
                Err(error) => show(Scanned::Unreadable(error)),
            }
        }
    }

    fn note_clock(&self, note: ClockNote) -> Result<(), StoreError> {
        let mut writes = Writes::default();
        writes.put(CLOCK.to_vec(), &note)?;
        self.commit(writes, Cursor(0))
    }

    fn write_checkpoint(
        &self,
        blocks: &mut dyn Iterator<Item = Result<Vec<u8>, StoreError>>,
    ) -> Result<(), StoreError> {
        checkpoint::write(self, blocks)
    }

    fn checkpoint(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        Box::new(checkpoint::blocks(self))
    }

    /// What the database has room for is not known here.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(connection: &str) -> Option<String> {
        let (connection, name) = (connection.to_owned(), String::new());
        let options = PostgresOptions { connection, connections: 8, name };
        options.config().err().map(|error| error.to_string())
    }

    #[test]
    fn nothing_goes_in_clear_to_another_machine_unasked() {
        for connection in [
            "host=/run/postgresql dbname=x",
            "host=localhost user=a",
            "postgres://a@127.0.0.1/x",
            "host=::1",
            "host=db user=a sslmode=disable",
        ] {
            assert_eq!(problem(connection), None, "{connection}");
        }
        for connection in ["host=db user=a", "host=localhost,db", "postgres://a@10.0.0.1/x"] {
            assert!(problem(connection).unwrap().contains("sslmode=disable"), "{connection}");
        }
        assert!(problem("host=db sslmode=require").unwrap().contains("not spoken yet"));
        assert!(problem("user=a").unwrap().contains("names no host"));
    }

    #[test]
    fn no_part_of_a_password_is_in_an_error() {
        let told = problem("host=db password=one two=three").unwrap();
        assert!(told.contains("cannot be read") && !told.contains("two") && !told.contains("one "));
    }
}
