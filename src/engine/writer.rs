//! The writer: take what waits, run the turn, commit once, and only then let it happen.
//!
//! It is stepped. [`Writer::wait`] says how long there is nothing to do, [`Writer::serve`] does one turn
//! with all that follows from it; the writer's thread does one after the other, and so does whoever
//! simulates it, with a clock, a store and [`Calls`] of its own.

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
    Calls, EngineClock, EngineError, EngineOptions, Feed, Grace, Inbox, Input, RouteTable, Turn,
    Wake, narrator::Narrator, silence::Silence, space::Space,
};
use crate::{
    machine::Moment,
    store::{Change, Store, StoreError},
    telemetry::{About, LogLimit, Metrics},
};

/// How often retention looks for something to drop, and how much it drops at once.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
const SWEEP_ROWS: usize = 1000;
/// A step of the wall clock larger than this is alarmed. It moves no duration, but appointments.
const CLOCK_STEP: Duration = Duration::from_secs(5);

/// The writer, and all that it owns.
pub struct Writer {
    store: Box<dyn Store>,
    turn: Turn,
    inbox: Arc<Inbox>,
    clock: Arc<dyn EngineClock>,
    calls: Box<dyn Calls>,
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
    /// How long an ended workflow is kept.
    retention: Duration,
    next_sweep: UnixMillis,
    pub(super) narrator: Narrator,
    silence: Silence,
    space: Space,
    is_read_only: bool,
    /// Who waits longer than this for a place is told of; zero is off.
    queue_warn: Duration,
    /// Told to whoever asks.
    pub(super) is_held: Arc<AtomicBool>,
    /// What a test clock must not overtake: the last life's remains, and what this turn was given.
    under_way: Vec<Busy>,
    /// What it sleeps for.
    wake: Wake,
    is_stopping: bool,
}

struct Closes(Arc<Inbox>, Arc<dyn EngineClock>);

impl Drop for Closes {
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
        calls: Box<dyn Calls>,
        metrics: Arc<Metrics>,
        options: &EngineOptions,
    ) -> Writer {
        let now = clock.now();
        let grace = Grace::new(now, options.recovery_grace, store.grace_given_ms());
        let turn = Turn::new(&*store, routes, grace);
        Writer {
            feed: Arc::new(Feed::new(store.reader().newest())),
            is_held: Arc::new(AtomicBool::new(turn.is_held())),
            under_way: vec![clock.busy()],
            retention: options.retention,
            next_sweep: now,
            narrator: Narrator { limit: Arc::new(LogLimit::default()) },
            silence: Silence::default(),
            space: Space::new(options.space),
            is_read_only: options.is_read_only,
            queue_warn: options.queue_warn,
            wake: Wake::NEVER,
            is_stopping: false,
            store,
            turn,
            inbox,
            clock,
            calls,
            metrics,
        }
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// Fatal: the store failed, nothing of the turn was acknowledged, and nothing of it happens.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        // Even if sled panics: callers that still wait are told by the drop of their replies, and a
        // test clock finds nothing to leap to.
        let _closes = Closes(Arc::clone(&self.inbox), Arc::clone(&self.clock));
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
            for (input, _busy) in self.inbox.take(None) {
                match input {
                    Input::Create { reply, .. } => reply(Err(EngineError::ReadOnly)),
                    Input::Cancel { reply, .. } => reply(Err(EngineError::ReadOnly)),
                    Input::Inbound { reply, .. } => reply(Err(EngineError::ReadOnly)),
                    Input::Resume { reply, .. } => reply(Err(EngineError::ReadOnly)),
                    Input::Routes { table, reply } => reply(Arc::new(table)),
                    Input::Drain { reply } => reply(()),
                    Input::Answer { .. } | Input::Tick => {}
                    Input::Stop => return,
                }
            }
        }
    }

    fn run_until_stopped(&mut self) -> Result<(), StoreError> {
        let open = self.store.open_count();
        if self.turn.is_held() {
            tracing::warn!(
                open,
                "HELD: restored from a backup; nothing is sent until `dispatch resume --open continue` or \
                 `--open cancel` says what becomes of what is open"
            );
            self.metrics.state(open, 0, true);
        } else {
            tracing::info!(open, "what the last life left open is taken up again");
        }
        loop {
            let wait = self.wait();
            if self.serve(wait)?.is_break() {
                return Ok(());
            }
        }
    }

    /// How long to sleep if nothing comes, in real time; `None` until something does. Never longer than
    /// until something is due by itself.
    pub fn wait(&mut self) -> Option<Duration> {
        if self.turn.is_recovering() {
            return Some(Duration::ZERO);
        }
        let due = self.turn.next_due(&*self.store, self.clock.moment());
        // First: a test clock leaps to it as soon as nothing is under way.
        self.clock.set_alarm(due);
        self.under_way.clear();
        self.wake = due.or_at(self.next_sweep);
        self.clock.real_wait(self.wake)
    }

    /// Sleeps for `wait` at most, takes what has come, and does one turn with all that follows from it,
    /// unless there is nothing to do. Breaks when it was told to stop.
    ///
    /// # Errors
    /// Fatal: the store failed, nothing of the turn was acknowledged, and nothing of it happens.
    pub fn serve(&mut self, wait: Option<Duration>) -> Result<ControlFlow<()>, StoreError> {
        // Nothing is taken up before what the last life left behind is settled.
        if !self.turn.is_recovering() {
            let waiting = self.inbox.take(wait);
            let is_due = self.wake.is_due(self.clock.moment()) || self.inbox.is_closed();
            if waiting.is_empty() && !is_due {
                // Only a nap is over.
                return Ok(ControlFlow::Continue(()));
            }
            let (inputs, busy): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            self.under_way.extend(busy);
            self.is_stopping |= inputs.iter().any(|input| matches!(input, Input::Stop));
            self.step(inputs)?;
        } else {
            self.step(Vec::new())?;
        }
        // A held store that was let go owes what a restart does, and that comes before the end too.
        let stops = self.is_stopping && !self.turn.is_recovering();
        Ok(if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// What lasts from turn to turn.
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Where it says that something became durable.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    fn step(&mut self, inputs: Vec<Input>) -> Result<(), StoreError> {
        let now = self.clock.moment();
        let free = || self.store.free_bytes();
        if let Some(is_short) = self.space.look(Instant::now(), free, &self.metrics) {
            self.turn.set_short_of_space(is_short);
        }
        let out = self.turn.run(&*self.store, now, inputs)?;
        for change in &out.batch.changes {
            let names = self.turn.routes().former_names();
            for fact in &change.facts {
                self.silence.fact(now.engine, fact, &change.state, names);
            }
        }
        let changes = out.batch.changes.iter();
        let about = |change: &Change| {
            let about = |fact| About::of(fact, &change.state);
            change.facts.iter().map(about).collect::<Vec<_>>()
        };
        let about: Vec<_> = changes.flat_map(about).collect();
        let new = out.batch.changes.iter().filter_map(|change| change.record.as_ref());
        let told: Vec<_> =
            new.filter(|record| record.requester.is_told()).map(|record| record.id).collect();
        let began = Instant::now();
        let rows = if out.batch.is_empty() { Vec::new() } else { self.store.commit(out.batch)? };
        if !rows.is_empty() {
            self.metrics.commit(began.elapsed());
        }

        // Durable from here on: what is counted and logged has happened.
        let facts = rows.iter().flat_map(|row| row.facts.iter().map(move |fact| (row, fact)));
        for ((row, fact), about) in facts.zip(&about) {
            self.metrics.fact(row.at.wall, fact, about);
            self.narrator.tell(row.workflow, fact, about);
        }
        // Who is told that the store was let go finds it so.
        self.is_held.store(self.turn.is_held(), Ordering::Release);
        for ack in out.acks {
            ack();
        }
        self.feed.publish(&rows, &told);
        self.calls.start(out.sends, self.turn.routes());
        for broken in out.broken {
            tracing::error!(id = broken.id, rule = broken.rule, "an invariant is broken");
            self.metrics.invariant_broken(broken.id);
        }
        for (route, creates) in &out.refused {
            self.metrics.route_refused(route, *creates);
            self.narrator.tell_saturated(route, *creates);
        }
        for (route, waiting) in &out.queues {
            self.metrics.route_queue(route, *waiting);
        }
        self.metrics.receipts_unmatched(out.unmatched);
        if let Some(foreign) = &out.foreign {
            self.metrics.receipts_foreign(foreign.count);
            self.narrator.foreign(foreign);
        }
        self.metrics.state(self.store.open_count(), self.turn.calls_out(), self.turn.is_held());
        self.sweep(now)
    }

    fn sweep(&mut self, now: Moment) -> Result<(), StoreError> {
        if now.engine < self.next_sweep {
            return Ok(());
        }
        self.look_at_the_clocks(now);
        let now = now.engine;
        self.next_sweep = now.plus(SWEEP_EVERY);
        for silent in self.silence.look(now, &self.metrics) {
            self.narrator.silent(&silent);
        }
        self.narrator.limit.say_kept_back();
        self.metrics.tables("store", self.store.tables());
        self.metrics.tables("engine", self.turn.tables());
        let followed = self.feed.workflows();
        let own = [("silent_accounts", self.silence.len()), ("followed_workflows", followed)];
        self.metrics.tables("engine", own);
        for queue in self.turn.queues(now) {
            self.metrics.route_queue_age(&queue.route, queue.age);
            if queue.age >= self.queue_warn && !self.queue_warn.is_zero() {
                self.narrator.tell_queue(&queue);
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
