//! Who is notified of a workflow, and how.
//!
//! Always an application, even at an address that the request named: without its secret there is nothing
//! to sign with, and nothing goes out unsigned. Where it is gone, nobody is notified any more.

use reqwest::Url;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::render;
use crate::{
    access::{Application, PayloadVersion, Signing},
    contents::Contents,
    store::Record,
};

/// Where the callbacks of a workflow go, and in what form. `Debug` would show the address, which may
/// carry a secret of the receiver's: there is none.
pub(super) struct CallbackTarget {
    pub(super) url: String,
    pub(super) payload_version: PayloadVersion,
    /// How it is signed, with the application's secret.
    pub(super) signing: Signing,
}

impl CallbackTarget {
    /// The one of a workflow, whose application is `application`; `None` if nobody is notified.
    pub(super) fn of(
        record: &Record,
        contents: &Contents,
        application: &Application,
    ) -> Option<CallbackTarget> {
        let messages = application.messages.as_ref()?;
        let url = match &contents.webhook_url {
            Some(url) => url.clone(),
            None => messages.status.as_ref()?.address.clone(),
        };
        let payload_version =
            render::version_for(record.requester.dialect, messages.payload_version);
        Some(CallbackTarget { url, payload_version, signing: messages.signing })
    }

    /// The one of what persons write to the senders of `application`; `None` if nobody is told.
    pub(super) fn of_inbound(application: &Application) -> Option<CallbackTarget> {
        let messages = application.messages.as_ref()?;
        Some(CallbackTarget {
            url: messages.inbound.as_ref()?.address.clone(),
            payload_version: messages.payload_version,
            signing: messages.signing,
        })
    }

    /// A number for its destination, hashed of tenant, application and origin: callbacks of one
    /// application to one host take turns with those of others.
    pub(super) fn destination(&self, tenant: &str, application: Uuid) -> u64 {
        let origin = Url::parse(&self.url).map(|url| url.origin().ascii_serialization());
        destination(tenant, application, &origin.unwrap_or_default())
    }
}

/// The number of a destination whose origin is known, or empty.
pub(super) fn destination(tenant: &str, application: Uuid, origin: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update((tenant.len() as u64).to_be_bytes());
    hash.update(tenant.as_bytes());
    hash.update(application.as_bytes());
    hash.update(origin);
    let mut number = [0; 8];
    number.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(number)
}
