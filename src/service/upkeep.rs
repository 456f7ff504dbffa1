//! What has to be done now and then beside the writer: make durable which tokens were used, write down what
//! failed at the entrance, take away contents, inbound messages and keys that are past retention, and say how large tables in
//! memory are and which providers are down.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dispatch_contract::Registry;
use tokio_util::sync::CancellationToken;

use super::contents;
use crate::{
    access::{Access, REPORT_EVERY},
    contents::{AgePass, ContentsRetention, KeyFigures, KeyRing},
    current::Current,
    engine::Engine,
};

/// How often used tokens are made durable.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// How often it is said how large tables are.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// How often the keys of what is past retention are taken away.
const RETIRE_EVERY: Duration = Duration::from_secs(3600);

/// For how long at once keys are looked at that may be old enough, each [`TIDY_EVERY`].
const AGE_BUDGET: Duration = Duration::from_millis(100);

/// Says how many entries the tables of a room have.
pub(super) struct TableSource {
    pub(super) room: &'static str,
    pub(super) count: Box<dyn Fn() -> Vec<(&'static str, usize)> + Send + Sync>,
}

/// Takes away what persons wrote too long ago, beside the runtime; what one round leaves the next one takes.
async fn trim_inbound(engine: &Engine) {
    if engine.is_read_only() {
        return;
    }
    let (messages, now) = (Arc::clone(engine.inbound_messages()), engine.clock().now());
    let trimmed = tokio::task::spawn_blocking(move || messages.trim(now));
    if let Ok(Err(error)) = trimmed.await {
        tracing::error!(%error, "what persons wrote too long ago could not be taken away");
    }
}

/// Destroys the keys of days that nothing is kept of, beside the runtime.
async fn trim_days(engine: &Engine) {
    if engine.is_read_only() {
        return;
    }
    let (days, reader) = (Arc::clone(engine.days()), Arc::clone(engine.reader()));
    let now = engine.clock().now();
    let trimmed = tokio::task::spawn_blocking(move || days.trim(&*reader, now));
    if let Ok(Err(error)) = trimmed.await {
        tracing::error!(%error, "keys of days that nothing is kept of could not be destroyed");
    }
}

/// Takes away keys of what is past retention, beside the runtime.
async fn retire_keys(engine: &Engine, keys: &Arc<KeyRing>) {
    if engine.is_read_only() {
        return;
    }
    let (keys, reader) = (Arc::clone(keys), Arc::clone(engine.reader()));
    let messages = Arc::clone(engine.inbound_messages());
    let days = Arc::clone(engine.days());
    let retire = move || {
        let retired = contents::retire(&keys, &*reader)?
            + contents::retire_inbound(&keys, &messages)?
            + contents::retire_days(&keys, &days)?;
        Ok::<_, String>(retired)
    };
    match tokio::task::spawn_blocking(retire).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(files)) => tracing::info!(files, "keys of what is past retention are taken away"),
        Ok(Err(error)) => {
            tracing::error!(error, "keys of what is past retention could not be taken away");
        }
    }
}

/// Notes whose keys are that notes may be missing of, and destroys those of contents that are old enough, beside the
/// runtime.
async fn tend_contents(engine: &Engine, pass: &Arc<Mutex<AgePass>>, kept: Arc<ContentsRetention>) {
    if engine.is_read_only() {
        return;
    }
    let (of_pass, of_engine) = (Arc::clone(pass), engine.clone());
    let done = tokio::task::spawn_blocking(move || {
        let (keeper, reader) = (of_engine.contents(), &**of_engine.reader());
        let noted = keeper.note_journal(reader);
        let now = of_engine.clock().now();
        let mut pass = of_pass.lock().unwrap_or_else(PoisonError::into_inner);
        let aged = pass.run(keeper, reader, now, &kept, AGE_BUDGET);
        of_engine.metrics().contents_aged_out(aged.keys);
        noted.and(aged.failed.map_or(Ok(()), Err))
    });
    if let Ok(Err(error)) = done.await {
        let (why, level) = (error.to_string(), tracing::Level::ERROR);
        if engine.log_limit().admits(level, "untended_contents", "", &why) {
            tracing::error!(
                why,
                "not all keys of contents could be gone through: some may not be found, or not be destroyed by age"
            );
        }
    }
}

/// What is done beside the writer, and with what.
pub(super) struct Upkeep {
    pub(super) access: Access,
    pub(super) engine: Engine,
    pub(super) tables: Vec<TableSource>,
    pub(super) registry: Registry,
    /// The files that hold the keys of contents, if they are in files.
    pub(super) content_keys: Option<Arc<KeyRing>>,
    pub(super) contents_retention: Arc<Current<ContentsRetention>>,
}

impl Upkeep {
    /// Does it until `stop`, and a last time then. A store that failed ends the service elsewhere.
    pub(super) async fn tend(self, stop: CancellationToken) {
        let mut reported = tokio::time::Instant::now();
        let mut counted = None;
        let mut retired = None;
        let age_pass = Arc::default();
        let mut is_over = false;
        while !is_over {
            tokio::select! {
                () = tokio::time::sleep(TIDY_EVERY) => {}
                () = stop.cancelled() => is_over = true,
            }
            for provider in self.registry.providers() {
                let is_down = provider.down().is_some();
                self.engine.metrics().provider_down(provider.name(), is_down);
            }
            tend_contents(&self.engine, &age_pass, self.contents_retention.get()).await;
            let now = tokio::time::Instant::now();
            if is_due(&mut retired, now, RETIRE_EVERY) {
                trim_days(&self.engine).await;
                if let Some(keys) = &self.content_keys {
                    retire_keys(&self.engine, keys).await;
                }
            }
            if is_due(&mut counted, now, COUNT_EVERY) {
                for TableSource { room, count } in &self.tables {
                    self.engine.metrics().tables(room, count());
                }
                if let Some(keys) = &self.content_keys {
                    let KeyFigures { failures, waits, .. } = keys.figures();
                    self.engine.metrics().content_keys(failures, waits);
                }
                if !is_over {
                    trim_inbound(&self.engine).await;
                }
            }
            let reports = is_over || reported.elapsed() >= REPORT_EVERY;
            if reports {
                reported = tokio::time::Instant::now();
            }
            self.tidy_access(reports).await;
        }
    }

    async fn tidy_access(&self, reports: bool) {
        let (access, clock) = (self.access.clone(), self.engine.clock());
        let (now, real) = (clock.wall(), clock.real_wall());
        let done = tokio::task::spawn_blocking(move || {
            access.tidy(real)?;
            if reports { access.report(now, real) } else { Ok(()) }
        });
        if let Ok(Err(error)) = done.await {
            tracing::error!(%error, "failed logins or used tokens could not be kept");
        }
    }
}

/// Whether something is to be done that was done `last`, and is done now.
fn is_due(
    last: &mut Option<tokio::time::Instant>,
    now: tokio::time::Instant,
    every: Duration,
) -> bool {
    let is_due = last.is_none_or(|at| now.duration_since(at) >= every);
    if is_due {
        *last = Some(now);
    }
    is_due
}
