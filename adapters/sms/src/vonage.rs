//! SMS through Vonage's Messages API.
//!
//! Vonage splits a long text and finds out its alphabet by itself; the options are to fix the encoding
//! and a time to live, which v0.1 has no words for. An account on v0.1 has to be set to "Messages API" for SMS
//! in Vonage's dashboard, else its receipts go to another address in another form.

use dispatch_contract::Channel;
use dispatch_kit::{http::HttpClient, vonage::VonageAdapter};

/// The adapter `vonage-sms`.
pub fn adapter(client: HttpClient) -> VonageAdapter {
    let rules = |message: &_, _, found: &mut _| crate::rules(message, found);
    VonageAdapter::new("vonage-sms", Channel::SMS, crate::capabilities(), rules, client)
}

#[cfg(test)]
mod tests;
