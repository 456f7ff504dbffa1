//! The connections of a listener: a limited number of permits, and where they run out, the peer that
//! holds most gives one back first.
//!
//! No connection is turned away. When all permits are taken, a new connection waits in the accept backlog
//! while another is closed for it, and which one is a matter of rank, not of a limit for each address:
//! behind a proxy all have one. First those that are quiet, and were left alone for a moment; then those
//! of the peer that holds most; then one that has not authenticated yet; then the one that is quiet the
//! longest. Where all are busy, one is asked to close with its next response, and in a crowd so is each
//! that has not authenticated.
//!
//! The timeout for what is to arrive is halved with each connection that had to wait for a permit, and
//! doubled with each that had not: a crowd is closed as fast as it comes, and nobody waits long behind
//! it. While permits are free, a listener's own timeouts hold.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::Instant,
};

use super::{Connection, Peer};

/// How often another connection is asked for its permit, while none is free.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// How long a handshake, or a request, may take to arrive once permits are scarce: at first, and when
/// there is a crowd.
const LET_ARRIVE: Duration = Duration::from_millis(500);
const LET_ARRIVE_LEAST: Duration = Duration::from_millis(50);
/// How long accepting pauses when the system gives no more files.
const NO_FILES: Duration = Duration::from_secs(1);

/// The connection permits of a listener. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionPool(Arc<PoolInner>);

struct PoolInner {
    most: usize,
    held: Mutex<PoolState>,
    freed: Notify,
    /// Whether the last new connection had to wait for a permit.
    is_crowded: Arc<AtomicBool>,
}

struct PoolState {
    next: u64,
    /// The present timeout for what is to arrive.
    let_arrive: Duration,
    connections: HashMap<u64, Arc<Connection>>,
    by_peer: HashMap<Peer, usize>,
}

/// A connection's permit; free again when this is dropped.
pub struct ConnectionPermit {
    pool: ConnectionPool,
    number: u64,
    connection: Arc<Connection>,
}

impl ConnectionPool {
    /// A pool of `most` permits: at least one.
    pub fn new(most: usize) -> ConnectionPool {
        let held = PoolState {
            next: 0,
            let_arrive: LET_ARRIVE,
            connections: HashMap::new(),
            by_peer: HashMap::new(),
        };
        ConnectionPool(Arc::new(PoolInner {
            most: most.max(1),
            held: Mutex::new(held),
            freed: Notify::new(),
            is_crowded: Arc::default(),
        }))
    }

    /// How many permits there are.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// The next connection of a listener, with a permit. `of` names the listener in the log.
    pub async fn accept(
        &self,
        listener: &TcpListener,
        of: &'static str,
    ) -> (TcpStream, ConnectionPermit) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => return (stream, self.take(from.ip()).await),
                // The caller's trouble, and gone with it.
                Err(error) if is_callers(error.kind()) => {}
                Err(error) => {
                    // Out of files, most likely: some may be closed by then.
                    tracing::error!(%error, "{of}: a connection could not be accepted");
                    tokio::time::sleep(NO_FILES).await;
                }
            }
        }
    }

    /// A permit for a connection from `address`: that of another, if all are taken.
    pub async fn take(&self, address: IpAddr) -> ConnectionPermit {
        let mut has_waited = false;
        loop {
            if let Some(permit) = self.try_take(address, has_waited) {
                return permit;
            }
            has_waited = true;
            self.ask();
            // Also ready if a permit was freed meanwhile.
            let _ = tokio::time::timeout(ASK_EVERY, self.0.freed.notified()).await;
        }
    }

    fn try_take(&self, address: IpAddr, has_waited: bool) -> Option<ConnectionPermit> {
        let mut held = self.held();
        if held.connections.len() >= self.0.most {
            return None;
        }
        self.0.is_crowded.store(has_waited, Ordering::Relaxed);
        held.let_arrive = match has_waited {
            true => (held.let_arrive / 2).max(LET_ARRIVE_LEAST),
            false => (held.let_arrive * 2).min(LET_ARRIVE),
        };
        let number = held.next;
        held.next += 1;
        let connection = Arc::new(Connection::new(address, Arc::clone(&self.0.is_crowded)));
        held.connections.insert(number, Arc::clone(&connection));
        *held.by_peer.entry(address.into()).or_default() += 1;
        Some(ConnectionPermit { pool: self.clone(), number, connection })
    }

    /// Asks one connection for its permit.
    fn ask(&self) {
        let now = Instant::now();
        let held = self.held();
        let all = held.connections.values().filter_map(|connection| {
            let of_its_peer = held.by_peer.get(&connection.address().into());
            let of_its_peer = of_its_peer.copied().unwrap_or_default();
            let rank = connection.rank(now, of_its_peer, held.let_arrive)?;
            Some((rank, connection))
        });
        let Some((rank, first)) = all.max_by(|(a, _), (b, _)| a.cmp(b)) else { return };
        first.ask(&rank);
    }

    fn held(&self) -> MutexGuard<'_, PoolState> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// The connection that holds it.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut held = self.pool.held();
        held.connections.remove(&self.number);
        let peer = Peer::from(self.connection.address());
        if let Some(count) = held.by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                held.by_peer.remove(&peer);
            }
        }
        drop(held);
        self.pool.0.freed.notify_one();
    }
}

fn is_callers(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

impl std::fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionPool")
    }
}

impl std::fmt::Debug for ConnectionPermit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionPermit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    async fn passes(ms: u64) {
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    /// Those that were asked for their permit, by their position in `held`.
    fn asked(held: &[ConnectionPermit]) -> Vec<usize> {
        let is_asked = |permit: &ConnectionPermit| permit.connection.let_go.is_cancelled();
        (0..held.len()).filter(|at| is_asked(&held[*at])).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_most_gives_first_and_of_theirs_the_one_that_is_quiet_the_longest() {
        let pool = ConnectionPool::new(4);
        let mut held = Vec::new();
        for address in [from(1), from(2), from(2), from(2)] {
            held.push(pool.take(address).await);
            passes(10).await;
        }
        passes(1000).await;
        pool.ask();
        assert_eq!(asked(&held), [1]);
        // Whoever was asked is not asked twice; what is answered is heard of again.
        held[2].connection.rested();
        pool.ask();
        assert_eq!(asked(&held), [1, 3]);
        pool.ask();
        assert_eq!(asked(&held), [0, 1, 3], "the others of the one who holds most are not quiet");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_shown_that_it_may_ask_gives_last() {
        let pool = ConnectionPool::new(2);
        let held = [pool.take(from(1)).await, pool.take(from(1)).await];
        held[0].connection.is_known();
        held[0].connection.rested();
        passes(10).await;
        held[1].connection.rested();
        passes(1000).await;
        pool.ask();
        assert_eq!(asked(&held), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_worked_on_is_not_cut_off_and_closes_with_its_answer() {
        let pool = ConnectionPool::new(1);
        let held = [pool.take(from(1)).await];
        let busy = held[0].connection.busy();
        passes(60_000).await;
        pool.ask();
        assert_eq!(asked(&held), [0; 0]);
        assert!(held[0].connection.is_wanted());
        drop(busy);
        pool.ask();
        assert_eq!(asked(&held), [0; 0], "its next request may be on the way");
        passes(1000).await;
        pool.ask();
        assert_eq!(asked(&held), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_gets_shorter_in_a_crowd_and_longer_after_it() {
        let pool = ConnectionPool::new(1);
        let mut waited = Vec::new();
        for _ in 0..6 {
            let held = pool.take(from(1)).await;
            let connection = Arc::clone(held.connection());
            let began = Instant::now();
            tokio::spawn(async move {
                connection.let_go().await;
                drop(held);
            });
            drop(pool.take(from(1)).await);
            waited.push(began.elapsed().as_millis());
        }
        // Each second one found a permit free: down by half, up by as much.
        assert!(waited.iter().all(|ms| (500..520).contains(ms)), "{waited:?}");
        let mut held = pool.take(from(1)).await;
        for _ in 0..10 {
            let connection = Arc::clone(held.connection());
            assert!(connection.is_wanted() || !pool.0.is_crowded.load(Ordering::Relaxed));
            tokio::spawn(async move {
                connection.let_go().await;
                drop(held);
            });
            let began = Instant::now();
            held = pool.take(from(1)).await;
            waited.push(began.elapsed().as_millis());
        }
        assert!(waited.last().is_some_and(|ms| (50..60).contains(ms)), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_is_given_back_is_the_next_ones() {
        let pool = ConnectionPool::new(1);
        let first = pool.take(from(1)).await;
        let connection = Arc::clone(first.connection());
        tokio::spawn(async move {
            connection.let_go().await;
            drop(first);
        });
        let began = Instant::now();
        let _second = pool.take(from(2)).await;
        assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    }
}
