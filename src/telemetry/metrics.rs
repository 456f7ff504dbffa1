//! What is counted, and when. The metrics and their labels are named in one place, [`families`].

mod families;

use std::{sync::Arc, time::Duration};

use dispatch_contract::{Cause, UnixMillis};
use prometheus_client::{encoding::text::encode, metrics::gauge::Gauge, registry::Registry};

use families::{
    AccountLabels, AnswerLabels, CallLabels, CauseLabels, ChannelLabels, CodeLabels, EndedLabels,
    FailedOverLabels, InvariantLabels, MetricFamilies, OptOutLabels, OutcomeLabels, PanicLabels,
    ProblemLabels, ProviderLabels, QueueLabels, RecallLabels, RouteLabels, StatusLabels,
    TableLabels, UnknownPathLabels, WebhookLabels,
};

use super::{About, tenants::Tenants};
use crate::machine::{AcceptedBy, CallFailure, Fact, Priority, Reason};

/// The metrics of a service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: MetricFamilies,
    tenants: Tenants,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("dispatch");
        let families = MetricFamilies::register(&mut registry);
        let tenants = Tenants::new(&mut registry);
        Metrics { registry, families, tenants }
    }

    /// Notes how many entries the tables of a room have.
    pub fn tables(
        &self,
        room: &'static str,
        tables: impl IntoIterator<Item = (&'static str, usize)>,
    ) {
        for (table, count) in tables {
            self.families
                .table_entries
                .get_or_create(&TableLabels { room, table })
                .set(count as i64);
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
                self.families.created.inc();
            }
            Fact::Ended(outcome) => {
                let labels =
                    EndedLabels { state: outcome.state.as_str(), reason: outcome.reason.as_str() };
                self.families.ended.get_or_create(&labels).inc();
            }
            Fact::RecallEnded { result, .. } => self.recalled(channel(), result.as_str()),
            Fact::StepFailed { reason, .. } => {
                self.left(channel(), *reason);
                if *reason == Reason::RouteSaturated {
                    self.families
                        .route_crowded_out
                        .get_or_create(&RouteLabels { route: route() })
                        .inc();
                }
            }
            Fact::StepExpired { .. } => self.left(channel(), Reason::Expired),
            Fact::AttemptPlanned { route, possible_duplicate, .. } => {
                self.families.sends.get_or_create(&RouteLabels { route: route.to_string() }).inc();
                if *possible_duplicate {
                    self.families.possible_duplicates.inc();
                }
            }
            Fact::AttemptAccepted { by: AcceptedBy::Response, .. } => {
                self.answer(route(), "accepted", None)
            }
            // No answer said so.
            Fact::AttemptAccepted { by: AcceptedBy::Receipt, .. } => {}
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
                    self.receipt_delay(channel(), at.since(*told));
                }
            }
            Fact::AttemptStarted { .. } => {
                if let Some(waited) = about.waited {
                    self.families.first_start_seconds.observe(waited.as_secs_f64());
                }
            }
            Fact::LateStatus { status, unnecessary_failover, .. } => {
                self.status(channel(), status.as_str());
                if *unnecessary_failover {
                    self.late_success(true);
                }
            }
            Fact::StatusFailed { failure, .. } | Fact::LateFailure { failure, .. } => {
                self.status(channel(), failure.as_str());
            }
            Fact::LateSuccess { unnecessary_failover, .. } => {
                self.late_success(*unnecessary_failover);
            }
            Fact::StepStarted { .. }
            | Fact::AttemptDue { .. }
            | Fact::StepMet { .. }
            | Fact::StepSkipped { .. }
            | Fact::StepCanceled { .. }
            | Fact::LateSendResult { .. }
            | Fact::RecallStarted { .. }
            | Fact::PartReached { .. }
            | Fact::ContentsErased { .. } => {}
        }
    }

    /// Notes how many workflows of a tenant were open when the service started.
    pub fn open_at_start(&self, tenant: &Arc<str>, count: usize) {
        self.tenants.open_at_start(tenant, count);
    }

    /// Counts rows that are new on the list of opt-outs.
    pub fn opted_out(&self, source: &'static str, count: usize) {
        self.opt_outs(source, "listed", count);
    }

    /// Counts rows that are gone from the list of opt-outs.
    pub fn opt_outs_lifted(&self, source: &'static str, count: usize) {
        self.opt_outs(source, "lifted", count);
    }

    fn opt_outs(&self, source: &'static str, change: &'static str, count: usize) {
        let labels = OptOutLabels { source, change };
        if count > 0 {
            self.families.opt_outs.get_or_create(&labels).inc_by(count as u64);
        }
    }

    /// Counts what persons wrote: what is new, and what was there already.
    pub fn inbound_messages(&self, new: usize, repeated: usize) {
        for (outcome, count) in [("kept", new), ("repeated", repeated)] {
            let labels = OutcomeLabels { outcome };
            if count > 0 {
                self.families.inbound_messages.get_or_create(&labels).inc_by(count as u64);
            }
        }
    }

    /// Counts workflows whose contents were destroyed because they were old enough.
    pub fn contents_aged_out(&self, count: usize) {
        self.contents_destroyed("age", count);
    }

    /// Counts workflows whose contents were erased.
    pub fn contents_erased(&self, count: usize) {
        self.contents_destroyed("erasure", count);
    }

    fn contents_destroyed(&self, cause: &'static str, count: usize) {
        if count > 0 {
            let labels = CauseLabels { cause };
            self.families.contents_destroyed.get_or_create(&labels).inc_by(count as u64);
        }
    }

    /// Notes how often, in all, keys of contents could not be made or noted, and how often one was waited for.
    pub fn content_keys(&self, failures: u64, waits: u64) {
        let families = &self.families;
        for (counter, total) in
            [(&families.content_key_failures, failures), (&families.content_key_waits, waits)]
        {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// Counts receipts of workflows that were erased.
    pub fn receipts_after_erasure(&self, count: usize) {
        self.families.receipts_after_erasure.inc_by(count as u64);
    }

    /// Counts receipts that belong to nothing here.
    pub fn receipts_unmatched(&self, count: usize) {
        self.families.receipts_unmatched.inc_by(count as u64);
    }

    /// Counts creates that were refused because a route could not have started them in time.
    pub fn route_refused(&self, route: &str, creates: u64) {
        let route = route.to_owned();
        self.families.route_refused.get_or_create(&RouteLabels { route }).inc_by(creates);
    }

    /// Notes how many wait for a place on a route, by priority.
    pub fn route_queue(&self, route: &str, waiting: [usize; Priority::ALL.len()]) {
        for (priority, waiting) in Priority::ALL.into_iter().zip(waiting) {
            let labels = QueueLabels { route: route.to_owned(), priority: priority.as_str() };
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            self.families.route_queue.get_or_create(&labels).set(waiting);
        }
    }

    /// Counts receipts of other accounts' attempts.
    pub fn receipts_foreign(&self, count: usize) {
        self.families.receipts_foreign.inc_by(count as u64);
    }

    /// Counts a call under `/receipts` whose `adapter`, `account` or whole `path` is unknown.
    pub fn webhook_unknown_path(&self, unknown: &'static str) {
        self.families.webhooks_unknown_path.get_or_create(&UnknownPathLabels { unknown }).inc();
    }

    /// Notes how many messages an account (`provider/name`) accepted since it last told anything.
    pub fn sends_without_receipt(&self, account: &str, sends: u64) {
        let labels = AccountLabels { account: account.to_owned() };
        self.families
            .sends_without_receipt
            .get_or_create(&labels)
            .set(i64::try_from(sends).unwrap_or(i64::MAX));
    }

    /// Notes whether nothing can be sent through a provider.
    pub fn provider_down(&self, provider: &str, is_down: bool) {
        let labels = ProviderLabels { provider: provider.to_owned() };
        self.families.providers_down.get_or_create(&labels).set(i64::from(is_down));
    }

    /// Counts a panic in an adapter's `send`, or in its provider's `webhook` or `run`, which then stands in
    /// the adapter's place.
    pub fn adapter_panicked(&self, adapter: &str, call: &'static str) {
        let adapter = adapter.to_owned();
        self.families.adapter_panics.get_or_create(&PanicLabels { adapter, call }).inc();
    }

    /// Counts a panic in a handler of requests.
    pub fn handler_panicked(&self) {
        self.families.handler_panics.inc();
    }

    /// Counts a panic in what makes callbacks.
    pub fn callbacks_panicked(&self) {
        self.families.callback_panics.inc();
    }

    /// Notes how long a call to a provider took.
    pub fn call(&self, route: &str, provider: &str, took: Duration) {
        let labels = CallLabels { route: route.to_owned(), provider: provider.to_owned() };
        self.families.call_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Notes how long it took to make a batch durable.
    pub fn commit(&self, took: Duration) {
        self.families.commit_seconds.observe(took.as_secs_f64());
    }

    /// Notes how long a create took, from the edge and back.
    pub fn create(&self, took: Duration) {
        self.families.create_seconds.observe(took.as_secs_f64());
    }

    /// Notes for how long the oldest has waited for a place on a route; zero if none waits.
    pub fn route_queue_age(&self, route: &str, age: Duration) {
        let labels = RouteLabels { route: route.to_owned() };
        self.families.route_queue_age.get_or_create(&labels).set(age.as_secs_f64());
    }

    /// Notes how much may still be written, and whether creates are refused because of it.
    pub fn space(&self, free_bytes: Option<u64>, is_short: bool) {
        let free = free_bytes.map_or(-1, |free| i64::try_from(free).unwrap_or(i64::MAX));
        self.families.store_free_bytes.set(free);
        self.families.store_is_short.set(i64::from(is_short));
    }

    /// Counts a provider's call.
    pub fn webhook(&self, provider: &str, account: &str, verdict: &'static str) {
        let (provider, account) = (provider.to_owned(), account.to_owned());
        let labels = WebhookLabels { provider, account, verdict };
        self.families.webhooks.get_or_create(&labels).inc();
    }

    /// Counts a refused request.
    pub fn refused(&self, code: &'static str) {
        self.families.refused.get_or_create(&CodeLabels { code }).inc();
    }

    /// Counts a credential that was `wrong`, or not looked at (`slowed`).
    pub fn login_failed(&self, outcome: &'static str) {
        self.families.logins_failed.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts callbacks that were `made`, `delivered`, `dead_lettered`, or `dropped`.
    pub fn callbacks(&self, outcome: &'static str, count: usize) {
        self.families.callbacks.get_or_create(&OutcomeLabels { outcome }).inc_by(count as u64);
    }

    /// Counts a try of a callback that is repeated.
    /// `cause` is why no answer came, or the answer's class.
    pub fn callback_retried(&self, problem: &'static str, cause: &'static str) {
        self.families.callback_tries.get_or_create(&ProblemLabels { problem, cause }).inc();
    }

    /// Notes how many callbacks are kept, and when the oldest that waits was made.
    pub fn callbacks_kept(&self, waiting: usize, dead_letters: usize, oldest: Option<UnixMillis>) {
        self.families.callbacks_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.families.callbacks_dead_lettered.set(i64::try_from(dead_letters).unwrap_or(i64::MAX));
        self.families.callbacks_oldest.set(oldest.map_or(0.0, |at| at.0 as f64 / 1000.0));
    }

    /// Counts rows of the journal of which no callbacks were made.
    pub fn callback_rows_missed(&self, count: u64) {
        self.families.callback_rows_missed.inc_by(count);
    }

    /// Counts a broken invariant.
    pub fn invariant_broken(&self, id: &'static str) {
        self.families.broken.get_or_create(&InvariantLabels { id }).inc();
    }

    /// Notes what is open, and how many calls are out.
    pub fn state(&self, open: usize, calls_out: u32, is_restore_locked: bool) {
        self.families.restore_locked.set(i64::from(is_restore_locked));
        self.families.open.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.families.calls_out.set(i64::from(calls_out));
    }

    /// Counts a status stream for as long as what it returns is kept.
    pub fn stream(&self) -> impl Drop + Send + use<> {
        struct StreamGuard(Gauge);
        impl Drop for StreamGuard {
            fn drop(&mut self) {
                self.0.dec();
            }
        }
        self.families.streams.inc();
        StreamGuard(self.families.streams.clone())
    }

    /// Notes a step of the wall clock.
    pub fn clock_stepped(&self, step: Duration) {
        self.families.clock_steps.inc();
        self.families.clock_step_seconds.set(step.as_secs_f64());
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
        self.families
            .answers
            .get_or_create(&AnswerLabels { route, outcome, error, cause, fault })
            .inc();
    }

    fn receipt_delay(&self, channel: String, delay: Duration) {
        let labels = ChannelLabels { channel };
        self.families.receipt_delay_seconds.get_or_create(&labels).observe(delay.as_secs_f64());
    }

    fn late_success(&self, is_unnecessary: bool) {
        self.families.late_successes.inc();
        if is_unnecessary {
            self.families.unnecessary_failovers.inc();
        }
    }

    fn recalled(&self, channel: String, result: &'static str) {
        self.families.recalls.get_or_create(&RecallLabels { channel, result }).inc();
    }

    fn left(&self, channel: String, reason: Reason) {
        self.families
            .steps_failed_over
            .get_or_create(&FailedOverLabels { channel, reason: reason.as_str() })
            .inc();
    }

    fn status(&self, channel: String, status: &'static str) {
        self.families.statuses.get_or_create(&StatusLabels { channel, status }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}
