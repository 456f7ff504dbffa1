//! What people watch: metrics and logs. A leaf, handed down as plain values.

mod metrics;

pub use metrics::Metrics;
