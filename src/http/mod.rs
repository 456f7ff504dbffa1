//! The HTTP edges: providers' webhooks in public, health and metrics inside.

mod internal;
mod listener;
mod receipts;

pub use internal::{Health, router as internal_router};
pub use listener::serve;
pub use receipts::{Receipts, router as public_router};
