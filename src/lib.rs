//! Dispatch
pub mod machine;
pub mod store;
