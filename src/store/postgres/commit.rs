//! A commit: one statement, fenced, and done once whatever becomes of its answer.
//!
//! A connection that breaks leaves open whether the statement was done, and even whether it will be. So each commit has
//! the number behind the one before it, which the rows of the partitions that it touches note: what is tried again under the
//! same number is done once, a late doubled statement is refused by the database, and so is the next one of a database that
//! has lost the one before. Whoever is in doubt asks what the rows note; that waits for a statement that is being done.
//! After a commit whose end is not known nothing is written any more.

use std::{collections::BTreeMap, time::Duration};

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{
    database::{Database, Tries, Unanswered},
    lease::Lease,
};
use crate::store::{Cursor, StoreError, backend::Writes};

/// How long a commit is tried while the database is away. Nobody else can be active meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// What belongs to no partition has the fence of this one.
pub(super) const BESIDE: i16 = 16;

/// A statement with a fence: its first parameters are the process's token, the partitions that it touches, and its
/// number.
pub(super) struct Fenced<'a> {
    pub(super) statement: &'static str,
    pub(super) touched: &'a [i16],
    pub(super) number: i64,
    /// What stands behind those.
    pub(super) rest: &'a [(&'a (dyn ToSql + Sync), Type)],
}

/// What is in doubt.
enum Doubt {
    Done,
    NotDone,
    /// Another process owns it.
    TakenOver,
    /// The database does not know what it acknowledged: it was put back, or a replica took its place that lacked it.
    Forgotten,
}

/// Does a statement once.
///
/// # Errors
/// If another process owns what it touches, or the database refuses it or is away for too long: then nothing more may
/// be written.
pub(super) fn commit(
    database: &Database,
    lease: &Lease,
    fenced: &Fenced<'_>,
) -> Result<(), StoreError> {
    lease.check()?;
    let done = try_commit(database, lease, fenced);
    // Nobody knows what becomes of it: nothing may follow.
    done.map_err(|error| lease.fail(error))
}

fn try_commit(database: &Database, lease: &Lease, fenced: &Fenced<'_>) -> Result<(), StoreError> {
    let mut tries = Tries::until(PATIENCE);
    let token = lease.token();
    loop {
        let done = database.once(async |client| {
            let own = [
                (&token as &(dyn ToSql + Sync), Type::UUID),
                (&fenced.touched, Type::INT2_ARRAY),
                (&fenced.number, Type::INT8),
            ];
            let params: Vec<_> = own.into_iter().chain(fenced.rest.iter().cloned()).collect();
            client.query_typed(fenced.statement, &params).await.map(drop)
        });
        let why = match done {
            Ok(()) => return Ok(()),
            Err(Unanswered::Refused(why)) => return Err(database.failed(&why)),
            Err(Unanswered::Fenced) => "it is not the next one there".to_owned(),
            Err(Unanswered::Unknown(why)) => why,
        };
        match doubt(database, lease, fenced) {
            Ok(Doubt::Done) => return Ok(()),
            Ok(Doubt::TakenOver) => return Err(lease.superseded()),
            Ok(Doubt::Forgotten) => {
                return Err(database.failed(
                    "it has lost what it acknowledged: it was put back, or a replica that lacked it took its place. \
                     This process ends, and the next start goes on with what there is",
                ));
            }
            Ok(Doubt::NotDone) => {
                tracing::warn!(database = database.place(), %why, "a commit is tried again");
            }
            Err(_) => {}
        }
        if tries.are_over() {
            return Err(database.failed(&why));
        }
        tries.rest();
    }
}

/// Whether a statement was done. Waits for one that is being done.
fn doubt(database: &Database, lease: &Lease, fenced: &Fenced<'_>) -> Result<Doubt, Unanswered> {
    const LOCK: &str =
        "SELECT owner FROM dispatch.partition WHERE number = ANY ($1) ORDER BY number FOR UPDATE";
    // Not what the partitions note that are touched: those were perhaps touched last by an earlier one.
    const LAST: &str =
        "SELECT max(last_commit) FROM dispatch.partition WHERE (number = 16) = (16 = ANY ($1))";
    let (owners, last) = database.once(async |client| {
        let touched = [(&fenced.touched as &(dyn ToSql + Sync), Type::INT2_ARRAY)];
        let rows = client.query_typed(LOCK, &touched).await?;
        let owners = rows.iter().map(|row| row.try_get::<_, Option<Uuid>>(0));
        let owners = owners.collect::<Result<Vec<_>, _>>()?;
        let rows = client.query_typed(LAST, &touched).await?;
        let last = rows.first().map_or(Ok(None), |row| row.try_get::<_, Option<i64>>(0))?;
        Ok((owners, last))
    })?;
    if owners.len() != fenced.touched.len() || owners.iter().any(|it| *it != Some(lease.token())) {
        return Ok(Doubt::TakenOver);
    }
    Ok(match last {
        Some(last) if last == fenced.number => Doubt::Done,
        Some(last) if last == fenced.number - 1 => Doubt::NotDone,
        Some(_) | None => Doubt::Forgotten,
    })
}

/// The journal's commit.
pub(super) fn commit_journal(
    database: &Database,
    lease: &Lease,
    number: i64,
    writes: &Writes,
    newest: Cursor,
) -> Result<(), StoreError> {
    let (mut firsts, mut partitions, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in &writes.chunks {
        for part in &chunk.parts {
            firsts.push(as_sql(chunk.first));
            partitions.push(part.partition.map_or(0, |partition| i16::from(partition.number())));
            chunks.push(&part.bytes[..]);
        }
    }
    let mut touched = partitions.clone();
    touched.sort_unstable();
    touched.dedup();
    if touched.is_empty() {
        // What leads to the journal is of all partitions; one stands for them.
        touched.push(0);
    }
    // The last of a key holds: one statement changes no row twice.
    let rows = writes.rows.iter().map(|(key, value)| (&key[..], value.as_deref()));
    let rows: BTreeMap<_, _> = rows.collect();
    let (keys, values): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let trim_to = writes.trim_to.map(as_sql);
    let newest = as_sql(newest);
    commit(
        database,
        lease,
        &Fenced {
            statement: "SELECT dispatch.commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            touched: &touched,
            number,
            rest: &[
                (&newest, Type::INT8),
                (&firsts, Type::INT8_ARRAY),
                (&partitions, Type::INT2_ARRAY),
                (&chunks, Type::BYTEA_ARRAY),
                (&keys, Type::BYTEA_ARRAY),
                (&values, Type::BYTEA_ARRAY),
                (&trim_to, Type::INT8),
            ],
        },
    )
}

/// A cursor as the database has it. No journal comes near what it cannot have.
pub(super) fn as_sql(cursor: Cursor) -> i64 {
    i64::try_from(cursor.0).unwrap_or(i64::MAX)
}
