//! Checks what is heard of a provider otherwise than by its calls: whatever [`Provider::run`] takes in.
//!
//! [`Provider::run`]: dispatch_contract::Provider::run

use std::{
    io,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dispatch_contract::{
    Account, Busy, Clock, Failure, Inbound, InboundSink, ProviderAccounts, Report, SendContext,
    Shutdown, SinkClosed, Status, UnixMillis,
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    ConformanceSubject, Findings, NOW, PlayedProvider, any_sample, attempt,
    played::TIMEOUT,
    webhooks::{promise, read_as},
};

/// The suite's time: [`NOW`] when it is asked for first, and from then on as time goes.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SuiteClock)
}

struct SuiteClock;

#[async_trait]
impl Clock for SuiteClock {
    fn now(&self) -> UnixMillis {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        NOW + BEGUN.get_or_init(Instant::now).elapsed()
    }

    fn wall(&self) -> UnixMillis {
        self.now()
    }

    async fn sleep_until(&self, at: UnixMillis) -> Busy {
        tokio::time::sleep(Duration::from_millis(at.0.saturating_sub(self.now().0))).await;
        Busy::untracked()
    }
}

/// What is told so is heard, once, and matched.
pub(super) async fn check(subject: &dyn ConformanceSubject) -> io::Result<Findings> {
    let mut findings = Findings::default();
    let reached = [Status::Delivered, Status::Read, Status::Replied].map(Report::Reached);
    let failed = [Failure::Rejected, Failure::Undeliverable].map(Report::Failed);
    for report in reached.into_iter().chain(failed) {
        if let Some(provider) = subject.play_report(report) {
            hears(subject, report, &*provider?, &mut findings).await;
        }
    }
    Ok(findings)
}

async fn hears(
    subject: &dyn ConformanceSubject,
    report: Report,
    provider: &dyn PlayedProvider,
    findings: &mut Findings,
) {
    let promise = promise(report);
    let Some(message) = any_sample(subject) else { return };
    let account = Arc::new(subject.account(&provider.address()));
    let context = SendContext {
        attempt: attempt(),
        account: &account,
        callback_url: None,
        useful_for: None,
        now: NOW,
        timeout: TIMEOUT,
    };
    let (sink, mut heard) = mpsc::unbounded_channel();
    let run = subject.provider().run(
        Arc::new(OneAccount(Arc::clone(&account))),
        Arc::new(Ear(sink)),
        clock(),
        Box::pin(std::future::pending()) as Shutdown,
    );
    let told = async {
        let sent = subject.adapter().send(&context, &message).await;
        (sent, timeout(TIMEOUT, heard.recv()).await.ok().flatten())
    };
    let (sent, told) = tokio::select! {
        // First: it has to listen by the time at which something is sent.
        biased;
        () = run => {
            findings.check(promise, false, || "run ended, although nobody stopped it".to_owned());
            return;
        }
        told = told => told,
    };
    let what = format!("{report:?} by run");
    findings.check(promise, sent.is_ok(), || format!("{what}: the sample gives {sent:?}"));
    let by = told.as_ref().map(|(by, _)| by.as_str());
    findings.check(promise, by == Some(account.name.as_str()), || {
        format!("{what} is told of account {by:?}, and not of {:?}", account.name)
    });
    let known = provider.given_id().unwrap_or_else(|| subject.sample_id().to_owned());
    let inbound = told.map(|(_, inbound)| inbound).unwrap_or_default();
    read_as(subject, &what, (report, &known), &inbound, findings);
}

/// Keeps what it is handed, with the account that it was heard by.
struct Ear(mpsc::UnboundedSender<(String, Vec<Inbound>)>);

#[async_trait]
impl InboundSink for Ear {
    async fn deliver(&self, account: &str, inbound: Vec<Inbound>) -> Result<(), SinkClosed> {
        self.0.send((account.to_owned(), inbound)).map_err(|_| SinkClosed)
    }
}

struct OneAccount(Arc<Account>);

#[async_trait]
impl ProviderAccounts for OneAccount {
    fn now(&self) -> Vec<Arc<Account>> {
        vec![Arc::clone(&self.0)]
    }

    async fn changed(&self) {
        std::future::pending().await
    }
}
