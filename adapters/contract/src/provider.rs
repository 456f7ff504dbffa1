//! A provider: its accounts, its channels, and what it tells.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    Account, Channel, ChannelAdapter, ChannelSender, Clock, ExternalFields, InboundSink, Probe,
    SettingsForm, UnixMillis, WebhookOutcome, WebhookRequest,
};

/// A company, or the sandbox, that sends on channels: what its channels share.
///
/// Object-safe; registered in a [`Registry`](crate::Registry) when the service starts, and then fixed. It
/// holds no account: those are data, handed in with each call, and may change while the service runs.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Unique in a service: `vonage`. It stands in the configuration, in metrics and in webhook URLs, so
    /// it has 1 to 32 characters of `a-z`, `0-9`, `-` and `_`.
    fn name(&self) -> &str;

    /// What an account has to hold. The configuration is checked by it before anything else here is asked
    /// about an account, and the provider's page is written from it.
    fn settings(&self) -> SettingsForm;

    /// What is wrong with an account beyond its form: settings that need each other, a key that is none.
    /// Called when a configuration is read; it asks nobody. Each problem is one sentence that names
    /// settings, says what would be right and shows no value.
    fn check(&self, _account: &Account) -> Vec<String> {
        Vec::new()
    }

    /// What keeps receipts of this account from coming, as far as that lies with `url`: what
    /// [`SendContext::callback_url`](crate::SendContext::callback_url) will hold. For providers who learn with
    /// each message where to report. Called as [`check`](Self::check) is; it is warned of and refuses nothing.
    /// One sentence that says what to set.
    fn check_callback_url(&self, _account: &Account, _url: Option<&str>) -> Option<String> {
        None
    }

    /// Its adapters, one for each channel. The same ones with every call.
    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>>;

    /// Where a tenant's own account on a channel goes in an account of this provider: the messages of such
    /// a sender go out under it. The same for each channel as long as the service runs.
    ///
    /// `None`, as by default: calls carry the credential of the configured account, whoever sends. Then an
    /// external account on this channel changes nothing about them, and whoever made it is told so.
    fn external_fields(&self, _channel: &Channel) -> Option<ExternalFields> {
        None
    }

    /// Which sender a call to a webhook says that it is about, read before anything of it is verified.
    ///
    /// For providers who sign with what the sender brought. What the configured account does not verify is
    /// handed to [`webhook`](Self::webhook) again, under the account of each tenant that brought this sender,
    /// and what one of those verifies counts for that sender's messages of that tenant alone. So nothing has
    /// to be believed of the answer. Pure and total as `webhook` is.
    ///
    /// `None`, as by default: one secret of the configured account signs for all of its senders.
    fn webhook_sender(&self, _request: &WebhookRequest<'_>) -> Option<ChannelSender> {
        None
    }

    /// Checks and reads a call of the provider's to this account's webhook URL, for all its channels.
    ///
    /// - Pure: no I/O, and the time is passed in (raw wall clock, for the age of signatures).
    /// - It may be called by several threads at once, and with the same request again: equal calls give
    ///   equal outcomes.
    /// - Total: whatever the bytes are, it answers. What is genuine and not understood is answered 2xx,
    ///   because a repeat would not be understood either.
    ///
    /// The default is for a provider that never calls: nothing is genuine.
    fn webhook(
        &self,
        _request: &WebhookRequest<'_>,
        _account: &Account,
        _now: UnixMillis,
    ) -> WebhookOutcome {
        WebhookOutcome::forged()
    }

    /// [`webhook`](Self::webhook), as the service asks for it. By default that itself; only a provider whose code
    /// is in another program has something to wait for. It ends within seconds: whoever called waits, too.
    ///
    /// # Errors
    /// If nothing is known of the call, not even whether it is genuine: the provider is asked to send it again.
    /// Why, for the log; without anything personal.
    async fn take_webhook(
        &self,
        request: &WebhookRequest<'_>,
        account: &Account,
        now: UnixMillis,
    ) -> Result<WebhookOutcome, String> {
        Ok(self.webhook(request, account, now))
    }

    /// Whether the provider takes an account's credential: one call that sends nothing and changes nothing,
    /// as a person asks for it who has just configured the account.
    ///
    /// - It ends within `timeout`. `now` is the raw wall clock, for tokens.
    /// - Only what the provider said decides: who was not reached refused nothing.
    ///
    /// The default is for a provider that has no such call.
    async fn probe(&self, _account: &Account, _now: UnixMillis, _timeout: Duration) -> Probe {
        Probe::CannotBeAsked("this provider has no call that tells without sending".to_owned())
    }

    /// Why nothing can be sent through it at present, as half a sentence: the program that it is part of does not
    /// answer. `None`, as by default: nothing is known to stand in the way. It asks nobody.
    fn down(&self) -> Option<String> {
        None
    }

    /// Runs for as long as the service does; for providers with whom a connection is kept, or who are
    /// asked for receipts.
    ///
    /// - `accounts` are those of this provider that are configured, from the start on, and tell when they
    ///   changed. External accounts are not among them.
    /// - It returns soon after `shutdown` is ready. Returning before that is for good: it is not begun again.
    /// - One that panics is begun again after a rest, with the same accounts.
    async fn run(
        &self,
        _accounts: Arc<dyn ProviderAccounts>,
        _sink: Arc<dyn InboundSink>,
        _clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) {
        shutdown.await;
    }
}

/// The accounts of one provider, as they are configured.
#[async_trait]
pub trait ProviderAccounts: Send + Sync {
    /// Those in force now, each once, by its present name.
    fn now(&self) -> Vec<Arc<Account>>;

    /// Ready once they may be others than [`now`](Self::now) gave last.
    async fn changed(&self);

    /// Where the provider is to call for an account of this name: what
    /// [`SendContext::callback_url`](crate::SendContext::callback_url) holds under it. For providers who are told once
    /// where an account's webhooks go. `None`, as by default, where the service has no public address.
    fn callback_url(&self, _account: &str) -> Option<String> {
        None
    }
}

/// Ready once the service stops.
pub type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;
