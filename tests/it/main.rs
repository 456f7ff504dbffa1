//! The integration tests: one binary, so that everything is linked once.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and stands outside of the service"
)]

mod access;
mod accounts;
mod anonymous;
mod applications;
mod at_providers;
mod audit;
mod backup;
mod bad_requests;
mod bench;
mod callbacks;
mod cli;
mod clients;
mod contents_age;
mod docs;
mod erasure;
mod external;
mod facade;
mod fairness;
mod golden;
mod grpcurl;
mod inbound;
mod layout;
mod lost_keys;
mod masked;
mod meta;
mod mutations;
mod no_recipient;
mod node;
mod operator;
mod opt_outs;
mod outside;
mod owned_files;
mod page_tokens;
mod panics;
mod ports;
mod prism;
mod probe;
mod processor;
mod recall;
mod reload;
mod remote_adapters;
mod repeats;
mod replies;
#[path = "../report/mod.rs"]
mod report;
mod rest;
mod retention;
mod rights;
mod rotation;
mod routes;
mod scrub;
mod sealed;
mod sealed_rows;
mod searched;
mod service;
#[path = "../shared/mod.rs"]
mod shared;
mod store;
mod support;
mod telegram;
mod terminal;
mod tls;
mod twilio;
mod unread;
mod webhooks;
mod wire;
mod words;
