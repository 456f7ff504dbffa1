//! Callbacks: applications are told what becomes of the workflows that they asked for.
//!
//! A *follower* reads the journal and makes a callback of each fact that means one: a message's status,
//! or the one final report. A *courier* delivers them.
//!
//! The contract:
//!
//! - Each is delivered at least once, under an id that stays the same. A repeat happens after a crash,
//!   or when an answer was lost.
//! - In order within a workflow: the next one only after the one before was delivered or given up.
//! - One that is not taken is repeated with backoff for a day, and is then *dead*: kept, and resent on
//!   demand.
//! - Nothing waits for a receiver: neither the engine, which does not know of this room, nor the
//!   callbacks of others.
//!
//! What it deliberately does not do: it tells of nothing before it is durable, keeps no body, and does
//! not look into answers.

mod bell;
mod book;
mod client;
mod courier;
mod delivery;
mod desk;
mod follower;
mod handed;
mod options;
mod render;
mod row;
mod schedule;
mod signing;
mod target;
mod telling;
mod usage;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use client::ClientUnavailable;
pub use desk::{Found, Which};
pub use options::{Options, SecretOf};
pub use row::{Callback, CallbackId, InvalidCallbackId, Problem, State, Subject};

use crate::{current::Current, engine::Engine, store::StoreError};
use bell::Bell;
use book::Book;
use client::CallbackClient;
use courier::Courier;
use follower::Follower;
use handed::Handed;

/// How long a stop waits for the tasks.
const STOP: Duration = Duration::from_secs(4);

/// The callbacks of a running service.
pub struct Callbacks {
    book: Arc<Book>,
    client: Arc<Current<CallbackClient>>,
    bell: Arc<Bell>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Options that are ready to be [taken](Callbacks::take).
pub struct Prepared {
    options: Options,
    client: CallbackClient,
}

/// Lists callbacks and sends them once more. Cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Book>);

/// Why callbacks did not start.
#[derive(Debug)]
pub enum StartError {
    /// The store failed.
    Store(StoreError),
    /// There is no HTTP client.
    Client(ClientUnavailable),
}

impl Callbacks {
    /// Takes up what the last life of the store left, and follows the engine from there.
    ///
    /// Must be called on a tokio runtime.
    ///
    /// # Errors
    /// If the store failed, or TLS cannot be set up.
    pub async fn start(engine: &Engine, options: Options) -> Result<Callbacks, StartError> {
        // Until all of it is read, a test clock stands still.
        let _busy = engine.clock().busy();
        let client = CallbackClient::new(Arc::clone(&options.destinations), options.timeout);
        let client = Arc::new(Current::new(client.map_err(StartError::Client)?));
        let opened = engine.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let book = Arc::new(Book::open(opened, options)?);
            let handed = Arc::new(Handed::new());
            if book.engine.is_read_only() {
                // Only shown: nothing is made, sent or noted.
                return Ok((book, None, handed));
            }
            let follower = Follower::new(Arc::clone(&book), Arc::clone(&handed))?;
            Ok((book, Some(follower), handed))
        });
        let (book, follower, handed) = match opening.await {
            Ok(result) => result.map_err(StartError::Store)?,
            Err(_) => {
                let broken = "reading the callbacks was broken off".to_owned();
                return Err(StartError::Store(StoreError::Io(broken)));
            }
        };
        let bell = Arc::new(Bell::new(Arc::clone(engine.clock())));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let Some(follower) = follower else {
            return Ok(Callbacks { book, client, bell, stop, tasks });
        };
        let rung = Arc::clone(&bell);
        engine.feed().on_commit(Box::new(move |rows, told| {
            handed.over(rows, told);
            rung.ring();
        }));
        book.news.ring();

        let (heard, stopped) = (Arc::clone(&bell), stop.clone());
        tasks.spawn(async move {
            follower.run(Arc::clone(&heard), stopped).await;
            heard.off();
        });
        let courier = Courier {
            book: Arc::clone(&book),
            client: Arc::clone(&client),
            out: HashMap::new(),
            tries: JoinSet::new(),
        };
        let (listening, stopped) = (Arc::clone(&book), stop.clone());
        tasks.spawn(async move {
            courier.run(stopped).await;
            listening.news.off();
        });
        Ok(Callbacks { book, client, bell, stop, tasks })
    }

    /// Readies other options, and changes nothing yet.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn prepare(&self, options: Options) -> Result<Prepared, ClientUnavailable> {
        let client = CallbackClient::new(Arc::clone(&options.destinations), options.timeout)?;
        Ok(Prepared { options, client })
    }

    /// Goes by other options from the next try on. Connections that were kept are kept no longer: a
    /// place that may not be called any more is not called over one.
    pub fn take(&self, prepared: Prepared) {
        self.client.set(prepared.client);
        self.book.reload(prepared.options);
    }

    /// For the edge through which administrators look.
    pub fn desk(&self) -> Desk {
        Desk(Arc::clone(&self.book))
    }

    /// Stops, and gives callbacks that are out a moment to come back.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.bell.off();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callbacks")
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Store(error) => error.fmt(f),
            StartError::Client(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}
