//! Which tenant's sender goes by which adapter under which account: data, fixed for a batch. A
//! reload of the configuration brings another table between two batches.
//!
//! A tenant reaches only routes that name it. A sender that routes name is that of their tenants alone,
//! on every route of the channel: else another could send as it over a route for any sender. One that a
//! tenant registered as its own ([`Senders::owner`](super::Senders::owner)) is its alone on the routes
//! that serve it; on others it says nothing, so that nobody takes a sender away by registering it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dispatch_contract::{
    Account, Channel, ChannelAdapter, ChannelSender, Correlation, Endpoint, ExternalFields,
    Registry, Status,
};

use super::{FormerNames, account_id};
use crate::machine::{RouteCandidate, RouteProperties, RouteRequirement, Router};

/// A way for a sender's messages on one channel.
#[derive(Clone)]
pub struct Route {
    /// Unique; stands in timelines and metrics.
    pub name: Arc<str>,
    /// Which tenants reach it.
    pub tenants: RouteTenants,
    /// Whose messages go by it.
    pub sender: SenderMatch,
    /// What sends them, and on which channel.
    pub adapter: Arc<dyn ChannelAdapter>,
    /// Under which account.
    pub account: Arc<Account>,
    /// Where a sender's own token goes in that account; `None`: its provider takes none.
    pub external_fields: Option<ExternalFields>,
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

/// Which tenants reach a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTenants {
    /// Every tenant.
    All,
    /// These.
    Only(BTreeSet<Arc<str>>),
}

/// The routes, in order of preference.
#[derive(Clone, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    weights: Arc<BTreeMap<Arc<str>, u32>>,
    /// What each route's account is known by.
    accounts: Vec<Arc<str>>,
    former_names: FormerNames,
    /// What runs, whether a route leads there or not.
    registered: Vec<Arc<dyn ChannelAdapter>>,
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

    /// The same, knowing all adapters that run: what holds for a provider is not to change with its routes.
    #[must_use]
    pub fn with_registered(self, registry: &Registry) -> Self {
        RouteTable { registered: registry.iter().cloned().collect(), ..self }
    }

    /// Whether a provider's ids of messages are kept as something that stands for them.
    pub(super) fn has_pseudonyms(&self, provider: &str) -> bool {
        let adapters = || {
            let routed = self.routes.iter().map(|route| &route.adapter);
            routed.chain(&self.registered).filter(|adapter| adapter.provider() == provider)
        };
        adapters().any(|it| it.capabilities().ids_name_recipients)
            && !adapters().any(|it| it.capabilities().recall)
    }

    /// What accounts were called before.
    pub fn former_names(&self) -> &FormerNames {
        &self.former_names
    }

    /// All routes.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// The route of that name.
    pub fn get(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| &*route.name == name)
    }

    /// What the account is known by that the route of that name sends under.
    pub(super) fn account_of(&self, name: &str) -> Option<&Arc<str>> {
        let mut both = self.routes.iter().zip(&self.accounts);
        both.find(|(route, _)| &*route.name == name).map(|(_, account)| account)
    }

    /// Whether messages go the same ways by both, whatever the limits.
    pub(super) fn goes_as(&self, other: &RouteTable) -> bool {
        let mut both = self.routes.iter().zip(&other.routes);
        self.routes.len() == other.routes.len() && both.all(|(one, other)| one.goes_as(other))
    }

    /// Every channel that some route serves, in order of name.
    pub fn channels(&self) -> BTreeSet<Channel> {
        self.routes.iter().map(|route| route.adapter.channel().clone()).collect()
    }

    /// The routes that a tenant reaches; all of them for none.
    pub fn of<'a>(&'a self, tenant: Option<&'a str>) -> impl Iterator<Item = &'a Route> {
        let admits = move |route: &&Route| tenant.is_none_or(|it| route.tenants.admits(it));
        self.routes.iter().filter(admits)
    }

    /// The routes of a tenant's sender on a channel, in order.
    pub fn serving<'a>(
        &'a self,
        tenant: &'a str,
        channel: &'a Channel,
        sender: &'a Endpoint,
    ) -> impl Iterator<Item = &'a Route> {
        let is_open = !self.is_anothers(tenant, channel, sender);
        self.iter().filter(move |route| is_open && route.takes(tenant, channel, sender))
    }

    /// What serves a requirement, in order.
    fn offering<'a>(
        &'a self,
        requirement: &'a RouteRequirement,
    ) -> impl Iterator<Item = RouteCandidate> + 'a {
        let is_open =
            !self.is_anothers(&requirement.tenant, &requirement.channel, &requirement.sender);
        let both = self.routes.iter().zip(&self.accounts);
        both.filter(move |(route, _)| is_open && route.serves(requirement)).map(
            |(route, account)| {
                let (route, properties) = (Arc::clone(&route.name), route.properties());
                RouteCandidate { route, account: Arc::clone(account), properties }
            },
        )
    }

    /// Whether somebody may send from `sender` under an account, known by its present name.
    pub(super) fn has_sender(&self, account: &str, channel: &Channel, sender: &str) -> bool {
        self.routes_of(account, channel, sender).next().is_some()
    }

    fn routes_of<'a>(
        &'a self,
        account: &'a str,
        channel: &'a Channel,
        sender: &'a str,
    ) -> impl Iterator<Item = &'a Route> {
        let of_account = self.routes.iter().zip(&self.accounts);
        let of_account = of_account.filter(move |(_, known_by)| ***known_by == *account);
        of_account.map(|(route, _)| route).filter(move |route| {
            let is_its = match &route.sender {
                SenderMatch::Any => true,
                SenderMatch::Exactly(value) => value == sender,
            };
            is_its && route.adapter.channel() == channel
        })
    }

    /// A sender under an account, known by its present name, on the channel that routes have it on: a provider that is
    /// written to at a number cannot always tell whether that sends SMS, MMS or both.
    pub(super) fn as_routed(&self, account: &str, sender: ChannelSender) -> ChannelSender {
        let other = match &sender.channel {
            channel if *channel == Channel::SMS => Channel::MMS,
            channel if *channel == Channel::MMS => Channel::SMS,
            _ => return sender,
        };
        let is_routed = |channel| self.has_sender(account, channel, &sender.id);
        let is_on_other = !is_routed(&sender.channel) && is_routed(&other);
        if is_on_other { ChannelSender { channel: other, ..sender } } else { sender }
    }

    /// Whose is what is written to a sender under an account, known by its present name: the one tenant that routes
    /// name for that sender; where none is for it, `owner`, who registered it, or the one tenant that its routes name.
    pub(super) fn tenant_of(
        &self,
        account: &str,
        sender: &ChannelSender,
        owner: Option<Arc<str>>,
    ) -> Option<Arc<str>> {
        let of_channel = self.routes.iter().filter(|it| *it.adapter.channel() == sender.channel);
        let is_named = |route: &&Route| match &route.sender {
            SenderMatch::Any => false,
            SenderMatch::Exactly(value) => *value == sender.id,
        };
        let named: Vec<_> = of_channel.filter(is_named).collect();
        if !named.is_empty() {
            return only_tenant(named);
        }
        let any: Vec<_> = self.routes_of(account, &sender.channel, &sender.id).collect();
        let reaches = |owner: &Arc<str>| any.iter().any(|route| route.tenants.admits(owner));
        owner.filter(reaches).or_else(|| only_tenant(any))
    }

    /// A sender under an account, known by its present name, as messages name it.
    pub(super) fn sender_as_named(&self, account: &str, sender: &ChannelSender) -> Endpoint {
        let number = Endpoint::Number(sender.id.clone());
        let is_number = self
            .routes_of(account, &sender.channel, &sender.id)
            .any(|route| route.adapter.capabilities().from.iter().any(|form| form.admits(&number)));
        if is_number { number } else { Endpoint::Id(sender.id.clone()) }
    }

    /// The routes on which a tenant's sender sends under a token of its own, if it has one.
    pub fn under_own_token<'a>(
        &'a self,
        tenant: &'a str,
        channel: &'a Channel,
        sender: &'a str,
    ) -> impl Iterator<Item = &'a Route> {
        self.of(Some(tenant)).filter(move |route| {
            let is_its = match &route.sender {
                SenderMatch::Any => true,
                SenderMatch::Exactly(value) => value == sender,
            };
            is_its && route.external_fields.is_some() && route.adapter.channel() == channel
        })
    }

    /// Whether a tenant's sender may still go by a route, whatever it was planned under. `owner` is who
    /// registered the sender.
    pub fn may_go_by(
        &self,
        route: &Route,
        tenant: &str,
        channel: &Channel,
        sender: &Endpoint,
        owner: Option<&str>,
    ) -> bool {
        route.takes(tenant, channel, sender)
            && route.leaves(sender, tenant, owner)
            && !self.is_anothers(tenant, channel, sender)
    }

    /// Whether routes name this sender, and none of them for this tenant.
    fn is_anothers(&self, tenant: &str, channel: &Channel, sender: &Endpoint) -> bool {
        let names =
            |route: &&Route| route.sender.names(sender) && route.adapter.channel() == channel;
        let mut naming = self.routes.iter().filter(names).peekable();
        naming.peek().is_some() && !naming.any(|route| route.tenants.admits(tenant))
    }
}

impl Router for RouteTable {
    fn candidates(&self, requirement: &RouteRequirement) -> Vec<RouteCandidate> {
        self.offering(requirement).collect()
    }

    fn candidate(&self, route: &str, requirement: &RouteRequirement) -> Option<RouteCandidate> {
        self.offering(requirement).find(|candidate| &*candidate.route == route)
    }

    fn current_account<'a>(&'a self, account: &'a Arc<str>) -> &'a Arc<str> {
        self.former_names.present(account)
    }
}

impl Route {
    /// What it promises, as far as it bears on decisions.
    pub fn properties(&self) -> RouteProperties {
        let can = self.adapter.capabilities();
        RouteProperties {
            idempotent_for_ms: can.idempotent_for.map(|time| time.as_millis() as u64),
            correlates_receipts: can.correlation == Correlation::AttemptId,
            reports_delivered: can.tells(Status::Delivered),
            recalls: can.recall,
            in_parts: can.parts,
            watermarks: can.watermarks,
        }
    }

    /// Whether the same messages go the same way by both.
    fn goes_as(&self, other: &Route) -> bool {
        self.name == other.name
            && self.tenants == other.tenants
            && self.sender == other.sender
            && self.account.name == other.account.name
            && self.adapter.name() == other.adapter.name()
            && self.adapter.channel() == other.adapter.channel()
            && self.adapter.capabilities() == other.adapter.capabilities()
    }

    /// Whether it is for this sender of this tenant, on this channel.
    fn takes(&self, tenant: &str, channel: &Channel, sender: &Endpoint) -> bool {
        self.adapter.channel() == channel
            && self.tenants.admits(tenant)
            && self.sender.admits(sender)
    }

    /// The same, and whether it can do what is needed.
    fn serves(&self, requirement: &RouteRequirement) -> bool {
        let can = self.adapter.capabilities();
        self.takes(&requirement.tenant, &requirement.channel, &requirement.sender)
            && can.sends(requirement.content)
            && requirement.condition.is_none_or(|status| can.tells(status))
            && can.from.iter().any(|form| form.admits(&requirement.sender))
    }

    /// Whether it leaves a sender to a tenant that is registered as `owner`'s.
    pub fn leaves(&self, sender: &Endpoint, tenant: &str, owner: Option<&str>) -> bool {
        let is_anothers = |owner: &str| owner != tenant && self.tenants.admits(owner);
        // What the configuration says of a sender goes before what somebody registered.
        self.sender.names(sender) || !owner.is_some_and(is_anothers)
    }
}

impl RouteTenants {
    /// Whether this tenant reaches it.
    pub fn admits(&self, tenant: &str) -> bool {
        match self {
            RouteTenants::All => true,
            RouteTenants::Only(tenants) => tenants.contains(tenant),
        }
    }
}

impl SenderMatch {
    /// Whether it is for this sender in particular, as a person reads it: `Bank` is taken for `BANK`.
    fn names(&self, sender: &Endpoint) -> bool {
        match self {
            SenderMatch::Any => false,
            SenderMatch::Exactly(value) => as_read(value).eq(as_read(sender.value())),
        }
    }

    /// Whether this sender's messages go by it.
    pub fn admits(&self, sender: &Endpoint) -> bool {
        match self {
            SenderMatch::Any => true,
            SenderMatch::Exactly(value) => value == sender.value(),
        }
    }
}

/// The one tenant that routes name; `None` where they name none or several.
fn only_tenant(routes: Vec<&Route>) -> Option<Arc<str>> {
    let mut tenants = BTreeSet::new();
    for route in routes {
        match &route.tenants {
            RouteTenants::All => return None,
            RouteTenants::Only(named) => tenants.extend(named),
        }
    }
    let only = tenants.pop_first()?;
    tenants.is_empty().then(|| Arc::clone(only))
}

/// A sender without what a person does not see in it.
fn as_read(sender: &str) -> impl Iterator<Item = u8> {
    sender.bytes().filter(|byte| *byte != b' ').map(|byte| byte.to_ascii_lowercase())
}

impl std::fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|route| &route.name)).finish()
    }
}
