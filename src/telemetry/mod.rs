//! What people watch: metrics and logs. A leaf, handed down as plain values.

mod about;
mod log_limit;
mod logs;
mod metrics;
mod tenants;

pub use about::About;
pub use log_limit::{LogLimit, WINDOW as LOG_WINDOW};
pub use logs::init as init_logs;
pub use metrics::Metrics;
