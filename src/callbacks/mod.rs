//! Callbacks: applications are notified of what becomes of the workflows that they asked for.
//!
//! A *journal follower* reads the journal and makes a callback of each fact that means one: a message's
//! status, or the one final report; an *inbound follower* makes one of each message that a person writes to a sender. A
//! *delivery worker* delivers them.
//!
//! The contract:
//!
//! - Each is delivered at least once, under an id that stays the same. A repeat happens after a crash,
//!   or when an answer was lost.
//! - In order within a workflow: the next one only after the one before was delivered or dead-lettered.
//! - One that is not accepted is retried with backoff for a day, and is then *dead-lettered*: kept, and
//!   resent on demand.
//! - Nothing waits for a receiver: neither the engine, which does not know of this room, nor the
//!   callbacks of others.
//!
//! What it deliberately does not do: it notifies of nothing before it is durable, keeps no body, and does
//! not look into answers.

mod attempt;
mod callback_store;
mod client;
mod context;
mod delivery;
mod follower;
mod handoff;
mod inbound_follower;
mod notification;
mod options;
mod queries;
mod render;
mod row;
mod schedule;
mod signing;
mod stepped;
mod target;
mod usage;
mod wake;
mod worker;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use client::CallbackClientUnavailable;
pub use context::CallbackContext;
pub use options::{CallbackOptions, SigningSecretOf};
pub use queries::{CallbackFilter, CallbackPage, CallbackQueries};
pub use row::{Callback, CallbackId, DeliveryFailure, DeliveryState, InvalidCallbackId, Subject};
pub use stepped::SteppedCallbacks;

use crate::{current::Current, store::StoreError};
use callback_store::CallbackStore;
use client::CallbackClient;
use follower::JournalFollower;
use handoff::HandoffBuffer;
use inbound_follower::InboundFollower;
use wake::WakeSignal;
use worker::DeliveryWorker;

/// How long a stop waits for the tasks.
const STOP: Duration = Duration::from_secs(4);

/// The callbacks of a running service.
pub struct Callbacks {
    store: Arc<CallbackStore>,
    client: Arc<Current<CallbackClient>>,
    follower_wake: Arc<WakeSignal>,
    inbound_wake: Arc<WakeSignal>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Options that are ready to be [applied](Callbacks::apply): all that can fail has been done.
pub struct PreparedOptions {
    options: CallbackOptions,
    client: CallbackClient,
}

/// Why callbacks did not start.
#[derive(Debug)]
pub enum CallbackStartError {
    /// The store failed.
    Store(StoreError),
    /// There is no HTTP client.
    Client(CallbackClientUnavailable),
}

impl Callbacks {
    /// Takes up what the last life of the store left, and follows the journal from there.
    ///
    /// Must be called on a tokio runtime.
    ///
    /// # Errors
    /// If the store failed, or TLS cannot be set up.
    pub async fn start(
        context: CallbackContext,
        options: CallbackOptions,
    ) -> Result<Callbacks, CallbackStartError> {
        // Until all of it is read, a test clock stands still.
        let _busy = context.clock.busy();
        let client = CallbackClient::new(Arc::clone(&options.destinations), options.timeout);
        let client = Arc::new(Current::new(client.map_err(CallbackStartError::Client)?));
        let (clock, feed) = (Arc::clone(&context.clock), Arc::clone(&context.feed));
        let inbound = Arc::clone(&context.inbound);
        let opening = tokio::task::spawn_blocking(move || {
            let store = Arc::new(CallbackStore::open(context, options)?);
            let handoff = Arc::new(HandoffBuffer::new());
            if store.context.is_read_only {
                // Only shown: nothing is made, sent or saved.
                return Ok((store, None, handoff));
            }
            let follower = JournalFollower::new(Arc::clone(&store), Arc::clone(&handoff))?;
            let inbound = InboundFollower::new(Arc::clone(&store))?;
            Ok((store, Some((follower, inbound)), handoff))
        });
        let (store, followers, handoff) = match opening.await {
            Ok(result) => result.map_err(CallbackStartError::Store)?,
            Err(_) => {
                let broken = "reading the callbacks was broken off".to_owned();
                return Err(CallbackStartError::Store(StoreError::Io(broken)));
            }
        };
        let follower_wake = Arc::new(WakeSignal::new(Arc::clone(&clock)));
        let inbound_wake = Arc::new(WakeSignal::new(clock));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let Some((follower, inbound_follower)) = followers else {
            return Ok(Callbacks { store, client, follower_wake, inbound_wake, stop, tasks });
        };
        let wake = Arc::clone(&follower_wake);
        feed.on_commit(Box::new(move |rows, with_receiver| {
            handoff.push(rows, with_receiver);
            wake.notify();
        }));
        let wake = Arc::clone(&inbound_wake);
        inbound.on_kept(Box::new(move || wake.notify()));
        store.delivery_wake.notify();

        let (wake, stopped) = (Arc::clone(&inbound_wake), stop.clone());
        tasks.spawn(async move {
            inbound_follower.run(Arc::clone(&wake), stopped).await;
            wake.close();
        });
        let (wake, stopped) = (Arc::clone(&follower_wake), stop.clone());
        tasks.spawn(async move {
            follower.run(Arc::clone(&wake), stopped).await;
            wake.close();
        });
        let worker = DeliveryWorker {
            store: Arc::clone(&store),
            client: Arc::clone(&client),
            in_flight: HashMap::new(),
            attempts: JoinSet::new(),
        };
        let (woken, stopped) = (Arc::clone(&store), stop.clone());
        tasks.spawn(async move {
            worker.run(stopped).await;
            woken.delivery_wake.close();
        });
        Ok(Callbacks { store, client, follower_wake, inbound_wake, stop, tasks })
    }

    /// Prepares other options, and changes nothing yet.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn prepare(
        &self,
        options: CallbackOptions,
    ) -> Result<PreparedOptions, CallbackClientUnavailable> {
        let client = CallbackClient::new(Arc::clone(&options.destinations), options.timeout)?;
        Ok(PreparedOptions { options, client })
    }

    /// Applies other options from the next attempt on. Idle connections are dropped: a destination that
    /// is not admitted any more must not be called over one.
    pub fn apply(&self, prepared: PreparedOptions) {
        self.client.set(prepared.client);
        self.store.reload(prepared.options);
    }

    /// The queries that the administrators' edge offers.
    pub fn queries(&self) -> CallbackQueries {
        CallbackQueries::new(Arc::clone(&self.store))
    }

    /// Stops, and gives callbacks in flight a moment to complete.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.follower_wake.close();
        self.inbound_wake.close();
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

impl fmt::Display for CallbackStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallbackStartError::Store(error) => error.fmt(f),
            CallbackStartError::Client(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CallbackStartError {}
