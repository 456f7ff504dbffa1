//! SMS through Vonage's Messages API.
//!
//! Vonage splits a long text and finds out its alphabet by itself; the only option is to fix the
//! encoding, which v0.1 has no word for. An account on v0.1 has to be set to "Messages API" for SMS
//! in Vonage's dashboard, else its receipts go to another address in another form.

use dispatch_contract::Channel;
use dispatch_kit::{http::HttpClient, vonage::VonageAdapter};

/// The adapter `vonage-sms`.
pub fn adapter(client: HttpClient) -> VonageAdapter {
    // Nothing is to be checked beyond the capabilities.
    VonageAdapter::new("vonage-sms", Channel::SMS, crate::capabilities(), |_, _| (), client)
}

#[cfg(test)]
mod tests;
