//! What accounts are called: a receipt counts for what was STARTED under the account that it came by,
//! also if that had another name then.

use std::{collections::HashMap, sync::Arc};

use dispatch_contract::ChannelSender;

use crate::machine::RouteRequirement;

/// What an account is known by, as `provider/name`: accounts of two providers may share a name.
pub fn account_id(provider: &str, name: &str) -> Arc<str> {
    Arc::from(format!("{provider}/{name}"))
}

/// Whose messages alone something counts for that came by an account: a sender's own credential verified it,
/// and that says nothing about what others sent by the same route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptScope {
    tenants: Vec<Arc<str>>,
    sender: ChannelSender,
}

impl ReceiptScope {
    /// That sender's messages of these tenants.
    pub fn new(tenants: Vec<Arc<str>>, sender: ChannelSender) -> Self {
        ReceiptScope { tenants, sender }
    }

    /// Whose messages.
    pub(super) fn tenants(&self) -> &[Arc<str>] {
        &self.tenants
    }

    /// Whether it is about this sender's messages.
    pub(super) fn is_of(&self, sender: &ChannelSender) -> bool {
        self.sender == *sender
    }

    /// Whether it counts for a message that needed this of its route.
    pub(super) fn admits(&self, requirement: &RouteRequirement) -> bool {
        self.sender.channel == requirement.channel
            && self.sender.id == requirement.sender.value()
            && self.tenants.contains(&requirement.tenant)
    }

    /// What an account is known by in what is held for this sender, of each tenant.
    pub(super) fn ids<'a>(&'a self, account: &'a str) -> impl Iterator<Item = Arc<str>> + 'a {
        let ChannelSender { channel, id } = &self.sender;
        self.tenants.iter().map(move |tenant| own_id(account, tenant, channel.as_str(), id))
    }
}

/// What an account is known by in what is held for one sender with a credential of its own.
pub(super) fn sender_account_id(account: &str, requirement: &RouteRequirement) -> Arc<str> {
    let RouteRequirement { tenant, channel, sender, .. } = requirement;
    own_id(account, tenant, channel.as_str(), sender.value())
}

/// No part but the last has a slash.
fn own_id(account: &str, tenant: &str, channel: &str, sender: &str) -> Arc<str> {
    Arc::from(format!("{account}/{tenant}/{channel}/{sender}"))
}

/// The accounts that had other names before.
#[derive(Clone, Debug, Default)]
pub struct FormerNames {
    present: HashMap<Arc<str>, Arc<str>>,
    former: HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl FormerNames {
    /// Of pairs: what an account is known by now, and what it was known by before.
    pub fn new(renamed: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let mut names = FormerNames::default();
        for (now, before) in renamed {
            names.former.entry(Arc::clone(&now)).or_default().push(Arc::clone(&before));
            names.present.insert(before, now);
        }
        names
    }

    /// What the account of this name is known by now.
    pub fn present<'a>(&'a self, account: &'a Arc<str>) -> &'a Arc<str> {
        self.present.get(account).unwrap_or(account)
    }

    /// The same for what is held, which may be a sender's alone.
    pub(super) fn present_of_held(&self, account: &Arc<str>) -> Arc<str> {
        let name_ends = account.match_indices('/').nth(1).map(|(at, _)| at);
        let Some((base, of)) = name_ends.map(|at| account.split_at(at)) else {
            return Arc::clone(self.present(account));
        };
        Arc::from(format!("{}{of}", self.present(&Arc::from(base))))
    }

    /// What an account was known by before.
    pub fn former(&self, account: &str) -> &[Arc<str>] {
        self.former.get(account).map_or(&[], Vec::as_slice)
    }
}
