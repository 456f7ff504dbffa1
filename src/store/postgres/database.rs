//! Connections to the database, and what becomes of a question when one breaks.
//!
//! Who asks blocks: the engine's writer and the readers have threads for that. Each question is one round trip, in
//! one transaction, over any connection; nothing is prepared, so that a pooler may stand in between.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use tokio::{runtime, task, time};
use tokio_postgres::{Client, Config, Error, NoTls, config::TargetSessionAttrs, error::SqlState};

use super::PostgresOptions;
use crate::store::StoreError;

/// How long one try may take, and how long a connection.
const TRY: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(3);
/// The same of a renewal: several fit into a lease.
const RENEWAL_TRY: Duration = Duration::from_millis(1200);
/// How long a read is tried while the database is away.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// The rest before each further try, at least and at most.
const REST: Duration = Duration::from_millis(20);
const MOST_REST: Duration = Duration::from_millis(500);
/// How many connections the writer and what is kept beside workflows have for themselves, and the lease.
const WRITING: usize = 2;
const RENEWING: usize = 1;

/// A fence refused it: another process owns what it was about, or it is not the next commit there.
const FENCED: [&str; 2] = ["DF001", "DF002"];

/// Some connections to the database, for threads that may block.
pub(super) struct Database {
    pool: Pool,
    runtime: Arc<OwnRuntime>,
    /// How long a try may take.
    limit: Duration,
    /// How the database is called in errors: no password in it.
    place: String,
}

/// Drives the connections, on a thread of its own. `None` once it is dropped.
struct OwnRuntime(Option<runtime::Runtime>);

/// The connections, apart by what they are for: whoever reads much keeps nobody from writing, nor the lease from being
/// renewed.
pub(super) struct Connections {
    pub(super) reading: Arc<Database>,
    pub(super) writing: Arc<Database>,
    pub(super) renewing: Arc<Database>,
}

impl Connections {
    /// How few are too few.
    pub(super) const FEWEST: usize = 1 + WRITING + RENEWING;

    /// To the database that the options name. Nothing is asked yet.
    pub(super) fn new(options: &PostgresOptions) -> Result<Connections, StoreError> {
        let mut config = options.config()?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("dispatch");
        }
        if config.get_hosts().len() > 1 {
            // One of them is a replica, and may become the other.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config.tcp_user_timeout(2 * TRY);
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dispatch-postgres")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Io(format!("cannot start a thread: {error}")))?;
        let runtime = Arc::new(OwnRuntime(Some(runtime)));
        let some = |count: usize, limit: Duration| {
            let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
            let manager = Manager::from_config(config.clone(), NoTls, recycling);
            let pool = Pool::builder(manager).max_size(count).runtime(Runtime::Tokio1).build();
            let pool = pool.map_err(|error| StoreError::Database(error.to_string()))?;
            let (runtime, place) = (Arc::clone(&runtime), place(&config));
            Ok::<_, StoreError>(Arc::new(Database { pool, runtime, limit, place }))
        };
        Ok(Connections {
            reading: some(options.connections.saturating_sub(WRITING + RENEWING).max(1), TRY)?,
            writing: some(WRITING, TRY)?,
            renewing: some(RENEWING, RENEWAL_TRY)?,
        })
    }
}

/// Why a question was not answered.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Another process owns what was to be changed, or it was changed so before.
    Fenced,
    /// Nobody knows whether it was done: the connection broke, or nothing was heard in time.
    Unknown(String),
    /// The database refused it, and will again.
    Refused(String),
}

impl Database {
    /// Asks once.
    pub(super) fn once<T>(
        &self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Unanswered> {
        self.wait(async {
            let got = time::timeout(self.limit, self.pool.get()).await;
            let client = match got {
                Ok(Ok(client)) => client,
                Ok(Err(error)) => return Err(Unanswered::of_pool(&error)),
                Err(_) => {
                    return Err(Unanswered::Unknown("no connection was free in time".to_owned()));
                }
            };
            let (why, is_late) = match time::timeout(self.limit, ask(&client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
                    (whole(&error), false)
                }
                Ok(Err(error)) => return Err(Unanswered::of(&error)),
                Err(_) => ("the database did not answer in time".to_owned(), true),
            };
            // Nobody waits for it, and the next try is on another connection.
            let client = Object::take(client);
            if is_late {
                let _ = time::timeout(self.limit, client.cancel_token().cancel_query(NoTls)).await;
            }
            Err(Unanswered::Unknown(why))
        })
    }

    /// Asks what may be asked again, for as long as somebody waits for it.
    ///
    /// # Errors
    /// If the database refuses it, or is away for too long.
    pub(super) fn read<T>(
        &self,
        ask: impl AsyncFn(&Client) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let mut tries = Tries::until(READ_PATIENCE);
        loop {
            match self.once(async |client| ask(client).await) {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Fenced) => return Err(self.failed("it is another process's")),
                Err(Unanswered::Refused(why)) => return Err(self.failed(&why)),
                Err(Unanswered::Unknown(why)) if tries.are_over() => return Err(self.failed(&why)),
                Err(Unanswered::Unknown(_)) => tries.rest(),
            }
        }
    }

    /// An error that says where it was.
    pub(super) fn failed(&self, why: &str) -> StoreError {
        StoreError::Database(format!("{}: {why}", self.place))
    }

    /// How the database is called: no password in it.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Waits on a thread that may be one of a runtime's.
    fn wait<T>(&self, work: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Unanswered> {
        match &self.runtime.0 {
            Some(runtime) => task::block_in_place(|| runtime.block_on(work)),
            None => Err(Unanswered::Refused("it is closed".to_owned())),
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // Whoever drops it may be a runtime's thread, which may not wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Unanswered {
    fn of_pool(error: &PoolError) -> Unanswered {
        match error {
            PoolError::Backend(error) => Unanswered::of(error),
            error => Unanswered::Unknown(error.to_string()),
        }
    }

    fn of(error: &Error) -> Unanswered {
        let Some(state) = error.code() else {
            return Unanswered::Unknown(whole(error));
        };
        if FENCED.contains(&state.code()) {
            return Unanswered::Fenced;
        }
        let again = [
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ];
        // 08: the connection; 53: out of memory, disk or connections; 57: ended by an operator; 58: its system failed.
        let class = state.code().get(..2).unwrap_or_default();
        if again.contains(state) || ["08", "53", "57", "58"].contains(&class) {
            Unanswered::Unknown(whole(error))
        } else {
            Unanswered::Refused(whole(error))
        }
    }
}

/// Tries with rests between them, for so long.
pub(super) struct Tries {
    until: Instant,
    rest: Duration,
}

impl Tries {
    pub(super) fn until(patience: Duration) -> Tries {
        Tries { until: Instant::now() + patience, rest: REST }
    }

    pub(super) fn are_over(&self) -> bool {
        Instant::now() >= self.until
    }

    pub(super) fn rest(&mut self) {
        task::block_in_place(|| std::thread::sleep(self.rest));
        self.rest = (self.rest * 2).min(MOST_REST);
    }
}

/// An error with what it comes from. Of the database's own no more than the message: its details may name what is kept.
fn whole(error: &Error) -> String {
    if let Some(told) = error.as_db_error() {
        return format!("{} ({})", told.message(), told.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The hosts and the name of a database.
fn place(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    });
    let hosts: Vec<_> = hosts.collect();
    let name = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("database {name:?} at {}", hosts.join(", "))
}
