//! The routes as the engine sees them. Nothing is sent through them: the world takes each order and
//! answers in the provider's stead.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch::engine::{Route, RouteTable, RouteTenants, SenderMatch};
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter,
    ContentKind, Echo, ErrorKind, Fault, Limits, Message, Retry, SendContext, UnixMillis,
    WebhookOutcome, WebhookRequest,
};

use crate::scenario::RouteSpec;

/// The routes but the one that is gone.
pub fn table(specs: &[RouteSpec], gone: Option<usize>) -> Arc<RouteTable> {
    let kept = specs.iter().enumerate().filter(|(index, _)| Some(*index) != gone);
    Arc::new(RouteTable::new(kept.map(|(_, spec)| route(spec)).collect()))
}

fn route(spec: &RouteSpec) -> Route {
    let can = Capabilities {
        condition_statuses: spec.tells.clone(),
        content: vec![ContentKind::Text],
        captions: Vec::new(),
        limits: Limits { text_chars: 1000, caption_chars: 0, url_bytes: 0 },
        to: vec![AddressForm::Id],
        from: vec![AddressForm::Id],
        idempotent_for: spec.idempotent_ms.map(Duration::from_millis),
        echo: if spec.echoes { Echo::AttemptId } else { Echo::Nothing },
        recall: false,
        batch: 1,
    };
    let channel = spec.channel.clone();
    let provider = spec.provider;
    Route {
        name: Arc::clone(&spec.name),
        tenants: RouteTenants::All,
        sender: SenderMatch::Any,
        adapter: Arc::new(Declared { channel, provider, can }),
        account: Arc::new(Account {
            name: spec.account.to_owned(),
            revision: 1,
            settings: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }),
        concurrency: spec.concurrency,
        timeout: Duration::from_millis(spec.timeout_ms),
        callback_url: None,
    }
}

/// An adapter that only declares.
struct Declared {
    channel: Channel,
    provider: &'static str,
    can: Capabilities,
}

#[async_trait]
impl ChannelAdapter for Declared {
    fn name(&self) -> &str {
        self.provider
    }

    fn provider(&self) -> &str {
        self.provider
    }

    fn channel(&self) -> &Channel {
        &self.channel
    }

    fn capabilities(&self) -> &Capabilities {
        &self.can
    }

    async fn send(&self, _: &SendContext<'_>, _: &Message) -> Result<Accepted, AdapterError> {
        let text = "the world answers in its stead";
        Err(AdapterError::new(ErrorKind::Unreachable, Fault::Account, Retry::Permanent, text))
    }

    fn webhook(&self, _: &WebhookRequest<'_>, _: &Account, _: UnixMillis) -> WebhookOutcome {
        WebhookOutcome::not_understood()
    }
}
