//! The routes as the engine sees them. Nothing is sent through them: the world takes each order and
//! answers in the provider's stead.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch::engine::{Route, RouteTable, RouteTenants, SenderMatch};
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter,
    ContentKind, Correlation, ErrorKind, Fault, Limits, Message, OptionsForm, Retry, SendContext,
};

use crate::{dice::Dice, scenario::RouteSpec};

/// What a configuration calls each route; nothing where it does not have it.
#[derive(Clone, Debug)]
pub struct Names(Vec<Option<Arc<str>>>);

impl Names {
    /// Each as it was first called.
    pub fn all(specs: &[RouteSpec]) -> Names {
        Names(specs.iter().map(|spec| Some(Arc::clone(&spec.name))).collect())
    }

    /// Now and then somebody takes one out.
    pub fn without_one(mut self, dice: &mut Dice) -> Names {
        if dice.percent(25) {
            let gone = dice.below(self.0.len() as u64) as usize;
            self.0[gone] = None;
        }
        self
    }

    /// Now and then one gets a name that no other has or had, or two change theirs, whatever they serve.
    pub fn renamed(mut self, dice: &mut Dice, number: u64) -> Names {
        let (one, other) = (dice.below(self.0.len() as u64), dice.below(self.0.len() as u64));
        match dice.below(10) {
            0 | 1 => {
                if let Some(name) = &mut self.0[one as usize] {
                    *name = Arc::from(format!("{name}~{number}"));
                }
            }
            2 => self.0.swap(one as usize, other as usize),
            _ => {}
        }
        self
    }

    pub fn of(&self, route: usize) -> Option<&Arc<str>> {
        self.0[route].as_ref()
    }

    /// Which route has this name.
    pub fn route(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|of| of.as_deref() == Some(name))
    }
}

/// The routes that a configuration has.
pub fn table(specs: &[RouteSpec], names: &Names) -> RouteTable {
    let named = specs.iter().zip(&names.0);
    RouteTable::new(named.filter_map(|(spec, name)| Some(route(spec, name.as_ref()?))).collect())
}

fn route(spec: &RouteSpec, name: &Arc<str>) -> Route {
    let can = Capabilities {
        condition_statuses: spec.tells.clone(),
        content: vec![ContentKind::Text],
        captions: Vec::new(),
        limits: Limits { text_chars: 1000, caption_chars: 0, url_bytes: 0 },
        to: vec![AddressForm::Id],
        from: vec![AddressForm::Id],
        idempotent_for: spec.idempotent_ms.map(Duration::from_millis),
        correlation: if spec.echoes { Correlation::AttemptId } else { Correlation::ProviderId },
        recall: spec.recalls,
        parts: spec.in_parts,
        watermarks: spec.watermarks.is_some(),
        ids_name_recipients: false,
        options: OptionsForm::NONE,
    };
    let channel = spec.channel.clone();
    let provider = spec.provider;
    Route {
        name: Arc::clone(name),
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
        external_fields: None,
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
}
