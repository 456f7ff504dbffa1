//! The integration tests: one binary, so that everything is linked once.

mod cli;
mod crash;
mod grpcurl;
mod layout;
mod service;
mod store;
mod support;
mod webhooks;
