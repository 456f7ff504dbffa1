//! Viber Business Messages through Vonage's Messages API: `viber_service` in v1,
//! `viber_service_msg` in v0.1.
//!
//! v0.1 knows neither buttons, captions, videos nor files; those go through v1 whatever the account is set
//! to. Templates are left out: v1 has none for Viber.

use std::sync::Arc;

use dispatch_viber::ViberAdapter;

use crate::VonageGateway;

/// The adapter `vonage-viber`.
pub(crate) fn adapter(gateway: &Arc<VonageGateway>) -> ViberAdapter {
    ViberAdapter::through(Arc::clone(gateway) as _)
}

#[cfg(test)]
mod tests;
