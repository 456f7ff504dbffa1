//! The configured routes, as far as a tenant reaches them, as the rules that workflows are checked
//! against.

use std::{collections::BTreeSet, sync::Arc};

use dispatch_contract::{Channel, ChannelAdapter, Endpoint};

use super::Rules;
use crate::{
    access::{Access, PersonalWords},
    engine::{Engine, RouteTable, SenderMatch, Senders},
};

/// What a tenant may send by, and what of its own words is personal.
#[derive(Clone)]
pub(crate) struct TenantRoutes<'a> {
    routes: &'a RouteTable,
    tenant: &'a str,
    senders: Option<&'a dyn Senders>,
    personal: Arc<PersonalWords>,
}

impl<'a> TenantRoutes<'a> {
    /// By the routes that are in force in a running service.
    pub(crate) fn of(
        engine: &'a Engine,
        access: &Access,
        routes: &'a RouteTable,
        tenant: &'a str,
    ) -> Self {
        let (senders, personal) = (Some(engine.senders()), access.personal_words(tenant));
        TenantRoutes { routes, tenant, senders, personal }
    }

    /// By these routes, where nobody registered a sender.
    pub(crate) fn only(routes: &'a RouteTable, tenant: &'a str) -> Self {
        TenantRoutes { routes, tenant, senders: None, personal: Arc::default() }
    }
}

impl Rules for TenantRoutes<'_> {
    fn channels(&self) -> Vec<Channel> {
        let channels =
            self.routes.of(Some(self.tenant)).map(|route| route.adapter.channel().clone());
        channels.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn serving(&self, channel: &Channel, sender: &Endpoint) -> Vec<Arc<dyn ChannelAdapter>> {
        let owner = self.senders.and_then(|senders| senders.owner(channel, sender));
        let serving = self.routes.serving(self.tenant, channel, sender);
        serving
            .filter(|route| route.leaves(sender, self.tenant, owner.as_deref()))
            .map(|route| Arc::clone(&route.adapter))
            .collect()
    }

    fn senders(&self, channel: &Channel) -> Vec<String> {
        let reached = self.routes.of(Some(self.tenant));
        let named: BTreeSet<_> = reached
            .filter(|route| route.adapter.channel() == channel)
            .filter_map(|route| match &route.sender {
                SenderMatch::Any => None,
                SenderMatch::Exactly(value) => Some(value.clone()),
            })
            .collect();
        named.into_iter().collect()
    }

    fn is_personal_label(&self, key: &str) -> bool {
        self.personal.labels.contains(key)
    }

    fn is_client_ref_personal(&self) -> bool {
        self.personal.client_ref
    }
}
