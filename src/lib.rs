#![doc = include_str!("ARCHITECTURE.md")]

pub mod access;
pub mod builtin;
pub mod cli;
pub mod client;
pub mod config;
pub mod engine;
#[doc(hidden)]
pub mod fuzzing;
pub mod grpc;
pub mod http;
pub mod machine;
pub mod pb;
pub mod rest;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod tls;
