//! Messenger through Vonage's Messages API, which links the page to the account and turns
//! Facebook's read watermarks into one status webhook a message.

use std::sync::Arc;

use dispatch_messenger::MessengerAdapter;

use crate::VonageGateway;

/// The adapter `vonage-messenger`.
pub(crate) fn adapter(gateway: &Arc<VonageGateway>) -> MessengerAdapter {
    MessengerAdapter::through(Arc::clone(gateway) as _)
}

#[cfg(test)]
mod tests;
