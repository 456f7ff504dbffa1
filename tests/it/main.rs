//! The integration tests: one binary, so that everything is linked once.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]

mod access;
mod accounts;
mod applications;
mod backup;
mod bad_requests;
mod bench;
mod cli;
mod clients;
mod corpus;
mod docs;
mod facade;
mod golden;
mod grpcurl;
mod layout;
#[path = "../report/mod.rs"]
mod report;
mod rest;
mod service;
mod store;
mod support;
mod tls;
mod turn;
mod webhooks;
