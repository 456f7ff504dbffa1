//! What people watch: metrics and logs. A leaf, handed down as plain values.

mod about;
mod edge_telemetry;
mod log_limit;
mod logs;
mod metrics;
mod tenants;

pub use about::About;
pub use edge_telemetry::EdgeTelemetry;
pub use log_limit::{LogLimit, WINDOW as LOG_WINDOW};
pub use logs::{LogLevel, check_level as check_log_level, init as init_logs};
pub use metrics::Metrics;
