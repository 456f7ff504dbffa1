//! Turns at what waits for the disk, beside the runtime's own threads: each has a thread of its own, so
//! there are few at once, and tenants take turns at them.
//!
//! A caller that goes away leaves its work behind, which keeps its turn until it is over: however fast
//! calls are given up, there are no more threads.

use std::{num::NonZero, sync::Arc, thread::available_parallelism};

use super::Turns;

/// What the edges of a service share of its disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DiskTurns(Arc<Queues>);

#[derive(Debug)]
struct Queues {
    callers: Turns,
    /// Their own, so that however many streams there are no caller waits behind them.
    streams: Turns,
    changes: Turns,
}

/// The runtime is shutting down, and the work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDone;

impl Default for DiskTurns {
    /// As many at once as the machine's processors bear: enough for some to wait for the disk while others
    /// compute, and not so many that whoever computes much keeps the processors from all others.
    fn default() -> Self {
        let most = (available_parallelism().map_or(1, NonZero::get) * 4).clamp(8, 32);
        let [callers, streams, changes] = [(); 3].map(|()| Turns::new(most));
        DiskTurns(Arc::new(Queues { callers, streams, changes }))
    }
}

impl DiskTurns {
    /// Reads for a tenant's call.
    ///
    /// # Errors
    /// At shutdown. A panic in `work` goes on in the caller.
    pub async fn read<T: Send + 'static>(
        &self,
        tenant: &Arc<str>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        in_turn(&self.0.callers, tenant, work).await
    }

    /// Reads for a tenant's stream.
    ///
    /// # Errors
    /// As [`DiskTurns::read`].
    pub async fn read_for_stream<T: Send + 'static>(
        &self,
        tenant: &Arc<str>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        in_turn(&self.0.streams, tenant, work).await
    }

    /// Changes or lists keys, applications, accounts or callbacks for a tenant.
    ///
    /// # Errors
    /// As [`DiskTurns::read`].
    pub async fn change<T: Send + 'static>(
        &self,
        tenant: &Arc<str>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        in_turn(&self.0.changes, tenant, work).await
    }
}

async fn in_turn<T: Send + 'static>(
    turns: &Turns,
    tenant: &Arc<str>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotDone> {
    let turn = turns.take(tenant).await;
    let work = move || {
        let _turn = turn;
        work()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        // Its caller's edge catches it.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(NotDone),
    }
}
