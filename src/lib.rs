#![doc = include_str!("ARCHITECTURE.md")]

pub mod access;
mod api;
pub mod builtin;
pub mod callbacks;
pub mod cli;
pub mod client;
pub mod config;
pub mod current;
pub mod engine;
pub mod fair;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod grpc;
pub mod http;
pub mod machine;
mod owned_files;
pub mod pb;
pub mod rest;
pub mod service;
pub mod store;
pub mod telemetry;
mod terminal;
pub mod tls;

#[cfg(test)]
#[path = "../tests/shared/mod.rs"]
mod shared;

// What is shared with suites beside this crate calls it by its name.
#[cfg(test)]
extern crate self as dispatch;
