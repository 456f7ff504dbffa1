//! Messenger through Vonage's Messages API, which links the page to the account and turns
//! Facebook's read watermarks into one status webhook a message.

use dispatch_contract::Channel;
use dispatch_kit::{http::HttpClient, vonage::VonageAdapter};

/// The adapter `vonage-messenger`.
pub fn adapter(client: HttpClient) -> VonageAdapter {
    let capabilities = crate::capabilities();
    VonageAdapter::new("vonage-messenger", Channel::MESSENGER, capabilities, crate::rules, client)
        .warning_of(crate::warnings)
}

#[cfg(test)]
mod tests;
