//! A provider's call, made genuine and handed to the adapter.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dispatch_contract::{Account, UnixMillis, WebhookOutcome};

use super::{ConformanceSubject, NOW, SampleWebhook};

/// The webhook, made genuine.
pub(super) fn signed(subject: &dyn ConformanceSubject, webhook: &SampleWebhook) -> SampleWebhook {
    let mut webhook = webhook.clone();
    subject.sign(&mut webhook);
    webhook
}

pub(super) fn call(subject: &dyn ConformanceSubject, webhook: &SampleWebhook) -> WebhookOutcome {
    call_as(subject, &subject.account("http://127.0.0.1:9"), webhook, NOW)
}

pub(super) fn call_as(
    subject: &dyn ConformanceSubject,
    account: &Account,
    webhook: &SampleWebhook,
    now: UnixMillis,
) -> WebhookOutcome {
    let read = || subject.provider().webhook(&webhook.as_request(), account, now);
    // One that panics is neither genuine nor forged: it fails whatever is asked of it.
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| WebhookOutcome { status: 500, ..WebhookOutcome::forged() })
}
