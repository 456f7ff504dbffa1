//! The HTTP edges: providers' webhooks in public, health and metrics inside.

mod caught;
mod internal;
mod listener;
mod webhooks;

pub use caught::caught;
pub use internal::{Health, Readiness, router as internal_router};
pub use listener::{Listener, serve};
pub(crate) use webhooks::LARGE_BODIES;
pub use webhooks::{
    AccountsByName, ExternalAccounts, ReportedBy, RetryAfter, WebhookSink, Webhooks,
    router as public_router,
};
