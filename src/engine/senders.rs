//! Whose credential a sender sends under: the one thing about accounts that may change while the
//! service runs, asked anew at every call.

use std::sync::Arc;

use dispatch_contract::{Account, Channel, ChannelSender, Endpoint, ExternalFields};
use uuid::Uuid;

/// Knows which senders have a credential of their own. The engine has none of that knowledge.
pub trait Senders: Send + Sync {
    /// `base`, the account of the route, as this sender of this tenant's uses it, its own token where
    /// `fields` says; `None` if it uses that as it is. Asked on the runtime: it must not wait for anything.
    ///
    /// # Errors
    /// If it cannot be told: nothing is sent, and the attempt is deferred. The text goes to the log.
    fn account(
        &self,
        base: &Account,
        fields: ExternalFields,
        tenant: &str,
        channel: &Channel,
        sender: &Endpoint,
    ) -> Result<Option<Account>, String>;

    /// The tenant that registered a sender as its own, the first if several did. Asked at every create
    /// and call: it must not wait for anything.
    fn owner(&self, channel: &Channel, sender: &Endpoint) -> Option<Arc<str>>;

    /// The application that is told of what persons write to a tenant's sender, where one was named for it.
    fn application(&self, tenant: &str, sender: &ChannelSender) -> Option<Uuid>;
}
