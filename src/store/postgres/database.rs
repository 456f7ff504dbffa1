//! Connections to the database, and what becomes of a question when one breaks.
//!
//! Who asks blocks: the engine's writer and the readers have threads for that. Each question is one round trip, in
//! one transaction, over any connection; nothing is prepared, so that a pooler may stand in between.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::{runtime, task, time};
use tokio_postgres::{Client, Config, Error, NoTls, error::SqlState};

use super::PostgresOptions;
use crate::store::StoreError;

/// How long one try may take, and how long a connection.
const TRY: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(3);
/// How long a read is tried while the database is away.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// The rest before each further try, at least and at most.
const REST: Duration = Duration::from_millis(20);
const MOST_REST: Duration = Duration::from_millis(500);

/// A fence refused it: another process owns what it was about.
pub(super) const FENCED: &str = "DF001";

/// The database, for threads that may block.
pub(super) struct Database {
    pool: Pool,
    /// Drives the connections. `None` once it is dropped.
    runtime: Option<runtime::Runtime>,
    /// How the database is called in errors: no password in it.
    place: String,
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
    /// Of the database that the options name. Nothing is asked yet.
    pub(super) fn new(options: &PostgresOptions) -> Result<Database, StoreError> {
        let mut config = options.config()?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("dispatch");
        }
        config.tcp_user_timeout(2 * TRY);
        let place = place(&config);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, recycling))
            .max_size(options.connections)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Database(error.to_string()))?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dispatch-postgres")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Io(format!("cannot start a thread: {error}")))?;
        Ok(Database { pool, runtime: Some(runtime), place })
    }

    /// Asks once.
    pub(super) fn once<T>(
        &self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Unanswered> {
        self.wait(async {
            let got = time::timeout(TRY, self.pool.get()).await;
            let client = match got {
                Ok(Ok(client)) => client,
                Ok(Err(error)) => return Err(Unanswered::Unknown(whole(&error))),
                Err(_) => {
                    return Err(Unanswered::Unknown("no connection was free in time".to_owned()));
                }
            };
            match time::timeout(TRY, ask(&client)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(Unanswered::of(&error)),
                Err(_) => {
                    // What it still does is of no use to anybody.
                    drop(Object::take(client));
                    Err(Unanswered::Unknown("the database did not answer in time".to_owned()))
                }
            }
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
        match &self.runtime {
            Some(runtime) => task::block_in_place(|| runtime.block_on(work)),
            None => Err(Unanswered::Refused("it is closed".to_owned())),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Whoever drops it may be a runtime's thread, which may not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Unanswered {
    fn of(error: &Error) -> Unanswered {
        let Some(state) = error.code() else {
            return Unanswered::Unknown(whole(error));
        };
        if state.code() == FENCED {
            return Unanswered::Fenced;
        }
        let again = [
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
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
        std::thread::sleep(self.rest);
        self.rest = (self.rest * 2).min(MOST_REST);
    }
}

/// An error with what it comes from.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
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
