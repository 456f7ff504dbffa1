//! Waiting for what is expected, and not for a length of time.

use std::time::{Duration, Instant};

/// Waits until `is_so`, at most for `timeout`.
pub async fn eventually<F: Future<Output = bool>>(
    timeout: Duration,
    mut is_so: impl FnMut() -> F,
) -> bool {
    let began = Instant::now();
    while began.elapsed() < timeout {
        if is_so().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}
