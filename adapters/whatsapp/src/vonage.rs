//! WhatsApp through Vonage's Messages API.
//!
//! A template's name is `namespace:name`, as Vonage wants it, and its language goes along in
//! `whatsapp`. Custom content is handed to WhatsApp as it is, inside an envelope with the
//! recipient that Vonage adds; a place on the map is sent that way.

use dispatch_contract::Channel;
use dispatch_kit::{http::HttpClient, vonage::VonageAdapter};

/// The adapter `vonage-whatsapp`.
pub fn adapter(client: HttpClient) -> VonageAdapter {
    let rules = |message: &_, _, found: &mut _| crate::rules(message, found);
    VonageAdapter::new("vonage-whatsapp", Channel::WHATSAPP, crate::capabilities(), rules, client)
}

#[cfg(test)]
mod tests;
