//! Workflows that wait for a receipt: created, their first message accepted and nothing more told.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{Bench, create, load::Until, progress::Progress, provider::Arrival, workflow::Shape};
use crate::CommandFailure;

/// If nothing at all happens for so long, what is missing is lost.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// Creates `count` workflows and returns their first messages, by number.
///
/// # Errors
/// If not all of them come to wait.
pub(super) async fn waiting(bench: &mut Bench, count: u64) -> Result<Vec<Arrival>, CommandFailure> {
    let shape = Shape { expiry: Duration::from_secs(86_400), condition: "read", send_at: None };
    let in_flight = bench.in_flight();
    let channels = bench.channels(in_flight).await?;
    let what = "set up: created";
    let (created, mut first) = tokio::join!(
        create::creates(what, &channels, in_flight, Until::Count(count), 0, &shape),
        arrivals(&mut bench.provider.arrivals, "set up: accepted", count),
    );
    bench.report.failed(created.errors, created.first_error.unwrap_or_default());
    first.sort_unstable_by_key(|arrival| arrival.number);
    let is_whole = first.iter().map(|arrival| arrival.number).eq(0..count);
    // The provider's answers are on their way back still.
    let accepted = r#"dispatch_answers_total{route="messenger",outcome="accepted""#;
    while is_whole && bench.server.metric(accepted).await.is_some_and(|told| told < count) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if is_whole {
        Ok(first)
    } else {
        Err(CommandFailure::new("not every workflow sent its first message"))
    }
}

/// The next `count` messages at the provider; fewer if nothing comes any more.
pub(super) async fn arrivals(
    from: &mut mpsc::UnboundedReceiver<Arrival>,
    what: &str,
    count: u64,
) -> Vec<Arrival> {
    let progress = Progress::of(what);
    let counter = progress.counter();
    let mut all = Vec::new();
    while (all.len() as u64) < count {
        match tokio::time::timeout(SILENCE, from.recv()).await {
            Ok(Some(arrival)) => all.push(arrival),
            Ok(None) | Err(_) => break,
        }
        counter.one();
    }
    all
}
