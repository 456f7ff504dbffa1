//! Which sender goes by which adapter under which account: data, fixed for a turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dispatch_contract::{Account, Channel, ChannelAdapter, Echo, Endpoint, Status};

use super::{FormerNames, account_id};
use crate::machine::{Need, RouteBook, RouteOffer, RouteTraits};

/// A way for a sender's messages on one channel.
#[derive(Clone)]
pub struct Route {
    /// Unique; stands in timelines and metrics.
    pub name: Arc<str>,
    /// Whose messages go by it.
    pub sender: SenderMatch,
    /// What sends them, and on which channel.
    pub adapter: Arc<dyn ChannelAdapter>,
    /// Under which account.
    pub account: Arc<Account>,
    /// How many calls may be out at once.
    pub concurrency: u32,
    /// How long one call may take.
    pub timeout: Duration,
    /// Where the provider should send its receipts.
    pub callback_url: Option<Arc<str>>,
}

/// Whose messages go by a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderMatch {
    /// Everybody's.
    Any,
    /// This sender's: an id or a number.
    Exactly(String),
}

/// The routes, in order of preference.
#[derive(Clone, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    weights: Arc<BTreeMap<Arc<str>, u32>>,
    /// What each route's account is known by.
    accounts: Vec<Arc<str>>,
    former_names: FormerNames,
}

impl RouteTable {
    /// The routes as given: the first that serves is tried first.
    pub fn new(routes: Vec<Route>) -> Self {
        let account = |route: &Route| account_id(route.adapter.provider(), &route.account.name);
        let accounts = routes.iter().map(account).collect();
        RouteTable { routes, accounts, ..RouteTable::default() }
    }

    /// The same, shared by tenants according to these weights: how often a tenant that waits for a route
    /// is served while another is served once. Those that are not named have 1.
    #[must_use]
    pub fn weighted(mut self, weights: BTreeMap<Arc<str>, u32>) -> Self {
        self.weights = Arc::new(weights);
        self
    }

    /// The weights of tenants that have one of their own.
    pub fn weights(&self) -> &Arc<BTreeMap<Arc<str>, u32>> {
        &self.weights
    }

    /// The same, with accounts that had other names before.
    #[must_use]
    pub fn with_former_names(self, former_names: FormerNames) -> Self {
        RouteTable { former_names, ..self }
    }

    /// What accounts were called before.
    pub fn former_names(&self) -> &FormerNames {
        &self.former_names
    }

    /// What the account of a route is known by.
    pub(super) fn account_of(&self, route: &str) -> Option<&Arc<str>> {
        let mut both = self.routes.iter().zip(&self.accounts);
        both.find(|(it, _)| &*it.name == route).map(|(_, account)| account)
    }

    /// All routes.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// The route of that name.
    pub fn get(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| &*route.name == name)
    }

    /// Every channel that some route serves, in order of name.
    pub fn channels(&self) -> BTreeSet<Channel> {
        self.routes.iter().map(|route| route.adapter.channel().clone()).collect()
    }

    /// The routes of a sender on a channel, in order.
    pub fn serving<'a>(
        &'a self,
        channel: &'a Channel,
        sender: &'a Endpoint,
    ) -> impl Iterator<Item = &'a Route> {
        let on_channel = move |route: &&Route| route.adapter.channel() == channel;
        self.routes.iter().filter(on_channel).filter(|route| route.sender.admits(sender))
    }
}

impl RouteBook for RouteTable {
    fn offers(&self, need: &Need) -> Vec<RouteOffer> {
        self.serving(&need.channel, &need.sender)
            .filter(|route| {
                let can = route.adapter.capabilities();
                can.sends(need.content) && need.condition.is_none_or(|status| can.tells(status))
            })
            .map(|route| RouteOffer { route: Arc::clone(&route.name), traits: route.traits() })
            .collect()
    }
}

impl Route {
    /// What it promises, as far as it bears on decisions.
    pub fn traits(&self) -> RouteTraits {
        let can = self.adapter.capabilities();
        RouteTraits {
            idempotent_for_ms: can.idempotent_for.map(|time| time.as_millis() as u64),
            echoes: can.echo == Echo::AttemptId,
            tells_delivered: can.tells(Status::Delivered),
        }
    }
}

impl SenderMatch {
    /// Whether this sender's messages go by it.
    pub fn admits(&self, sender: &Endpoint) -> bool {
        match self {
            SenderMatch::Any => true,
            SenderMatch::Exactly(value) => value == sender.value(),
        }
    }
}

impl std::fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|route| &route.name)).finish()
    }
}
