//! The integration tests: one binary, so that everything is linked once.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]

mod cli;
mod crash;
mod grpcurl;
mod layout;
mod service;
mod store;
mod support;
mod webhooks;
