//! `AdminService`: backups, and letting a restored service go.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::server::HealthReporter;

use super::{DispatchService, calls::panicked, guard::caller};
use crate::{
    access::{Access, Caller},
    api::{Error, note},
    engine::{Engine, EngineError, ResumePolicy},
    fair::DiskTurns,
    pb::v1::{
        BackupRequest, BackupResponse, OpenWorkflows, ResumeRequest, ResumeResponse,
        admin_service_server, dispatch_service_server::DispatchServiceServer,
    },
    store::{Backup, KeyFiles, Reader, Settings, StoreError},
};

/// The largest piece, in bytes.
const PIECE: usize = 1024 * 1024;
/// How many backups may be taken at once: each has a thread.
const BACKUPS: usize = 2;
/// How many pieces may wait for whoever takes them.
const AHEAD: usize = 4;

/// The service, in front of an engine.
#[derive(Clone)]
pub struct AdminService {
    engine: Engine,
    access: Access,
    health: HealthReporter,
    reader_timeout: Duration,
    turns: DiskTurns,
    keys: Option<Arc<dyn KeyFiles>>,
    permits: Arc<Semaphore>,
}

impl AdminService {
    /// `health` is told when the restore lock is lifted. Whoever takes a backup takes each piece
    /// within `reader_timeout`, and gets `keys` with it.
    pub fn new(
        engine: Engine,
        access: Access,
        health: HealthReporter,
        reader_timeout: Duration,
        turns: DiskTurns,
        keys: Option<Arc<dyn KeyFiles>>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(BACKUPS));
        AdminService { engine, access, health, reader_timeout, turns, keys, permits }
    }

    /// Writes down what a caller is about to do.
    async fn audit(&self, caller: Caller, what: &'static str) -> Result<(), Error> {
        note(&self.turns, &self.engine, &self.access, caller, what, String::new()).await
    }
}

/// Takes a backup in pieces, until `give` says that nobody takes them.
fn take(
    reader: Arc<dyn Reader>,
    settings: Arc<dyn Settings>,
    keys: Option<Arc<dyn KeyFiles>>,
    mut give: impl FnMut(Vec<u8>) -> bool,
) -> Result<(), StoreError> {
    let mut piece = Vec::with_capacity(PIECE);
    for frame in Backup::of(reader, settings, keys)? {
        let frame = frame?;
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            let (some, more) = rest.split_at(rest.len().min(PIECE - piece.len()));
            piece.extend_from_slice(some);
            rest = more;
            if piece.len() == PIECE
                && !give(std::mem::replace(&mut piece, Vec::with_capacity(PIECE)))
            {
                return Ok(());
            }
        }
    }
    give(piece);
    Ok(())
}

#[tonic::async_trait]
impl admin_service_server::AdminService for AdminService {
    type BackupStream = ReceiverStream<Result<BackupResponse, Status>>;

    async fn backup(
        &self,
        request: Request<BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let caller = caller(&request)?;
        let Ok(place) = Arc::clone(&self.permits).try_acquire_owned() else {
            let retry_after_ms = 10_000;
            return Err(Error::Engine(EngineError::Overloaded { retry_after_ms }).into());
        };
        self.audit(caller, "backup.taken").await?;
        let reader = Arc::clone(self.engine.reader());
        let settings = Arc::clone(self.engine.settings());
        let keys = self.keys.clone().filter(|_| !request.get_ref().without_keys);
        let (pieces, taken) = mpsc::channel(AHEAD);
        let (runtime, timeout) = (Handle::current(), self.reader_timeout);
        let engine = self.engine.clone();
        // A thread of its own kind: it reads the disk, and waits for whoever takes the pieces.
        tokio::task::spawn_blocking(move || {
            let _place = place;
            // Whether it was taken: a taker that is gone, or takes nothing, ends the backup.
            let give = |piece: Result<Vec<u8>, Status>| {
                let piece = piece.map(|piece| BackupResponse { piece });
                let given = tokio::time::timeout(timeout, pieces.send(piece));
                matches!(runtime.block_on(given), Ok(Ok(())))
            };
            let take = || take(reader, settings, keys, |piece| give(Ok(piece)));
            let why = match catch_unwind(AssertUnwindSafe(take)) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => Error::Store(error).into(),
                Err(_) => panicked(&engine),
            };
            give(Err(why));
        });
        Ok(Response::new(ReceiverStream::new(taken)))
    }

    async fn resume(
        &self,
        request: Request<ResumeRequest>,
    ) -> Result<Response<ResumeResponse>, Status> {
        let caller = caller(&request)?;
        let open = match request.into_inner().open() {
            OpenWorkflows::Unspecified => {
                let wanted = "must be OPEN_WORKFLOWS_CONTINUE or OPEN_WORKFLOWS_CANCEL";
                return Err(Error::invalid("open", wanted).into());
            }
            OpenWorkflows::Continue => ResumePolicy::Continue,
            OpenWorkflows::Cancel => ResumePolicy::Cancel,
        };
        if self.engine.is_restore_locked() {
            self.audit(caller, "service.resumed").await?;
        }
        let (engine, health) = (self.engine.clone(), self.health.clone());
        // Goes on although the caller may leave: what it asked for is done, and health must say so.
        let resumed = tokio::spawn(async move {
            let resumed = engine.resume(open).await;
            let is_let_go = matches!(resumed, Ok(_) | Err(EngineError::NotRestoreLocked));
            if is_let_go && !engine.is_draining() {
                health.set_serving::<DispatchServiceServer<DispatchService>>().await;
            }
            resumed
        });
        let resumed = resumed.await.map_err(|_| Error::Engine(EngineError::Unavailable))?;
        let count = resumed.map_err(Error::from)?;
        Ok(Response::new(ResumeResponse { open_workflows: count as u64 }))
    }
}

impl std::fmt::Debug for AdminService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminService")
    }
}
