//! The writer: take what waits, run the processor, commit once, and only then let it happen.
//!
//! It is stepped. [`Writer::wait`] says how long there is nothing to do, [`Writer::serve`] does one batch
//! with all that follows from it; the writer's thread does one after the other, and so does whoever
//! simulates it, with a clock, a store and [`CallExecutor`] of its own.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dispatch_contract::{Busy, UnixMillis};

use super::{
    CallExecutor, Command, EngineClock, EngineError, EngineOptions, Feed, Grace, Inbox, Processor,
    RouteTable, Wake, event_log::EventLog, receipt_monitor::ReceiptMonitor, space::Space,
};
use crate::{
    machine::Moment,
    store::{Change, Store, StoreError},
    telemetry::{About, LogLimit, Metrics},
};

/// How often retention looks for something to drop, and how much it drops at once.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether the store may still be written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const SWEEP_ROWS: usize = 1000;
/// A step of the wall clock larger than this is alarmed. It moves no duration, but appointments.
const CLOCK_STEP: Duration = Duration::from_secs(5);

/// The writer, and all that it owns.
pub struct Writer {
    store: Box<dyn Store>,
    processor: Processor,
    inbox: Arc<Inbox>,
    clock: Arc<dyn EngineClock>,
    calls: Box<dyn CallExecutor>,
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
    /// How long an ended workflow is kept.
    retention: Duration,
    next_sweep: UnixMillis,
    pub(super) event_log: EventLog,
    receipt_monitor: ReceiptMonitor,
    space: Space,
    is_read_only: bool,
    /// Who waits longer than this for a permit is told of; zero is off.
    queue_warn: Duration,
    /// Told to whoever asks.
    pub(super) is_restore_locked: Arc<AtomicBool>,
    /// What a test clock must not overtake: the last life's remains, and what this batch was given.
    under_way: Vec<Busy>,
    /// What it sleeps for.
    wake: Wake,
    is_stopping: bool,
}

struct CloseOnDrop(Arc<Inbox>, Arc<dyn EngineClock>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        self.1.set_alarm(Wake::NEVER);
    }
}

impl Writer {
    /// A life of the service begins, with whatever the last one left to do. Inputs come by `inbox`, and
    /// `calls` makes what is ordered.
    pub fn new(
        store: Box<dyn Store>,
        routes: Arc<RouteTable>,
        inbox: Arc<Inbox>,
        clock: Arc<dyn EngineClock>,
        calls: Box<dyn CallExecutor>,
        metrics: Arc<Metrics>,
        options: &EngineOptions,
    ) -> Writer {
        let now = clock.now();
        let grace = Grace::new(now, options.recovery_grace, store.grace_given_ms());
        let processor = Processor::new(&*store, routes, grace);
        Writer {
            feed: Arc::new(Feed::new(store.reader().newest())),
            is_restore_locked: Arc::new(AtomicBool::new(processor.is_restore_locked())),
            under_way: vec![clock.busy()],
            retention: options.retention,
            next_sweep: now,
            event_log: EventLog { limit: Arc::new(LogLimit::default()) },
            receipt_monitor: ReceiptMonitor::default(),
            space: Space::new(options.space),
            is_read_only: options.is_read_only,
            queue_warn: options.queue_warn,
            wake: Wake::NEVER,
            is_stopping: false,
            store,
            processor,
            inbox,
            clock,
            calls,
            metrics,
        }
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// Fatal: the store failed, nothing of the batch was acknowledged, and nothing of it happens.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        // Even if sled panics: callers that still wait are told by the drop of their replies, and a
        // test clock finds nothing to leap to.
        let _closes = CloseOnDrop(Arc::clone(&self.inbox), Arc::clone(&self.clock));
        let result = if self.is_read_only {
            self.refuse_until_stopped();
            Ok(())
        } else {
            self.run_until_stopped()
        };
        if let Err(error) = &result {
            tracing::error!(%error, "the store failed; stopping without a further promise");
        }
        result
    }

    /// Nothing is taken up and no timer fires: whoever asks for a change is told why not.
    fn refuse_until_stopped(&mut self) {
        let open = self.store.open_count();
        tracing::warn!(
            open,
            "READ ONLY: lists, timelines, streams and metrics are served; nothing is sent, taken or changed"
        );
        self.metrics.state(open, 0, false);
        self.metrics.space(self.store.free_bytes(), true);
        self.clock.set_alarm(Wake::NEVER);
        self.under_way.clear();
        loop {
            for (command, _busy) in self.inbox.take(None) {
                match command {
                    Command::Create { reply, .. } => reply(Err(EngineError::ReadOnly)),
                    Command::Cancel { reply, .. } => reply(Err(EngineError::ReadOnly)),
                    Command::Inbound { reply, .. } => reply(Err(EngineError::ReadOnly)),
                    Command::Resume { reply, .. } => reply(Err(EngineError::ReadOnly)),
                    Command::Erase { reply, .. } => reply(Err(EngineError::ReadOnly)),
                    Command::Routes { table, reply } => reply(Arc::new(table)),
                    Command::Drain { reply } => reply(()),
                    Command::SendResult { .. } | Command::RecallResult { .. } | Command::Tick => {}
                    Command::Stop => return,
                }
            }
        }
    }

    fn run_until_stopped(&mut self) -> Result<(), StoreError> {
        let open = self.store.open_count();
        if self.processor.is_restore_locked() {
            tracing::warn!(
                open,
                "RESTORE LOCK: restored from a backup; nothing is sent until `dispatch resume --open \
                 continue` or `--open cancel` says what becomes of what is open"
            );
            self.metrics.state(open, 0, true);
        } else {
            tracing::info!(open, "what the last life left open is taken up again");
        }
        loop {
            // Who has nothing to write hears so that another has taken over.
            let wait = self.wait().map_or(LOOK_EVERY, |wait| wait.min(LOOK_EVERY));
            self.store.check_owned()?;
            if self.serve(Some(wait))?.is_break() {
                return Ok(());
            }
        }
    }

    /// How long to sleep if nothing comes, in real time; `None` until something does. Never longer than
    /// until something is due by itself.
    pub fn wait(&mut self) -> Option<Duration> {
        if self.processor.is_recovering() {
            return Some(Duration::ZERO);
        }
        let due = self.processor.next_due(&*self.store, self.clock.moment());
        // First: a test clock leaps to it as soon as nothing is under way.
        self.clock.set_alarm(due);
        self.under_way.clear();
        self.wake = due.or_at(self.next_sweep);
        self.clock.real_wait(self.wake)
    }

    /// Sleeps for `wait` at most, takes what has come, and does one batch with all that follows from it,
    /// unless there is nothing to do. Breaks when it was told to stop.
    ///
    /// # Errors
    /// Fatal: the store failed, nothing of the batch was acknowledged, and nothing of it happens.
    pub fn serve(&mut self, wait: Option<Duration>) -> Result<ControlFlow<()>, StoreError> {
        // Nothing is taken up before what the last life left behind is settled.
        if !self.processor.is_recovering() {
            let waiting = self.inbox.take(wait);
            let is_due = self.wake.is_due(self.clock.moment()) || self.inbox.is_closed();
            if waiting.is_empty() && !is_due {
                // Only a nap is over.
                return Ok(ControlFlow::Continue(()));
            }
            let (commands, busy): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            self.under_way.extend(busy);
            self.is_stopping |= commands.iter().any(|command| matches!(command, Command::Stop));
            self.step(commands)?;
        } else {
            self.step(Vec::new())?;
        }
        // A released store owes what a restart does, and that comes before the end too.
        let stops = self.is_stopping && !self.processor.is_recovering();
        Ok(if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// What lasts from batch to batch.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// Where it says that something became durable.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    fn step(&mut self, commands: Vec<Command>) -> Result<(), StoreError> {
        let now = self.clock.moment();
        let free = || self.store.free_bytes();
        if let Some(is_short) = self.space.look(Instant::now(), free, &self.metrics) {
            self.processor.set_short_of_space(is_short);
        }
        let effects = self.processor.run(&*self.store, now, commands)?;
        for change in &effects.change_set.changes {
            let names = self.processor.routes().former_names();
            for fact in &change.facts {
                self.receipt_monitor.fact(now.engine, fact, &change.state, names);
            }
        }
        let changes = effects.change_set.changes.iter();
        let about = |change: &Change| {
            let about = |fact| About::of(fact, &change.state);
            change.facts.iter().map(about).collect::<Vec<_>>()
        };
        let about: Vec<_> = changes.flat_map(about).collect();
        let new = effects.change_set.changes.iter().filter_map(|change| change.record.as_ref());
        let told: Vec<_> =
            new.filter(|record| record.requester.is_notified()).map(|record| record.id).collect();
        let began = Instant::now();
        let rows = if effects.change_set.is_empty() {
            Vec::new()
        } else {
            self.store.commit(effects.change_set)?
        };
        if !rows.is_empty() {
            self.metrics.commit(began.elapsed());
        }

        // Durable from here on: what is counted and logged has happened.
        let facts = rows.iter().flat_map(|row| row.facts.iter().map(move |fact| (row, fact)));
        for ((row, fact), about) in facts.zip(&about) {
            self.metrics.fact(row.at.wall, fact, about);
            self.event_log.log_fact(row.workflow, fact, about);
        }
        // Who is told that the store was let go finds it so.
        self.is_restore_locked.store(self.processor.is_restore_locked(), Ordering::Release);
        for ack in effects.acks {
            ack();
        }
        self.feed.publish(&rows, &told);
        self.calls.start(effects.sends, self.processor.routes());
        self.calls.recall(effects.recalls, self.processor.routes());
        for broken in effects.broken {
            tracing::error!(id = broken.id, rule = broken.rule, "an invariant is broken");
            self.metrics.invariant_broken(broken.id);
        }
        for (route, creates) in &effects.refused {
            self.metrics.route_refused(route, *creates);
            self.event_log.log_saturated_route(route, *creates);
        }
        for (route, waiting) in &effects.queues {
            self.metrics.route_queue(route, *waiting);
        }
        self.metrics.receipts_unmatched(effects.unmatched);
        self.metrics.receipts_after_erasure(effects.after_erasure);
        if let Some(foreign) = &effects.foreign {
            self.metrics.receipts_foreign(foreign.count);
            self.event_log.log_foreign_receipts(foreign);
        }
        self.metrics.state(
            self.store.open_count(),
            self.processor.calls_in_flight(),
            self.processor.is_restore_locked(),
        );
        self.sweep(now)
    }

    fn sweep(&mut self, now: Moment) -> Result<(), StoreError> {
        if now.engine < self.next_sweep {
            return Ok(());
        }
        self.look_at_the_clocks(now);
        let now = now.engine;
        self.next_sweep = now.plus(SWEEP_EVERY);
        for silent in self.receipt_monitor.look(now, &self.metrics) {
            self.event_log.log_silent_account(&silent);
        }
        self.event_log.limit.log_suppressed();
        self.metrics.tables("store", self.store.tables());
        self.metrics.tables("engine", self.processor.tables());
        let followed = self.feed.workflows();
        let own =
            [("silent_accounts", self.receipt_monitor.len()), ("followed_workflows", followed)];
        self.metrics.tables("engine", own);
        for queue in self.processor.queues(now) {
            self.metrics.route_queue_age(&queue.route, queue.age);
            if queue.age >= self.queue_warn && !self.queue_warn.is_zero() {
                self.event_log.log_slow_queue(&queue);
            }
        }
        let before = UnixMillis(now.0.saturating_sub(self.retention.as_millis() as u64));
        let swept = self.store.sweep(now, before, SWEEP_ROWS)?;
        self.feed.forgotten(&swept.forgotten);
        if swept.has_more {
            self.next_sweep = now;
        }
        Ok(())
    }

    /// Alarms a step of the wall clock since the last look, in this life or the one before, and notes
    /// how the clocks stand.
    fn look_at_the_clocks(&mut self, now: Moment) {
        let before = self.store.clock().map_or(now, |noted| noted.at);
        let step_ms = now.skew_ms().wrapping_sub(before.skew_ms());
        let step = Duration::from_millis(step_ms.unsigned_abs());
        if step > CLOCK_STEP {
            let direction = if step_ms > 0 { "forward" } else { "back" };
            tracing::warn!(
                ?step,
                direction,
                "the wall clock was set: send_at, valid_until and tokens go by it; nothing else does"
            );
            self.metrics.clock_stepped(step);
        }
        if let Err(error) = self.store.note_clock(self.clock.note()) {
            tracing::warn!(%error, "the next start will know less of this one's clocks");
        }
    }
}

#[cfg(test)]
mod tests;
