//! An adapter in a program of its own, as a provider like any other.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{
    Account, ChannelAdapter, Clock, InboundSink, Probe, Provider, ProviderAccounts, Setting,
    SettingsForm, Shutdown, UnixMillis, WebhookOutcome, WebhookRequest,
};
use tokio::sync::Semaphore;

use crate::{
    adapter::RemoteAdapter,
    call::{request, within},
    checked,
    follow::follow,
    pb, read,
    remote::{Down, Remote},
    target::DialTarget,
    write,
};

/// How long an adapter may take to read a webhook: its provider waits.
const WEBHOOK: Duration = Duration::from_secs(5);
/// What is a large one, in bytes of its body.
const LARGE_WEBHOOK: usize = 256 * 1024;
/// How many large ones are with an adapter at a time. The service has twice as many places for those of all
/// providers: one that hangs shall not hold them all.
const LARGE_WEBHOOKS: usize = 4;
const TOO_MANY: &str = "the adapter has too many large webhooks to read already";

/// An adapter in a program of its own, as a provider like any other.
pub struct RemoteProvider {
    pub(crate) remote: Arc<Remote>,
    adapters: Vec<Arc<dyn ChannelAdapter>>,
    large_webhooks: Semaphore,
    /// What the configuration has for its accounts: what holds until it has told its own form.
    untold: SettingsForm,
}

/// By which a running one is dialled elsewhere.
#[derive(Clone)]
pub struct RemoteHandle(Arc<Remote>);

impl RemoteHandle {
    /// Dials another place from now on. What is under way ends as it began.
    pub fn redial(&self, target: DialTarget) {
        self.0.redial(target);
    }
}

/// What the configuration says of an adapter's accounts and routes.
#[derive(Clone, Debug, Default)]
pub struct ConfiguredUse {
    /// The names of settings in its accounts.
    pub settings: BTreeSet<String>,
    /// The names of secrets in its accounts.
    pub secrets: BTreeSet<String>,
    /// The adapters that routes name.
    pub adapters: BTreeSet<String>,
}

impl RemoteProvider {
    /// The adapter at `target`, which has to call its provider `name`. What it tells of itself is kept in the file
    /// `kept`, if there is to be one, for a start at which it does not answer.
    ///
    /// It is asked now, for as long as `patience`: what it says is what holds. Without an answer that is what was
    /// kept; without that, what `used` names, until it answers for the first time.
    pub async fn dial(
        name: &str,
        target: DialTarget,
        kept: Option<PathBuf>,
        used: &ConfiguredUse,
        patience: Duration,
    ) -> RemoteProvider {
        let remote = Arc::new(Remote::new(name, target, kept));
        if !patience.is_zero() {
            let asked = tokio::time::timeout(patience, remote.ping(patience)).await;
            let (told, serves) = asked.unwrap_or_else(|_| (None, Err(Down::late())));
            if let Some(told) = told {
                remote.take(&told);
            }
            // Nothing that is due is sent into a silence.
            remote.note(serves.err());
        }
        if remote.description().is_none()
            && let Some(told) = remote.read_kept()
        {
            remote.take(&told);
        }
        let mut channels = BTreeSet::new();
        if let Some(described) = remote.description() {
            channels.extend(described.channels.iter().map(|it| it.channel.clone()));
        }
        channels.extend(used.adapters.iter().filter_map(|it| RemoteAdapter::channel_of(name, it)));
        let adapter = |channel| Arc::new(RemoteAdapter::new(Arc::clone(&remote), channel)) as _;
        let adapters = channels.into_iter().map(adapter).collect();
        RemoteProvider { adapters, large_webhooks: large_webhooks(), untold: untold(used), remote }
    }

    /// The adapter at `target`, whatever its provider is called.
    ///
    /// # Errors
    /// If it does not answer in time, or what it tells of itself cannot be used.
    pub(crate) async fn found(
        target: DialTarget,
        patience: Duration,
    ) -> Result<RemoteProvider, String> {
        let place = target.to_string();
        let asked = Remote::new("", target.clone(), None).describe(patience).await;
        let told = asked.map_err(|problem| format!("the adapter at {place}: {}", problem.why))?;
        let name = told.provider.clone();
        checked::check(&told, &name)
            .map_err(|problem| format!("the adapter at {place}: {problem}"))?;
        let remote = Arc::new(Remote::new(&name, target, None));
        remote.take(&told);
        let described = remote.description().into_iter().flat_map(|it| &it.channels);
        let adapters = described
            .map(|it| Arc::new(RemoteAdapter::new(Arc::clone(&remote), it.channel.clone())) as _)
            .collect();
        let (large_webhooks, untold) = (large_webhooks(), SettingsForm(&[]));
        Ok(RemoteProvider { adapters, large_webhooks, untold, remote })
    }

    /// What it told of itself, if it ever did.
    pub(crate) fn told(&self) -> Option<&pb::DescribeResponse> {
        Some(&self.remote.description()?.told)
    }

    /// By which it is dialled elsewhere while it runs.
    pub fn handle(&self) -> RemoteHandle {
        RemoteHandle(Arc::clone(&self.remote))
    }
}

fn large_webhooks() -> Semaphore {
    Semaphore::new(LARGE_WEBHOOKS)
}

/// A form that has whatever the configuration has.
fn untold(used: &ConfiguredUse) -> SettingsForm {
    let name = |name: &String| -> &'static str { name.clone().leak() };
    let sentence = "not known until the adapter has told its form";
    let settings = used.settings.iter().map(|it| Setting::plain(name(it), sentence));
    let secrets = used.secrets.iter().map(|it| Setting::secret(name(it), sentence));
    SettingsForm(settings.chain(secrets).collect::<Vec<_>>().leak())
}

#[async_trait]
impl Provider for RemoteProvider {
    fn name(&self) -> &str {
        &self.remote.name
    }

    fn settings(&self) -> SettingsForm {
        self.remote.description().map_or(self.untold, |described| described.settings)
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        self.adapters.clone()
    }

    /// Asks the adapter.
    async fn take_webhook(
        &self,
        call: &WebhookRequest<'_>,
        account: &Account,
        now: UnixMillis,
    ) -> Result<WebhookOutcome, String> {
        let Some(described) = self.remote.description() else {
            return Err("the adapter has never told whether it reads webhooks".to_owned());
        };
        if !described.told.reads_webhooks {
            return Ok(WebhookOutcome::forged());
        }
        if let Some(down) = self.remote.down() {
            return Err(format!("the adapter is down: {}", down.why));
        }
        let _place = match call.body.len() > LARGE_WEBHOOK {
            true => Some(self.large_webhooks.try_acquire().map_err(|_| TOO_MANY.to_owned())?),
            false => None,
        };
        let asked = request(write::webhook(call, account, now), WEBHOOK);
        let asked = async { within(WEBHOOK, self.remote.client()?.read_webhook(asked)).await };
        let told = asked.await.map_err(|problem| {
            if problem.may_mean_down() {
                self.remote.lost.notify_one();
            }
            problem.why
        })?;
        let (outcome, refused) = read::webhook(told)?;
        if let Some(first) = refused.first() {
            self.remote.refuse(first, refused.len());
        }
        Ok(outcome)
    }

    async fn probe(&self, account: &Account, _now: UnixMillis, timeout: Duration) -> Probe {
        let told = async {
            let (told, serves) = self.remote.ping(timeout).await;
            serves.map_err(|down| down.why)?;
            if !told.is_some_and(|told| told.probes) {
                return Err("the adapter has no call that tells without sending".to_owned());
            }
            let asked = pb::ProbeRequest { account: Some(write::account(account)) };
            let asked = request(asked, timeout);
            let asked = async { within(timeout, self.remote.client()?.probe(asked)).await };
            asked.await.map_err(|problem| problem.why)
        };
        match tokio::time::timeout(timeout, told).await {
            Ok(Ok(told)) => read::probed(&told),
            Ok(Err(why)) => Probe::CannotBeAsked(format!("adapter {}: {why}", self.remote.name)),
            Err(_) => Probe::CannotBeAsked(format!(
                "adapter {}: no answer came in time",
                self.remote.name
            )),
        }
    }

    fn down(&self) -> Option<String> {
        self.remote.down().map(|down| down.why)
    }

    async fn run(
        &self,
        accounts: Arc<dyn ProviderAccounts>,
        sink: Arc<dyn InboundSink>,
        _clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) {
        follow(&self.remote, &*accounts, &*sink, shutdown).await;
    }
}
