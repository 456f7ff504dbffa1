//! Every metric, named in one place.
//!
//! Labels are from closed lists or from the configuration: never a number, an id or a text.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use dispatch_contract::{Cause, UnixMillis};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{About, tenants::Tenants};
use crate::machine::{CallFailure, Fact, Priority, Reason};

/// The metrics of a service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    created: Counter,
    ended: Family<EndedLabels, Counter>,
    steps_failed_over: Family<FailedOverLabels, Counter>,
    sends: Family<RouteLabels, Counter>,
    answers: Family<AnswerLabels, Counter>,
    possible_duplicates: Counter,
    late_successes: Counter,
    unnecessary_failovers: Counter,
    statuses: Family<StatusLabels, Counter>,
    webhooks: Family<WebhookLabels, Counter>,
    receipts_unmatched: Counter,
    route_queue: Family<QueueLabels, Gauge>,
    route_refused: Family<RouteLabels, Counter>,
    route_crowded_out: Family<RouteLabels, Counter>,
    receipts_foreign: Counter,
    webhooks_unknown_path: Family<UnknownPathLabels, Counter>,
    sends_without_receipt: Family<AccountLabels, Gauge>,
    adapter_panics: Family<PanicLabels, Counter>,
    handler_panics: Counter,
    callback_panics: Counter,
    refused: Family<CodeLabels, Counter>,
    logins_failed: Family<OutcomeLabels, Counter>,
    broken: Family<InvariantLabels, Counter>,
    open: Gauge,
    restore_locked: Gauge,
    streams: Gauge,
    calls_out: Gauge,
    clock_steps: Counter,
    clock_step_seconds: Gauge<f64, AtomicU64>,
    callbacks: Family<OutcomeLabels, Counter>,
    callback_tries: Family<ProblemLabels, Counter>,
    callbacks_waiting: Gauge,
    callbacks_dead_lettered: Gauge,
    callbacks_oldest: Gauge<f64, AtomicU64>,
    callback_rows_missed: Counter,
    tenants: Tenants,
    call_seconds: Family<CallLabels, Histogram, fn() -> Histogram>,
    commit_seconds: Histogram,
    create_seconds: Histogram,
    first_start_seconds: Histogram,
    receipt_delay_seconds: Family<ChannelLabels, Histogram, fn() -> Histogram>,
    route_queue_age: Family<RouteLabels, Gauge<f64, AtomicU64>>,
    store_free_bytes: Gauge,
    store_is_short: Gauge,
    table_entries: Family<TableLabels, Gauge>,
}

/// How long what a machine does takes, in seconds: from a fraction of a millisecond to ten seconds.
const QUICK: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How long what waits for others takes, in seconds: from ten milliseconds to a day.
const SLOW: [f64; 14] =
    [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 3600.0, 86_400.0];

fn quick() -> Histogram {
    Histogram::new(QUICK)
}

fn slow() -> Histogram {
    Histogram::new(SLOW)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    route: String,
    provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabels {
    room: &'static str,
    table: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabels {
    channel: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedLabels {
    state: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailedOverLabels {
    channel: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    route: String,
    priority: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    route: String,
    outcome: &'static str,
    error: &'static str,
    cause: &'static str,
    fault: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    channel: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    provider: String,
    account: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnknownPathLabels {
    unknown: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountLabels {
    account: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PanicLabels {
    adapter: String,
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabels {
    problem: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InvariantLabels {
    id: &'static str,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("dispatch");
        macro_rules! metric {
            ($name:literal, $help:literal) => {{
                let metric = Default::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        Metrics {
            created: metric!("workflows_created", "Workflows created"),
            ended: metric!("workflows_ended", "Workflows ended, by state and reason"),
            steps_failed_over: metric!(
                "steps_failed_over",
                "Steps that failed or expired, by channel and reason"
            ),
            sends: metric!("attempts_planned", "Attempts planned, by route"),
            answers: metric!(
                "answers",
                "Answers of providers, by route, outcome, error, cause (of no connection) and fault"
            ),
            possible_duplicates: metric!(
                "possible_duplicate_sends",
                "Messages sent once more although the first may have gone out"
            ),
            late_successes: metric!(
                "late_successes",
                "Steps that reached their condition after they had failed over"
            ),
            unnecessary_failovers: metric!(
                "unnecessary_failovers",
                "Late successes that came after a further message had been sent"
            ),
            statuses: metric!("message_statuses", "Statuses that messages reached, by channel"),
            webhooks: metric!("webhooks", "Webhook calls, by provider, account and verdict"),
            receipts_unmatched: metric!(
                "receipts_unmatched",
                "Receipts that belong to no message of this service"
            ),
            route_queue: metric!(
                "route_queue",
                "Attempts that wait for a permit of a route, by route and priority"
            ),
            route_refused: metric!(
                "route_creates_refused",
                "Creates refused because no route could start them in time, by the soonest route"
            ),
            route_crowded_out: metric!(
                "route_crowded_out",
                "Attempts that got no permit within send_within (ROUTE_SATURATED), by route"
            ),
            receipts_foreign: metric!(
                "receipts_of_other_accounts",
                "Receipts that name an attempt of this service, and came by another account than it \
                 was started under: they change nothing"
            ),
            webhooks_unknown_path: metric!(
                "webhooks_unknown_path",
                "Calls under /receipts that name no adapter or account of this service, by which it is"
            ),
            sends_without_receipt: metric!(
                "sends_without_receipt",
                "Messages that an account accepted since it last told anything of one"
            ),
            adapter_panics: metric!(
                "adapter_panics",
                "Calls into an adapter that panicked, by adapter and call: always a bug"
            ),
            handler_panics: metric!(
                "handler_panics",
                "Requests (HTTP or gRPC) whose handler panicked: always a bug"
            ),
            callback_panics: metric!(
                "callback_panics",
                "Panics over the making of callbacks: always a bug"
            ),
            refused: metric!("requests_refused", "Requests refused, by gRPC code"),
            logins_failed: metric!(
                "logins_failed",
                "Credentials not taken: wrong, or slowed (too many from that address were wrong)"
            ),
            broken: metric!("invariants_broken", "Invariants found broken: always a bug"),
            open: metric!("workflows_open", "Workflows that have not ended"),
            restore_locked: metric!(
                "restore_locked",
                "1 while nothing is sent because the store was restored"
            ),
            streams: metric!("streams_open", "Status streams that are being fed"),
            calls_out: metric!("calls_out", "Calls to providers that are out"),
            clock_steps: metric!(
                "clock_steps",
                "How often the wall clock was set by more than 5 s"
            ),
            clock_step_seconds: metric!(
                "clock_step_seconds",
                "How far the wall clock was set at once, when that last was more than 5 s"
            ),
            callbacks: metric!(
                "callbacks",
                "Callbacks to applications: made, and delivered, dead-lettered or dropped in the end"
            ),
            callback_tries: metric!(
                "callback_retries",
                "Tries of callbacks that did not succeed and are repeated, by what was wrong and its cause"
            ),
            callbacks_waiting: metric!("callbacks_waiting", "Callbacks still to be delivered"),
            callbacks_dead_lettered: metric!(
                "callbacks_dead_lettered",
                "Callbacks that were given up and are kept, to be resent"
            ),
            callbacks_oldest: metric!(
                "callbacks_oldest_timestamp_seconds",
                "When the oldest callback that still waits was made, in Unix time; 0 if none waits"
            ),
            callback_rows_missed: metric!(
                "callback_rows_missed",
                "Journal rows, at most, that retention dropped before callbacks were made of them"
            ),
            tenants: Tenants::new(&mut registry),
            call_seconds: metric!(
                "call_seconds",
                "How long calls to providers took, by route and provider",
                Family::new_with_constructor(quick as fn() -> Histogram)
            ),
            commit_seconds: metric!(
                "commit_seconds",
                "How long it took to make a batch durable",
                quick()
            ),
            create_seconds: metric!(
                "create_seconds",
                "How long creates waited for the writer and its commit, refused ones too",
                quick()
            ),
            first_start_seconds: metric!(
                "first_start_seconds",
                "From a workflow's creation, or its send_at, to its first call",
                slow()
            ),
            receipt_delay_seconds: metric!(
                "receipt_delay_seconds",
                "From the time that a provider gives for a status to its arrival, by channel",
                Family::new_with_constructor(slow as fn() -> Histogram)
            ),
            route_queue_age: metric!(
                "route_queue_age_seconds",
                "For how long the oldest that waits for a permit of a route has waited, by route"
            ),
            store_free_bytes: metric!(
                "store_free_bytes",
                "How much may still be written where the store is; -1 if that is not known"
            ),
            store_is_short: metric!(
                "store_is_short",
                "1 while creates are refused because the disk is nearly full"
            ),
            table_entries: metric!(
                "table_entries",
                "How many entries each table in memory has, by room and table; looked at every ten \
                 seconds"
            ),
            registry,
        }
    }

    /// Notes how many entries the tables of a room have.
    pub fn tables(
        &self,
        room: &'static str,
        tables: impl IntoIterator<Item = (&'static str, usize)>,
    ) {
        for (table, count) in tables {
            self.table_entries.get_or_create(&TableLabels { room, table }).set(count as i64);
        }
    }

    /// Counts what a fact tells that was noted at `at`, by the wall clock. To be called once it is durable.
    pub fn fact(&self, at: UnixMillis, fact: &Fact, about: &About) {
        let channel = || about.channel.as_ref().map_or(String::new(), ToString::to_string);
        let route = || about.route.as_deref().unwrap_or_default().to_owned();
        if let Some(tenant) = &about.tenant {
            self.tenants.fact(fact, tenant);
        }
        match fact {
            Fact::Created => {
                self.created.inc();
            }
            Fact::Ended(outcome) => {
                let labels =
                    EndedLabels { state: outcome.state.as_str(), reason: outcome.reason.as_str() };
                self.ended.get_or_create(&labels).inc();
            }
            Fact::StepFailed { reason, .. } => {
                self.left(channel(), *reason);
                if *reason == Reason::RouteSaturated {
                    self.route_crowded_out.get_or_create(&RouteLabels { route: route() }).inc();
                }
            }
            Fact::StepExpired { .. } => self.left(channel(), Reason::Expired),
            Fact::AttemptPlanned { route, possible_duplicate, .. } => {
                self.sends.get_or_create(&RouteLabels { route: route.to_string() }).inc();
                if *possible_duplicate {
                    self.possible_duplicates.inc();
                }
            }
            Fact::AttemptAccepted { .. } => self.answer(route(), "accepted", None),
            Fact::AttemptRejected { failure, .. } => {
                self.answer(route(), "rejected", Some(failure))
            }
            Fact::AttemptRetryScheduled { failure, .. } => {
                self.answer(route(), "retry_later", Some(failure))
            }
            Fact::AttemptUnknown { failure, .. } | Fact::AttemptRepeated { failure, .. } => {
                self.answer(route(), "unknown", failure.as_ref());
            }
            Fact::StatusReached { status, provider_time, .. } => {
                self.status(channel(), status.as_str());
                if let Some(told) = provider_time {
                    let labels = ChannelLabels { channel: channel() };
                    let delay = at.since(*told).as_secs_f64();
                    self.receipt_delay_seconds.get_or_create(&labels).observe(delay);
                }
            }
            Fact::AttemptStarted { .. } => {
                if let Some(waited) = about.waited {
                    self.first_start_seconds.observe(waited.as_secs_f64());
                }
            }
            Fact::LateStatus { status, unnecessary_failover, .. } => {
                self.status(channel(), status.as_str());
                if *unnecessary_failover {
                    self.late_successes.inc();
                    self.unnecessary_failovers.inc();
                }
            }
            Fact::StatusFailed { failure, .. } | Fact::LateFailure { failure, .. } => {
                self.status(channel(), failure.as_str());
            }
            Fact::LateSuccess { unnecessary_failover, .. } => {
                self.late_successes.inc();
                if *unnecessary_failover {
                    self.unnecessary_failovers.inc();
                }
            }
            Fact::StepStarted { .. }
            | Fact::AttemptDue { .. }
            | Fact::StepMet { .. }
            | Fact::StepSkipped { .. }
            | Fact::StepCanceled { .. }
            | Fact::LateSendResult { .. } => {}
        }
    }

    /// Notes how many workflows of a tenant were open when the service started.
    pub fn open_at_start(&self, tenant: &Arc<str>, count: usize) {
        self.tenants.open_at_start(tenant, count);
    }

    /// Counts receipts that belong to nothing here.
    pub fn receipts_unmatched(&self, count: usize) {
        self.receipts_unmatched.inc_by(count as u64);
    }

    /// Counts creates that were refused because a route could not have started them in time.
    pub fn route_refused(&self, route: &str, creates: u64) {
        let route = route.to_owned();
        self.route_refused.get_or_create(&RouteLabels { route }).inc_by(creates);
    }

    /// Notes how many wait for a place on a route, by priority.
    pub fn route_queue(&self, route: &str, waiting: [usize; Priority::ALL.len()]) {
        for (priority, waiting) in Priority::ALL.into_iter().zip(waiting) {
            let labels = QueueLabels { route: route.to_owned(), priority: priority.as_str() };
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            self.route_queue.get_or_create(&labels).set(waiting);
        }
    }

    /// Counts receipts of other accounts' attempts.
    pub fn receipts_foreign(&self, count: usize) {
        self.receipts_foreign.inc_by(count as u64);
    }

    /// Counts a call under `/receipts` whose `adapter`, `account` or whole `path` is unknown.
    pub fn webhook_unknown_path(&self, unknown: &'static str) {
        self.webhooks_unknown_path.get_or_create(&UnknownPathLabels { unknown }).inc();
    }

    /// Notes how many messages an account (`provider/name`) accepted since it last told anything.
    pub fn sends_without_receipt(&self, account: &str, sends: u64) {
        let labels = AccountLabels { account: account.to_owned() };
        self.sends_without_receipt
            .get_or_create(&labels)
            .set(i64::try_from(sends).unwrap_or(i64::MAX));
    }

    /// Counts a panic in an adapter's `send`, `webhook` or `run`.
    pub fn adapter_panicked(&self, adapter: &str, call: &'static str) {
        let adapter = adapter.to_owned();
        self.adapter_panics.get_or_create(&PanicLabels { adapter, call }).inc();
    }

    /// Counts a panic in a handler of requests.
    pub fn handler_panicked(&self) {
        self.handler_panics.inc();
    }

    /// Counts a panic in what makes callbacks.
    pub fn callbacks_panicked(&self) {
        self.callback_panics.inc();
    }

    /// Notes how long a call to a provider took.
    pub fn call(&self, route: &str, provider: &str, took: Duration) {
        let labels = CallLabels { route: route.to_owned(), provider: provider.to_owned() };
        self.call_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Notes how long it took to make a batch durable.
    pub fn commit(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// Notes how long a create took, from the edge and back.
    pub fn create(&self, took: Duration) {
        self.create_seconds.observe(took.as_secs_f64());
    }

    /// Notes for how long the oldest has waited for a place on a route; zero if none waits.
    pub fn route_queue_age(&self, route: &str, age: Duration) {
        let labels = RouteLabels { route: route.to_owned() };
        self.route_queue_age.get_or_create(&labels).set(age.as_secs_f64());
    }

    /// Notes how much may still be written, and whether creates are refused because of it.
    pub fn space(&self, free_bytes: Option<u64>, is_short: bool) {
        let free = free_bytes.map_or(-1, |free| i64::try_from(free).unwrap_or(i64::MAX));
        self.store_free_bytes.set(free);
        self.store_is_short.set(i64::from(is_short));
    }

    /// Counts a provider's call.
    pub fn webhook(&self, provider: &str, account: &str, verdict: &'static str) {
        let (provider, account) = (provider.to_owned(), account.to_owned());
        let labels = WebhookLabels { provider, account, verdict };
        self.webhooks.get_or_create(&labels).inc();
    }

    /// Counts a refused request.
    pub fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&CodeLabels { code }).inc();
    }

    /// Counts a credential that was `wrong`, or not looked at (`slowed`).
    pub fn login_failed(&self, outcome: &'static str) {
        self.logins_failed.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts callbacks that were `made`, `delivered`, `dead_lettered`, or `dropped`.
    pub fn callbacks(&self, outcome: &'static str, count: usize) {
        self.callbacks.get_or_create(&OutcomeLabels { outcome }).inc_by(count as u64);
    }

    /// Counts a try of a callback that is repeated.
    /// `cause` is why no answer came, or the answer's class.
    pub fn callback_retried(&self, problem: &'static str, cause: &'static str) {
        self.callback_tries.get_or_create(&ProblemLabels { problem, cause }).inc();
    }

    /// Notes how many callbacks are kept, and when the oldest that waits was made.
    pub fn callbacks_kept(&self, waiting: usize, dead_letters: usize, oldest: Option<UnixMillis>) {
        self.callbacks_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.callbacks_dead_lettered.set(i64::try_from(dead_letters).unwrap_or(i64::MAX));
        self.callbacks_oldest.set(oldest.map_or(0.0, |at| at.0 as f64 / 1000.0));
    }

    /// Counts rows of the journal of which no callbacks were made.
    pub fn callback_rows_missed(&self, count: u64) {
        self.callback_rows_missed.inc_by(count);
    }

    /// Counts a broken invariant.
    pub fn invariant_broken(&self, id: &'static str) {
        self.broken.get_or_create(&InvariantLabels { id }).inc();
    }

    /// Notes what is open, and how many calls are out.
    pub fn state(&self, open: usize, calls_out: u32, is_restore_locked: bool) {
        self.restore_locked.set(i64::from(is_restore_locked));
        self.open.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.calls_out.set(i64::from(calls_out));
    }

    /// Counts a status stream for as long as what it returns is kept.
    pub fn stream(&self) -> impl Drop + Send + use<> {
        struct StreamGuard(Gauge);
        impl Drop for StreamGuard {
            fn drop(&mut self) {
                self.0.dec();
            }
        }
        self.streams.inc();
        StreamGuard(self.streams.clone())
    }

    /// Notes a step of the wall clock.
    pub fn clock_stepped(&self, step: Duration) {
        self.clock_steps.inc();
        self.clock_step_seconds.set(step.as_secs_f64());
    }

    /// All of them, in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn answer(&self, route: String, outcome: &'static str, failure: Option<&CallFailure>) {
        let error = failure.map_or("", |failure| failure.kind.as_str());
        let cause = failure.and_then(|failure| failure.cause).map_or("", Cause::as_str);
        let fault = failure.map_or("", |failure| failure.fault.as_str());
        self.answers.get_or_create(&AnswerLabels { route, outcome, error, cause, fault }).inc();
    }

    fn left(&self, channel: String, reason: Reason) {
        self.steps_failed_over
            .get_or_create(&FailedOverLabels { channel, reason: reason.as_str() })
            .inc();
    }

    fn status(&self, channel: String, status: &'static str) {
        self.statuses.get_or_create(&StatusLabels { channel, status }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}
