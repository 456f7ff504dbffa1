//! Dispatch
pub mod engine;
pub mod machine;
pub mod store;
pub mod telemetry;
