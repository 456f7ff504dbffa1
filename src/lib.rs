//! Dispatch
pub mod config;
pub mod engine;
pub mod http;
pub mod machine;
pub mod pb;
pub mod store;
pub mod telemetry;
