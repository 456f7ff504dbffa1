//! What access has to do now and then: make durable which tokens were used, and write down what failed at
//! the entrance.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, REPORT_EVERY},
    engine::Engine,
};

/// How often used tokens are made durable.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// Does it until `stop`, and a last time then. A store that failed ends the service elsewhere.
pub(super) async fn tend(access: Access, engine: Engine, stop: CancellationToken) {
    let mut reported = tokio::time::Instant::now();
    let mut is_over = false;
    while !is_over {
        tokio::select! {
            () = tokio::time::sleep(TIDY_EVERY) => {}
            () = stop.cancelled() => is_over = true,
        }
        let is_due = is_over || reported.elapsed() >= REPORT_EVERY;
        if is_due {
            reported = tokio::time::Instant::now();
        }
        let (access, clock) = (access.clone(), engine.clock());
        let (now, real) = (clock.wall(), clock.real_wall());
        let done = tokio::task::spawn_blocking(move || {
            access.tidy(real)?;
            if is_due { access.report(now, real) } else { Ok(()) }
        });
        if let Ok(Err(error)) = done.await {
            tracing::error!(%error, "failed logins or used tokens could not be kept");
        }
    }
}
