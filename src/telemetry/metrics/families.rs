//! Every metric family: its name, what it counts, and its labels.
//!
//! Labels are from closed lists or from the configuration: never a number, an id or a text.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

/// A table of `field: type = name, help` and, where it is not all at zero, how it is made.
macro_rules! families {
    ($($field:ident: $kind:ty = $name:literal, $help:literal $(, $made:expr)?;)*) => {
        /// The families, as they are counted.
        #[derive(Debug)]
        pub(super) struct MetricFamilies {
            $(pub(super) $field: $kind,)*
        }

        impl MetricFamilies {
            /// All at zero, shown by `registry`.
            pub(super) fn register(registry: &mut Registry) -> Self {
                MetricFamilies {
                    $($field: registered(registry, $name, $help, families!(@made $($made)?)),)*
                }
            }
        }
    };
    (@made) => { Default::default() };
    (@made $made:expr) => { $made };
}

fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

families! {
    created: Counter = "workflows_created",
        "Workflows created";
    ended: Family<EndedLabels, Counter> = "workflows_ended",
        "Workflows ended, by state and reason";
    steps_failed_over: Family<FailedOverLabels, Counter> = "steps_failed_over",
        "Steps that failed or expired, by channel and reason";
    sends: Family<RouteLabels, Counter> = "attempts_planned",
        "Attempts planned, by route";
    answers: Family<AnswerLabels, Counter> = "answers",
        "Answers of providers, by route, outcome, error, cause (of no connection) and fault";
    possible_duplicates: Counter = "possible_duplicate_sends",
        "Messages sent once more although the first may have gone out";
    late_successes: Counter = "late_successes",
        "Steps that reached their condition after they had failed over";
    unnecessary_failovers: Counter = "unnecessary_failovers",
        "Late successes that came after a further message had been sent";
    recalls: Family<RecallLabels, Counter> = "recalls",
        "Messages that were asked back when their step's time was over, by channel and what came of it";
    statuses: Family<StatusLabels, Counter> = "message_statuses",
        "Statuses that messages reached, by channel";
    webhooks: Family<WebhookLabels, Counter> = "webhooks",
        "Webhook calls, by provider, account and verdict";
    opt_outs: Family<OptOutLabels, Counter> = "opt_outs",
        "Opt-outs that were put on the list or lifted, by who said so";
    inbound_messages: Family<OutcomeLabels, Counter> = "inbound_messages",
        "What persons wrote to senders: kept, or told again and passed over";
    contents_destroyed: Family<CauseLabels, Counter> = "contents_destroyed",
        "Workflows whose contents were destroyed, by cause: age, or erasure";
    content_key_failures: Counter = "content_key_failures",
        "How often no keys of contents could be made, or not be noted whose they are: creates fail without keys";
    content_key_waits: Counter = "content_key_waits",
        "How often a create, or a row, waited for the disk until there was a key for it";
    receipts_unmatched: Counter = "receipts_unmatched",
        "Receipts that belong to no message of this service";
    receipts_after_erasure: Counter = "receipts_after_erasure",
        "Receipts of workflows whose contents were erased: nothing of them is kept";
    route_queue: Family<QueueLabels, Gauge> = "route_queue",
        "Attempts that wait for a permit of a route, by route and priority";
    route_refused: Family<RouteLabels, Counter> = "route_creates_refused",
        "Creates refused because no route could start them in time, by the soonest route";
    route_crowded_out: Family<RouteLabels, Counter> = "route_crowded_out",
        "Attempts that got no permit within send_within (ROUTE_SATURATED), by route";
    receipts_foreign: Counter = "receipts_of_other_accounts",
        "Receipts that name an attempt of this service, and came by another account than it was \
         started under: they change nothing";
    webhooks_unknown_path: Family<UnknownPathLabels, Counter> = "webhooks_unknown_path",
        "Calls under /receipts that name no adapter or account of this service, by which it is";
    sends_without_receipt: Family<AccountLabels, Gauge> = "sends_without_receipt",
        "Messages that an account accepted since it last told anything of one";
    providers_down: Family<ProviderLabels, Gauge> = "provider_down",
        "Whether nothing can be sent through a provider, because its adapter in a program of its own does not \
         answer: 1 if so";
    adapter_panics: Family<PanicLabels, Counter> = "adapter_panics",
        "Calls into an adapter that panicked, by adapter and call: always a bug";
    handler_panics: Counter = "handler_panics",
        "Requests (HTTP or gRPC) whose handler panicked: always a bug";
    callback_panics: Counter = "callback_panics",
        "Panics over the making of callbacks: always a bug";
    refused: Family<CodeLabels, Counter> = "requests_refused",
        "Requests refused, by gRPC code";
    logins_failed: Family<OutcomeLabels, Counter> = "logins_failed",
        "Credentials not taken: wrong, or slowed (too many from that address were wrong)";
    broken: Family<InvariantLabels, Counter> = "invariants_broken",
        "Invariants found broken: always a bug";
    open: Gauge = "workflows_open",
        "Workflows that have not ended";
    restore_locked: Gauge = "restore_locked",
        "1 while nothing is sent because the store was restored";
    streams: Gauge = "streams_open",
        "Status streams that are being fed";
    calls_out: Gauge = "calls_out",
        "Calls to providers that are out";
    clock_steps: Counter = "clock_steps",
        "How often the wall clock was set by more than 5 s";
    clock_step_seconds: Gauge<f64, AtomicU64> = "clock_step_seconds",
        "How far the wall clock was set at once, when that last was more than 5 s";
    callbacks: Family<OutcomeLabels, Counter> = "callbacks",
        "Callbacks to applications: made, and delivered, dead-lettered or dropped in the end";
    callback_tries: Family<ProblemLabels, Counter> = "callback_retries",
        "Tries of callbacks that did not succeed and are repeated, by what was wrong and its \
         cause";
    callbacks_waiting: Gauge = "callbacks_waiting",
        "Callbacks still to be delivered";
    callbacks_dead_lettered: Gauge = "callbacks_dead_lettered",
        "Callbacks that were given up and are kept, to be resent";
    callbacks_oldest: Gauge<f64, AtomicU64> = "callbacks_oldest_timestamp_seconds",
        "When the oldest callback that still waits was made, in Unix time; 0 if none waits";
    callback_rows_missed: Counter = "callback_rows_missed",
        "Journal rows, at most, that retention dropped before callbacks were made of them";
    call_seconds: Family<CallLabels, Histogram, fn() -> Histogram> = "call_seconds",
        "How long calls to providers took, by route and provider",
        Family::new_with_constructor(quick as fn() -> Histogram);
    commit_seconds: Histogram = "commit_seconds",
        "How long it took to make a batch durable",
        quick();
    create_seconds: Histogram = "create_seconds",
        "How long creates waited for the writer and its commit, refused ones too",
        quick();
    first_start_seconds: Histogram = "first_start_seconds",
        "From a workflow's creation, or its send_at, to its first call",
        slow();
    receipt_delay_seconds: Family<ChannelLabels, Histogram, fn() -> Histogram> = "receipt_delay_seconds",
        "From the time that a provider gives for a status to its arrival, by channel",
        Family::new_with_constructor(slow as fn() -> Histogram);
    route_queue_age: Family<RouteLabels, Gauge<f64, AtomicU64>> = "route_queue_age_seconds",
        "For how long the oldest that waits for a permit of a route has waited, by route";
    store_free_bytes: Gauge = "store_free_bytes",
        "How much may still be written where the store is; -1 if that is not known";
    store_is_short: Gauge = "store_is_short",
        "1 while creates are refused because the disk is nearly full";
    table_entries: Family<TableLabels, Gauge> = "table_entries",
        "How many entries each table in memory has, by room and table; looked at every ten \
         seconds";
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
pub(super) struct CallLabels {
    pub(super) route: String,
    pub(super) provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TableLabels {
    pub(super) room: &'static str,
    pub(super) table: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ChannelLabels {
    pub(super) channel: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndedLabels {
    pub(super) state: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FailedOverLabels {
    pub(super) channel: String,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabels {
    pub(super) route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct QueueLabels {
    pub(super) route: String,
    pub(super) priority: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AnswerLabels {
    pub(super) route: String,
    pub(super) outcome: &'static str,
    pub(super) error: &'static str,
    pub(super) cause: &'static str,
    pub(super) fault: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StatusLabels {
    pub(super) channel: String,
    pub(super) status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OptOutLabels {
    pub(super) source: &'static str,
    pub(super) change: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RecallLabels {
    pub(super) channel: String,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WebhookLabels {
    pub(super) provider: String,
    pub(super) account: String,
    pub(super) verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UnknownPathLabels {
    pub(super) unknown: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AccountLabels {
    pub(super) account: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProviderLabels {
    pub(super) provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PanicLabels {
    pub(super) adapter: String,
    pub(super) call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CodeLabels {
    pub(super) code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CauseLabels {
    pub(super) cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProblemLabels {
    pub(super) problem: &'static str,
    pub(super) cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct InvariantLabels {
    pub(super) id: &'static str,
}
