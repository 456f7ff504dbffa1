//! The tables, and how they come to be: numbered migrations, each done once, by whoever comes first.
//!
//! A migration adds; what nobody uses any more goes in one that comes a version later. So the program of before and
//! the one of now work on the same tables, and a database that a newer program has migrated is used by this one.

use tokio_postgres::{Client, Error, types::Type};

use super::database::{Database, Unanswered};
use crate::store::StoreError;

/// In their order; the first is number 1.
const MIGRATIONS: [&str; 1] = [include_str!("schema/0001.sql")];

/// Held while tables are changed, so that two processes that start at once do not both change them. Any number that
/// nobody else uses.
const LOCK: i64 = 0x6469_7370_6174_6368;

const NOTES: &str = "
CREATE SCHEMA IF NOT EXISTS dispatch;
CREATE TABLE IF NOT EXISTS dispatch.migration (
    number integer PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
)";

/// Brings the tables to where this program needs them.
///
/// # Errors
/// If the database is away, or refuses it.
pub(super) fn migrate(database: &Database) -> Result<(), StoreError> {
    let done = database.once(async |client| {
        client
            .batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK}); {NOTES}"))
            .await?;
        let done = missing(client).await;
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        client.batch_execute(end).await?;
        done
    });
    done.map_err(|why| match why {
        Unanswered::Fenced => database.failed("its tables are another process's"),
        Unanswered::Unknown(why) | Unanswered::Refused(why) => {
            database.failed(&format!("its tables could not be made: {why}"))
        }
    })
}

async fn missing(client: &Client) -> Result<(), Error> {
    let newest = "SELECT coalesce(max(number), 0) FROM dispatch.migration";
    let rows = client.query_typed(newest, &[]).await?;
    let newest: i32 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    for (number, migration) in (1..).zip(MIGRATIONS).filter(|(number, _)| *number > newest) {
        client.batch_execute(migration).await?;
        let note = "INSERT INTO dispatch.migration (number) VALUES ($1)";
        client.execute_typed(note, &[(&number, Type::INT4)]).await?;
        tracing::info!(number, "the database's tables were changed");
    }
    Ok(())
}
