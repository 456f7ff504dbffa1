//! SMS through Vonage's Messages API.
//!
//! Vonage splits a long text and finds out its alphabet by itself; the options are to fix the encoding
//! and a time to live, which v0.1 has no words for. An account on v0.1 has to be set to "Messages API" for SMS
//! in Vonage's dashboard, else its receipts go to another address in another form.

use std::sync::Arc;

use dispatch_sms::SmsAdapter;

use crate::VonageGateway;

/// The adapter `vonage-sms`.
pub(crate) fn adapter(gateway: &Arc<VonageGateway>) -> SmsAdapter {
    SmsAdapter::through(Arc::clone(gateway) as _)
}

#[cfg(test)]
mod tests;
