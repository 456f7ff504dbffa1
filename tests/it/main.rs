//! The integration tests: one binary, so that everything is linked once.

mod crash;
mod layout;
mod service;
mod store;
mod support;
mod webhooks;
