//! What the edges hold of the engine.

mod creates;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use dispatch_contract::Busy;
use tokio::sync::{oneshot, watch};

use super::{
    Canceled, Command, EngineClock, EngineError, EngineOptions, Feed, InboundMessages,
    InboundOptions, Inbox, NotTaken, OptOuts, ResumePolicy, RouteTable, Senders, Writer,
    dispatch::Dispatcher, erasure::Erasing,
};
use crate::{
    contents::{Contents, ContentsKeeper, DayKeys, Family, Unopened},
    current::Current,
    machine::{PolicySnapshot, WorkflowId},
    store::{Reader, Record, Settings, Store, StoreError},
    telemetry::{EdgeTelemetry, LogLimit, Metrics},
};

/// When it is worth asking again after a full lane.
const RETRY_AFTER_MS: u64 = 1000;

/// A running engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine(pub(super) Arc<EngineInner>);

pub(super) struct EngineInner {
    inbox: Arc<Inbox>,
    clock: Arc<dyn EngineClock>,
    pub(super) reader: Arc<dyn Reader>,
    settings: Arc<dyn Settings>,
    feed: Arc<Feed>,
    routes: Current<RouteTable>,
    policy: Current<PolicySnapshot>,
    senders: Arc<dyn Senders>,
    pub(super) contents: Arc<ContentsKeeper>,
    beside: BesideJournal,
    pub(super) metrics: Arc<Metrics>,
    log_limit: Arc<LogLimit>,
    stopped: watch::Receiver<Option<Result<(), StoreError>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    is_draining: AtomicBool,
    is_restore_locked: Arc<AtomicBool>,
    is_read_only: bool,
    pub(super) erasing: Erasing,
}

/// What an engine works with, beside its store and its routes.
pub struct EngineParts {
    /// Whose the senders are.
    pub senders: Arc<dyn Senders>,
    /// Seals and opens what is personal.
    pub contents: Arc<ContentsKeeper>,
    /// What persons told.
    pub beside: BesideJournal,
    /// The clock.
    pub clock: Arc<dyn EngineClock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// What persons told, which is kept beside the journal.
#[derive(Clone, Debug)]
pub struct BesideJournal {
    /// Who wants no messages.
    pub opt_outs: Arc<OptOuts>,
    /// What persons wrote.
    pub inbound_messages: Arc<InboundMessages>,
    /// What conversations are called.
    pub days: Arc<DayKeys>,
}

impl BesideJournal {
    /// What is in `settings`; who it is of is sealed with the keys of `contents`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(
        settings: &Arc<dyn Settings>,
        contents: &ContentsKeeper,
        inbound: InboundOptions,
    ) -> Result<BesideJournal, StoreError> {
        let opt_outs = OptOuts::open(Arc::clone(settings), contents.rows(Family::OptOut))?;
        let days = DayKeys::open(Arc::clone(settings), contents.rows(Family::Day))?;
        let keys = contents.rows(Family::Inbound);
        let inbound_messages = InboundMessages::open(Arc::clone(settings), keys, inbound)?;
        Ok(BesideJournal {
            opt_outs: Arc::new(opt_outs),
            inbound_messages: Arc::new(inbound_messages),
            days: Arc::new(days),
        })
    }
}

impl Engine {
    /// Starts the writer's thread, and whatever the last life of the store left to do.
    ///
    /// Must be called on a tokio runtime: calls to providers are made on it.
    pub fn start(
        store: Box<dyn Store>,
        routes: Arc<RouteTable>,
        parts: EngineParts,
        options: &EngineOptions,
    ) -> Engine {
        let EngineParts { senders, contents, beside, clock, metrics } = parts;
        let inbox = Arc::new(Inbox::new(options.lanes));
        let (reader, settings) = (store.reader(), store.settings());
        for (tenant, count) in reader.open_by_tenant() {
            metrics.open_at_start(&tenant, count);
        }
        let dispatcher = Dispatcher {
            runtime: tokio::runtime::Handle::current(),
            senders: Arc::clone(&senders),
            contents: Arc::clone(&contents),
            opt_outs: Arc::clone(&beside.opt_outs),
            days: Arc::clone(&beside.days),
            reader: Arc::clone(&reader),
            inbox: Arc::clone(&inbox),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        };
        let writer = Writer::new(
            store,
            Arc::clone(&routes),
            Arc::clone(&inbox),
            Arc::clone(&clock),
            Box::new(dispatcher),
            Arc::clone(&metrics),
            options,
        );
        let (feed, is_restore_locked) =
            (Arc::clone(writer.feed()), Arc::clone(&writer.is_restore_locked));
        let log_limit = Arc::clone(&writer.event_log.limit);
        let tick_inbox = Arc::downgrade(&inbox);
        let tick_clock = Arc::downgrade(&clock);
        clock.on_move(Box::new(move || {
            if let (Some(inbox), Some(clock)) = (tick_inbox.upgrade(), tick_clock.upgrade()) {
                let _ = inbox.push(Command::Tick, clock.busy());
            }
        }));
        let (report, stopped) = watch::channel(None);
        let spawned =
            std::thread::Builder::new().name("dispatch-writer".to_owned()).spawn(move || {
                let result = writer.run();
                report.send_replace(Some(result));
            });
        let thread = match spawned {
            Ok(thread) => Some(thread),
            Err(error) => {
                // Without its writer the engine refuses everything, which is what is right.
                tracing::error!(%error, "the writer's thread could not be started");
                inbox.close();
                None
            }
        };
        Engine(Arc::new(EngineInner {
            inbox,
            clock,
            reader,
            settings,
            feed,
            routes: Current::from(routes),
            policy: Current::new(options.policy),
            senders,
            contents,
            beside,
            metrics,
            log_limit,
            stopped,
            thread: Mutex::new(thread),
            is_draining: AtomicBool::new(false),
            is_restore_locked,
            is_read_only: options.is_read_only,
            erasing: Erasing::new(options.retention),
        }))
    }

    /// Cancels a workflow. Once this returns no attempt starts that had not started before.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::AlreadyEnded`], [`EngineError::Overloaded`],
    /// [`EngineError::Unavailable`].
    pub async fn cancel(&self, tenant: Arc<str>, id: WorkflowId) -> Result<Canceled, EngineError> {
        self.submit(|reply| Command::Cancel { tenant, id, reply }).await?
    }

    /// Lifts the [restore lock](Self::is_restore_locked), and returns how many workflows were open.
    ///
    /// # Errors
    /// [`EngineError::NotRestoreLocked`], [`EngineError::Unavailable`].
    pub async fn resume(&self, open: ResumePolicy) -> Result<usize, EngineError> {
        let count = self.submit(|reply| Command::Resume { open, reply }).await??;
        tracing::info!(
            ?open,
            count,
            "the restore lock is lifted; what was open is taken up as was said"
        );
        Ok(count)
    }

    /// Whether nothing is sent, because the store was restored from a backup.
    pub fn is_restore_locked(&self) -> bool {
        self.0.is_restore_locked.load(Ordering::Acquire)
    }

    /// Whether it was started only to be looked at.
    pub fn is_read_only(&self) -> bool {
        self.0.is_read_only
    }

    /// Starts no further calls, waits at most `timeout` for those that are out, and stops. What
    /// was not started is PLANNED, and the next life goes on with it.
    pub async fn drain(&self, timeout: Duration) {
        self.0.is_draining.store(true, Ordering::SeqCst);
        let quiet = self.submit(|reply| Command::Drain { reply });
        if tokio::time::timeout(timeout, quiet).await.is_err() {
            tracing::warn!("calls are still out; the next start takes their outcome for unknown");
        }
        let _ = self.0.inbox.push(Command::Stop, Busy::untracked());
        let mut stopped = self.0.stopped.clone();
        let _ = stopped.wait_for(Option::is_some).await;
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Whether new work is refused.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::SeqCst)
    }

    /// Returns when the writer has stopped, with the store's error if that is why.
    ///
    /// # Errors
    /// If the store failed: the process must end, and the next start reads what is durable.
    pub async fn stopped(&self) -> Result<(), StoreError> {
        let mut stopped = self.0.stopped.clone();
        match stopped.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err(StoreError::Io("the writer's thread ended without a word".to_owned())),
        }
    }

    /// For reads: never in the writer's way.
    pub fn reader(&self) -> &Arc<dyn Reader> {
        &self.0.reader
    }

    /// What is kept beside workflows.
    pub fn settings(&self) -> &Arc<dyn Settings> {
        &self.0.settings
    }

    /// Where subscribers learn that there is something new.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.0.feed
    }

    /// The routes that are in force.
    pub fn routes(&self) -> Arc<RouteTable> {
        self.0.routes.get()
    }

    /// Goes by other routes from the next batch on, and gives new workflows other durations to live by.
    /// Who waits for a permit of a route that is gone is planned anew.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn reload(
        &self,
        routes: RouteTable,
        policy: PolicySnapshot,
    ) -> Result<(), EngineError> {
        let routes = self.submit(|reply| Command::Routes { table: routes, reply }).await?;
        self.0.routes.set(routes);
        self.0.policy.set(policy);
        Ok(())
    }

    /// Whose the senders are.
    pub fn senders(&self) -> &dyn Senders {
        &*self.0.senders
    }

    /// Seals and opens what is personal.
    pub fn contents(&self) -> &Arc<ContentsKeeper> {
        &self.0.contents
    }

    /// What is personal of a workflow that somebody is shown; where it is lost the log says so.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn opened(&self, record: &Record) -> Result<Contents, Unopened> {
        self.0.contents.open(record).inspect_err(|error| {
            let Unopened::Unreadable(why) = error else { return };
            let is_new = self.0.log_limit.admits(
                tracing::Level::ERROR,
                "unopened_contents",
                &record.tenant,
                why,
            );
            if is_new {
                tracing::error!(workflow = %record.id, why, "contents could not be opened");
            }
        })
    }

    /// Who wants no messages.
    pub fn opt_outs(&self) -> &Arc<OptOuts> {
        &self.0.beside.opt_outs
    }

    /// What persons wrote.
    pub fn inbound_messages(&self) -> &Arc<InboundMessages> {
        &self.0.beside.inbound_messages
    }

    /// What conversations are called.
    pub fn days(&self) -> &Arc<DayKeys> {
        &self.0.beside.days
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn EngineClock> {
        &self.0.clock
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Which lines were logged lately: for whoever logs what may come often.
    pub fn log_limit(&self) -> &Arc<LogLimit> {
        &self.0.log_limit
    }

    /// Both, for an edge.
    pub fn telemetry(&self) -> EdgeTelemetry {
        let (metrics, log_limit) = (Arc::clone(&self.0.metrics), Arc::clone(&self.0.log_limit));
        EdgeTelemetry { metrics, log_limit }
    }

    pub(super) async fn submit<T: Send + 'static>(
        &self,
        command: impl FnOnce(Box<dyn FnOnce(T) + Send>) -> Command,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        let busy = self.0.clock.busy();
        let command = command(Box::new(move |value| {
            // A caller that went away is not told; what it asked for is done all the same.
            let _ = reply.send(value);
        }));
        self.0.inbox.push(command, busy)?;
        answer.await.map_err(|_| EngineError::Unavailable)
    }
}

impl From<NotTaken> for EngineError {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Full => EngineError::Overloaded { retry_after_ms: RETRY_AFTER_MS },
            NotTaken::Closed => EngineError::Unavailable,
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}
