//! RCS through Vonage's Messages API.
//!
//! Only v1 knows it, so it goes through that whatever the account is set to. Custom content is handed on as
//! it is: cards, buttons and suggestions in RCS's own form. A message can be taken back, which Vonage does on
//! no other channel.

use std::sync::Arc;

use dispatch_rcs::RcsAdapter;

use crate::VonageGateway;

/// The adapter `vonage-rcs`.
pub(crate) fn adapter(gateway: &Arc<VonageGateway>) -> RcsAdapter {
    RcsAdapter::through(Arc::clone(gateway) as _)
}

#[cfg(test)]
mod tests;
