//! A checkpoint in rows. One that is being written stands beside the last one until it is whole.

use tokio_postgres::types::{ToSql, Type};

use super::PostgresBackend;
use crate::store::StoreError;

/// So many blocks are read at once.
const BLOCKS: i64 = 16;

type Params<'a, const N: usize> = [(&'a (dyn ToSql + Sync), Type); N];

/// Puts a checkpoint in place of the last, which stays if anything fails.
pub(super) fn write(
    backend: &PostgresBackend,
    blocks: &mut dyn Iterator<Item = Result<Vec<u8>, StoreError>>,
) -> Result<(), StoreError> {
    // No two owners ever write the same one.
    const BEGIN: &str = "WITH torn AS (DELETE FROM dispatch.checkpoint \
                             WHERE generation NOT IN (SELECT generation FROM dispatch.current_checkpoint)) \
                         SELECT greatest(p.epoch << 32, 1 + coalesce((SELECT max(generation) FROM dispatch.checkpoint), 0)) \
                         FROM dispatch.partition p WHERE p.number = 0 AND p.owner = $1";
    const PUT: &str = "INSERT INTO dispatch.checkpoint VALUES ($1, $2, $3) ON CONFLICT (generation, number) DO NOTHING";
    const END: &str = "INSERT INTO dispatch.current_checkpoint (generation) \
                       SELECT $1 FROM dispatch.partition WHERE number = 0 AND owner = $2 \
                       ON CONFLICT (one) DO UPDATE SET generation = excluded.generation";
    const CLEAR: &str = "DELETE FROM dispatch.checkpoint WHERE generation < (SELECT generation FROM dispatch.current_checkpoint)";
    backend.lease.check()?;
    let token = backend.lease.token();
    let begun = backend.rows(BEGIN, &[(&token, Type::UUID)], |row| row.try_get::<_, i64>(0))?;
    let generation = *begun.first().ok_or_else(|| backend.lease.superseded())?;
    for (number, block) in (0_i32..).zip(blocks) {
        let block = block?;
        let params: Params<'_, 3> =
            [(&generation, Type::INT8), (&number, Type::INT4), (&block, Type::BYTEA)];
        backend.rows(PUT, &params, |_| Ok(()))?;
    }
    // Not of a process that has lost what it writes of.
    let params: Params<'_, 2> = [(&generation, Type::INT8), (&token, Type::UUID)];
    backend.rows(END, &params, |_| Ok(()))?;
    backend.rows(CLEAR, &[], |_| Ok(())).map(drop)
}

/// The blocks of the last checkpoint, fewer where it is torn or they cannot be read: it is only a shortcut.
pub(super) fn blocks(backend: &PostgresBackend) -> impl Iterator<Item = Vec<u8>> + '_ {
    const ASK: &str = "SELECT block FROM dispatch.checkpoint \
                       WHERE generation = (SELECT generation FROM dispatch.current_checkpoint) AND number >= $1 \
                       ORDER BY number LIMIT $2";
    let (mut next, mut some) = (0_i32, Vec::new().into_iter());
    std::iter::from_fn(move || {
        if some.len() == 0 {
            let params: Params<'_, 2> = [(&next, Type::INT4), (&BLOCKS, Type::INT8)];
            let read =
                backend.rows(ASK, &params, |row| row.try_get::<_, Vec<u8>>(0)).unwrap_or_default();
            next += read.len() as i32;
            some = read.into_iter();
        }
        some.next()
    })
}
