//! The HTTP edges: providers' webhooks in public, health and metrics inside.

mod caught;
mod internal;
mod listener;
mod receipts;

pub use caught::caught;
pub use internal::{Health, router as internal_router};
pub use listener::{Listener, serve};
pub use receipts::{AccountsByName, Receipts, router as public_router};
