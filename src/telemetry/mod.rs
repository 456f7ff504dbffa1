//! What people watch: metrics and logs. A leaf, handed down as plain values.

mod logs;
mod metrics;

pub use logs::init as init_logs;
pub use metrics::Metrics;
