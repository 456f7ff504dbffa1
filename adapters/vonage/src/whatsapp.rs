//! WhatsApp through Vonage's Messages API.
//!
//! A template's name is `namespace:name`, as Vonage wants it, and its language goes along in
//! `whatsapp`. Custom content is handed to WhatsApp as it is, inside an envelope with the
//! recipient that Vonage adds; a place on the map is sent that way. A recipient is a number or the id that
//! WhatsApp gave a person; v1 takes both in `to`.

use std::sync::Arc;

use dispatch_whatsapp::WhatsAppAdapter;

use crate::VonageGateway;

/// The adapter `vonage-whatsapp`.
pub(crate) fn adapter(gateway: &Arc<VonageGateway>) -> WhatsAppAdapter {
    WhatsAppAdapter::through(Arc::clone(gateway) as _)
}

#[cfg(test)]
mod tests;
