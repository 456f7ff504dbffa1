//! Viber Business Messages through Vonage's Messages API: `viber_service` in v1,
//! `viber_service_msg` in v0.1.
//!
//! v0.1 knows neither buttons, captions nor files; those go through v1 whatever the account is set
//! to. Templates are left out: v1 has none for Viber.

use dispatch_contract::Channel;
use dispatch_kit::{http::HttpClient, vonage::VonageAdapter};

/// The adapter `vonage-viber`.
pub fn adapter(client: HttpClient) -> VonageAdapter {
    let rules = |message: &_, _, found: &mut _| crate::rules(message, found);
    VonageAdapter::new("vonage-viber", Channel::VIBER, crate::capabilities(), rules, client)
}

#[cfg(test)]
mod tests;
