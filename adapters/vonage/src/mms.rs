//! MMS through Vonage's Messages API.
//!
//! v0.1 knows pictures from US short codes only; everything else goes through v1 whatever the
//! account is set to, so what is declared holds for every account. Of v1's kinds, `vcard` and
//! `content` (several files at once) are refused at the edge, because a message has no such content here.

use std::sync::Arc;

use dispatch_mms::MmsAdapter;

use crate::VonageGateway;

/// The adapter `vonage-mms`.
pub(crate) fn adapter(gateway: &Arc<VonageGateway>) -> MmsAdapter {
    MmsAdapter::through(Arc::clone(gateway) as _)
}

#[cfg(test)]
mod tests;
