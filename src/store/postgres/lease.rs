//! Who owns what: a process owns all partitions or none, for as long as its lease lasts.
//!
//! The lease is judged by the database's clock alone. A thread renews it; who finds it gone never writes again, and
//! whoever takes over deletes what it was renewed by. Whatever a process believes, each of its writes is
//! [fenced](super::commit).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::database::{Database, Unanswered};
use crate::store::StoreError;

/// How long a lease lasts, and how often it is renewed.
const LEASE: Duration = Duration::from_secs(5);
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How often somebody who waits for one asks.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// The lease of a process. Dropped, it is given back.
pub(super) struct Lease {
    database: Arc<Database>,
    token: Uuid,
    is_lost: Arc<AtomicBool>,
    /// Dropped, the thread that renews it ends.
    end: Option<mpsc::Sender<()>>,
    renewing: Option<JoinHandle<()>>,
}

impl Lease {
    /// Waits until nobody holds a lease, and takes it.
    ///
    /// # Errors
    /// If the database refuses it, or is away for too long, or it is given up.
    pub(super) fn acquire(
        database: &Arc<Database>,
        name: &str,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Lease, StoreError> {
        let token = Uuid::new_v4();
        let mut told = None;
        while let Some(holder) = ask_for(database, token, name)? {
            if told.as_ref() != Some(&holder) {
                tracing::info!(%holder, database = database.place(), "another process is active; waiting for its lease");
                told = Some(holder);
            }
            if is_given_up() {
                return Err(database.failed("another process is active, and nobody waits any more"));
            }
            thread::sleep(ASK_EVERY);
        }
        let is_lost = Arc::new(AtomicBool::new(false));
        let (end, ended) = mpsc::channel();
        let (asked, lost) = (Arc::clone(database), Arc::clone(&is_lost));
        let renewing = thread::Builder::new()
            .name("dispatch-lease".to_owned())
            .spawn(move || renew(&asked, token, &lost, &ended))
            .map_err(|error| StoreError::Io(format!("cannot start a thread: {error}")))?;
        let database = Arc::clone(database);
        Ok(Lease { database, token, is_lost, end: Some(end), renewing: Some(renewing) })
    }

    /// By what this process is known.
    pub(super) fn token(&self) -> Uuid {
        self.token
    }

    /// Says that it is known to be gone.
    pub(super) fn lose(&self) -> StoreError {
        self.is_lost.store(true, Ordering::Release);
        superseded(&self.database)
    }

    /// # Errors
    /// If it is known to be gone.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.is_lost.load(Ordering::Acquire) {
            true => Err(superseded(&self.database)),
            false => Ok(()),
        }
    }
}

fn superseded(database: &Database) -> StoreError {
    database.failed("another process has taken over; this one writes nothing any more")
}

/// Who holds the lease; `None` if this process does now.
fn ask_for(database: &Database, token: Uuid, name: &str) -> Result<Option<String>, StoreError> {
    const ASK: &str = "SELECT dispatch.acquire($1, $2, make_interval(secs => $3))";
    let lease = LEASE.as_secs_f64();
    database.read(async |client| {
        let params =
            [(&token as _, Type::UUID), (&name as _, Type::TEXT), (&lease as _, Type::FLOAT8)];
        let rows = client.query_typed(ASK, &params).await?;
        rows.first().map_or(Ok(None), |row| row.try_get(0))
    })
}

/// Renews until it is told to end, or the lease is gone.
fn renew(database: &Database, token: Uuid, is_lost: &AtomicBool, ended: &mpsc::Receiver<()>) {
    const RENEW: &str = "UPDATE dispatch.node SET lease_until = clock_timestamp() + make_interval(secs => $2) \
                         WHERE token = $1";
    let lease = LEASE.as_secs_f64();
    while ended.recv_timeout(RENEW_EVERY) == Err(RecvTimeoutError::Timeout) {
        let renewed = database.once(async |client| {
            client.execute_typed(RENEW, &[(&token, Type::UUID), (&lease, Type::FLOAT8)]).await
        });
        match renewed {
            Ok(0) => {
                is_lost.store(true, Ordering::Release);
                tracing::error!(
                    database = database.place(),
                    "the lease is gone: another process has taken over"
                );
                return;
            }
            Ok(_) => {}
            Err(Unanswered::Fenced) => {}
            Err(Unanswered::Unknown(why) | Unanswered::Refused(why)) => {
                tracing::warn!(database = database.place(), %why, "the lease could not be renewed");
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(renewing) = self.renewing.take() {
            // It panics nowhere; if it did, its panic was told.
            let _ = renewing.join();
        }
        // Whoever waits need not wait longer. If it cannot be given back, it ends by itself.
        const GIVE_BACK: &str = "DELETE FROM dispatch.node WHERE token = $1";
        if !thread::panicking() && !self.is_lost.load(Ordering::Acquire) {
            let given = self.database.once(async |client| {
                client.execute_typed(GIVE_BACK, &[(&self.token, Type::UUID)]).await
            });
            if given.is_err() {
                tracing::debug!(database = self.database.place(), "the lease ends by itself");
            }
        }
    }
}
