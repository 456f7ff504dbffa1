//! The configured routes as the rules that workflows are checked against.

use std::{collections::BTreeSet, sync::Arc};

use dispatch_contract::{Channel, ChannelAdapter, Endpoint};

use super::Rules;
use crate::engine::{RouteTable, SenderMatch};

impl Rules for RouteTable {
    fn channels(&self) -> Vec<Channel> {
        RouteTable::channels(self).into_iter().collect()
    }

    fn serving(&self, channel: &Channel, sender: &Endpoint) -> Vec<Arc<dyn ChannelAdapter>> {
        RouteTable::serving(self, channel, sender).map(|route| Arc::clone(&route.adapter)).collect()
    }

    fn senders(&self, channel: &Channel) -> Vec<String> {
        let on_channel = self.iter().filter(|route| route.adapter.channel() == channel);
        let named: BTreeSet<_> = on_channel
            .filter_map(|route| match &route.sender {
                SenderMatch::Any => None,
                SenderMatch::Exactly(value) => Some(value.clone()),
            })
            .collect();
        named.into_iter().collect()
    }
}
