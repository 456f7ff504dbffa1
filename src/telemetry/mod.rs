//! What people watch: metrics and logs. A leaf, handed down as plain values.

mod about;
mod log_limit;
mod logs;
mod metrics;
mod tenants;

pub use about::About;
pub use log_limit::{LogLimit, WINDOW as LOG_WINDOW};
pub use logs::{check_level as check_log_level, init as init_logs, set_level as set_log_level};
pub use metrics::Metrics;
