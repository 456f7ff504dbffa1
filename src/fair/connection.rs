//! One connection: what it does now, and how soon it gives its permit back where permits are scarce.
//!
//! Whoever serves it tells what it does; the [pool](super::ConnectionPool) asks for its rank.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a connection that was answered is left alone in a crowd: its next request may be on the way.
const LET_REST: Duration = Duration::from_secs(1);

/// What a connection does, for the pool and for whoever serves it.
pub struct Connection {
    address: IpAddr,
    phase: Mutex<ConnectionPhase>,
    /// Whether it has shown that it may ask something.
    is_known: AtomicBool,
    /// Whether it is to close with its next answer.
    is_wanted: AtomicBool,
    is_crowded: Arc<AtomicBool>,
    pub(super) let_go: CancellationToken,
}

#[derive(Clone, Copy)]
enum ConnectionPhase {
    /// A handshake, or a request, is still to arrive, since.
    Arriving(Instant),
    /// So many requests are worked on.
    Working(u32),
    /// All was answered, since.
    Resting(Instant),
}

/// A request that is worked on; over when this is dropped.
#[derive(Debug)]
#[must_use = "the request is over when this is dropped"]
pub struct ActiveRequest(Arc<Connection>);

/// In which order connections are asked for their permit: the greatest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EvictionRank {
    is_quiet: bool,
    of_its_peer: usize,
    is_unknown: bool,
    pub(super) quiet_for: Duration,
}

impl Connection {
    pub(super) fn new(address: IpAddr, is_crowded: Arc<AtomicBool>) -> Connection {
        Connection {
            address,
            phase: Mutex::new(ConnectionPhase::Arriving(Instant::now())),
            is_known: AtomicBool::new(false),
            is_wanted: AtomicBool::new(false),
            is_crowded,
            let_go: CancellationToken::new(),
        }
    }

    /// The address at its other end, which may be a proxy's.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// A request, or another part of a handshake, begins to arrive.
    pub fn arriving(&self) {
        *self.phase() = ConnectionPhase::Arriving(Instant::now());
    }

    /// A request has arrived whole. The connection keeps its permit until [`rested`](Self::rested).
    pub fn working(&self) {
        *self.phase() = ConnectionPhase::Working(1);
    }

    /// What was arriving is here: it is worked on.
    pub fn arrived(&self) {
        let mut phase = self.phase();
        if let ConnectionPhase::Arriving(_) = *phase {
            *phase = ConnectionPhase::Working(1);
        }
    }

    /// What was asked is answered.
    pub fn rested(&self) {
        *self.phase() = ConnectionPhase::Resting(Instant::now());
    }

    /// One request more is worked on, beside others.
    pub fn busy(self: &Arc<Self>) -> ActiveRequest {
        let mut phase = self.phase();
        *phase = ConnectionPhase::Working(match *phase {
            ConnectionPhase::Working(count) => count + 1,
            ConnectionPhase::Arriving(_) | ConnectionPhase::Resting(_) => 1,
        });
        ActiveRequest(Arc::clone(self))
    }

    /// It has shown that it may ask something.
    pub fn is_known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Whether its permit is wanted: the next response should say that it closes.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
            || self.let_go.is_cancelled()
            || !self.is_known.load(Ordering::Relaxed) && self.is_crowded.load(Ordering::Relaxed)
    }

    /// Whether something is worked on.
    pub fn is_working(&self) -> bool {
        matches!(*self.phase(), ConnectionPhase::Working(_))
    }

    /// Whether a request, or a part of a handshake, is still to arrive.
    pub fn is_arriving(&self) -> bool {
        matches!(*self.phase(), ConnectionPhase::Arriving(_))
    }

    /// Ready once its permit is another's: it is to end, unless it [is working](Self::is_working) again.
    pub fn let_go(&self) -> WaitForCancellationFutureOwned {
        self.let_go.clone().cancelled_owned()
    }

    /// Its rank among those that may be asked for their permit; `None` if it was asked already.
    pub(super) fn rank(
        &self,
        now: Instant,
        of_its_peer: usize,
        let_arrive: Duration,
    ) -> Option<EvictionRank> {
        if self.let_go.is_cancelled() {
            return None;
        }
        let (since, let_be) = match *self.phase() {
            ConnectionPhase::Arriving(since) => (since, let_arrive),
            ConnectionPhase::Resting(since) => (since, LET_REST),
            ConnectionPhase::Working(_) => (now, LET_REST),
        };
        let quiet_for = now.duration_since(since);
        let is_quiet = quiet_for >= let_be;
        if !is_quiet && self.is_wanted.load(Ordering::Relaxed) {
            return None;
        }
        let is_unknown = !self.is_known.load(Ordering::Relaxed);
        Some(EvictionRank { is_quiet, of_its_peer, is_unknown, quiet_for })
    }

    /// Asks for its permit: at once if it is quiet, else with its next answer.
    pub(super) fn ask(&self, rank: &EvictionRank) {
        if rank.is_quiet {
            self.let_go.cancel();
        } else {
            self.is_wanted.store(true, Ordering::Relaxed);
        }
    }

    fn phase(&self) -> MutexGuard<'_, ConnectionPhase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut phase = self.0.phase();
        if let ConnectionPhase::Working(count) = *phase {
            *phase = match count.saturating_sub(1) {
                0 => ConnectionPhase::Resting(Instant::now()),
                left => ConnectionPhase::Working(left),
            };
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}
