//! MMS through Vonage's Messages API.
//!
//! v0.1 knows pictures from US short codes only; everything else goes through v1 whatever the
//! account is set to, so what is declared holds for every account. Of v1's kinds, `vcard` and
//! `content` (several files at once) are left out, because a message has no such content here.

use dispatch_contract::Channel;
use dispatch_kit::{http::HttpClient, vonage::VonageAdapter};

/// The adapter `vonage-mms`.
pub fn adapter(client: HttpClient) -> VonageAdapter {
    let rules = |message: &_, _, found: &mut _| crate::rules(message, found);
    VonageAdapter::new("vonage-mms", Channel::MMS, crate::capabilities(), rules, client)
}

#[cfg(test)]
mod tests;
