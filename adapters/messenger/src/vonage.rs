//! Messenger through Vonage's Messages API, which links the page to the account and turns
//! Facebook's read watermarks into one status webhook a message.

use dispatch_contract::Channel;
use dispatch_kit::{http::HttpClient, vonage::VonageAdapter};

/// The adapter `vonage-messenger`.
pub fn adapter(client: HttpClient) -> VonageAdapter {
    VonageAdapter::new(
        "vonage-messenger",
        Channel::MESSENGER,
        crate::capabilities(),
        crate::rules,
        client,
    )
}

#[cfg(test)]
mod tests;
