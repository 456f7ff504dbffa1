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
    /// Waits until nobody holds a lease, and takes it; `None` if it is given up before that.
    ///
    /// # Errors
    /// If the database refuses it.
    pub(super) fn acquire(
        database: &Arc<Database>,
        name: &str,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Option<Lease>, StoreError> {
        let mut told = None;
        let token = loop {
            // A try that comes late takes nothing from whoever asked last.
            let token = Uuid::new_v4();
            let waits_for = match ask_for(database, token, name) {
                Ok(None) => break token,
                Ok(Some(holder)) => holder,
                // Perhaps the whole database is moving: that is when somebody who waits is needed.
                Err(Unanswered::Unknown(why)) => format!("the database: {why}"),
                Err(Unanswered::Fenced) => return Err(database.failed("it is another process's")),
                Err(Unanswered::Refused(why)) => return Err(database.failed(&why)),
            };
            if told.as_ref() != Some(&waits_for) {
                tracing::info!(%waits_for, database = database.place(), "waiting for the lease, and serving nothing");
                told = Some(waits_for);
            }
            if is_given_up() {
                return Ok(None);
            }
            thread::sleep(ASK_EVERY);
        };
        let is_lost = Arc::new(AtomicBool::new(false));
        let (end, ended) = mpsc::channel();
        let (asked, lost) = (Arc::clone(database), Arc::clone(&is_lost));
        let renewing = thread::Builder::new()
            .name("dispatch-lease".to_owned())
            .spawn(move || renew(&asked, token, &lost, &ended))
            .map_err(|error| StoreError::Io(format!("cannot start a thread: {error}")))?;
        let database = Arc::clone(database);
        Ok(Some(Lease { database, token, is_lost, end: Some(end), renewing: Some(renewing) }))
    }

    /// By what this process is known.
    pub(super) fn token(&self) -> Uuid {
        self.token
    }

    /// Notes that nothing may be written any more, for this reason.
    pub(super) fn fail(&self, why: StoreError) -> StoreError {
        self.is_lost.store(true, Ordering::Release);
        why
    }

    /// Why nothing may be written any more.
    pub(super) fn superseded(&self) -> StoreError {
        self.database.failed("another process has taken over; this one writes nothing any more")
    }

    /// # Errors
    /// If it is known to be gone.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.is_lost.load(Ordering::Acquire) {
            true => Err(self.database.failed(
                "another process has taken over, or an earlier write failed; this one writes nothing any more",
            )),
            false => Ok(()),
        }
    }
}

/// Who holds the lease; `None` if this process does now.
fn ask_for(database: &Database, token: Uuid, name: &str) -> Result<Option<String>, Unanswered> {
    const ASK: &str = "SELECT dispatch.acquire($1, $2, make_interval(secs => $3))";
    let lease = LEASE.as_secs_f64();
    database.once(async |client| {
        let params =
            [(&token as _, Type::UUID), (&name as _, Type::TEXT), (&lease as _, Type::FLOAT8)];
        let rows = client.query_typed(ASK, &params).await?;
        rows.first().map_or(Ok(None), |row| row.try_get(0))
    })
}

/// Renews until it is told to end, or the lease is gone.
fn renew(database: &Database, token: Uuid, is_lost: &AtomicBool, ended: &mpsc::Receiver<()>) {
    const RENEW: &str = "UPDATE dispatch.node SET lease_until = clock_timestamp() + make_interval(secs => $2) \
                         WHERE token = $1 AND EXISTS (SELECT FROM dispatch.partition WHERE owner = $1)";
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
