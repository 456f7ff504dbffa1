//! Creates: what is asked for becomes a record, its contents sealed, and the writer decides.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use dispatch_contract::UnixMillis;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Engine, RETRY_AFTER_MS};
use crate::{
    contents::{FreshKey, RequestDigest, WorkflowRequest},
    engine::{Command, Created, EngineError, Made},
    machine::WorkflowId,
    store::{ExistingRequest, Record, RequestKey, Requester},
};

impl Engine {
    /// Creates a workflow of a checked request, durably.
    ///
    /// # Errors
    /// [`EngineError::AlreadyExists`], [`EngineError::TooLate`], [`EngineError::Overloaded`],
    /// [`EngineError::RouteSaturated`], [`EngineError::Unavailable`].
    pub async fn create(
        &self,
        tenant: Arc<str>,
        request: WorkflowRequest,
        request_id: Option<String>,
        requester: Requester,
    ) -> Result<Created, EngineError> {
        if self.is_draining() {
            return Err(EngineError::Unavailable);
        }
        let began = Instant::now();
        let digest = request_id.is_some().then(|| request.digest());
        let key = self.key().await?;
        let record = self.record(tenant, request, request_id.zip(digest), requester, key)?;
        let record = Box::new(record);
        let made = self.submit(|reply| Command::Create { record, reply }).await;
        self.0.metrics.create(began.elapsed());
        made??.answer(&self.0.contents, digest.as_ref())
    }

    /// Creates several workflows of checked requests, each durably or not at all, and returns when the last of
    /// them is: what became of each, in order. They are handed over together, so that they share commits
    /// and wake whoever waits for them once.
    ///
    /// Each may fail as [`create`](Self::create) does.
    pub async fn create_all(
        &self,
        tenant: &Arc<str>,
        asked: Vec<(WorkflowRequest, Option<String>)>,
        requester: Requester,
    ) -> Vec<Result<Created, EngineError>> {
        if self.is_draining() {
            return asked.iter().map(|_| Err(EngineError::Unavailable)).collect();
        }
        let (count, began) = (asked.len(), Instant::now());
        let (mut records, mut digests) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (request, request_id) in asked {
            let digest = request_id.is_some().then(|| request.digest());
            let record = match self.key().await {
                Ok(key) => {
                    let (tenant, named) = (Arc::clone(tenant), request_id.zip(digest));
                    self.record(tenant, request, named, requester.clone(), key)
                }
                Err(error) => Err(error),
            };
            match record {
                Ok(record) => records.push(record),
                // Without keys, or a library that seals, there are no creates at all.
                Err(error) => return vec![Err(error); count],
            }
            digests.push(digest);
        }
        let made = self.make_all(records).await;
        made.iter().for_each(|_| self.0.metrics.create(began.elapsed()));
        let contents = &self.0.contents;
        let answer = |(made, digest): (Result<Made, EngineError>, Option<RequestDigest>)| {
            made?.answer(contents, digest.as_ref())
        };
        made.into_iter().zip(digests).map(answer).collect()
    }

    /// What the writer makes of each.
    async fn make_all(&self, records: Vec<Record>) -> Vec<Result<Made, EngineError>> {
        let (answers, told) = Answers::of(records.len());
        let command = |(index, record)| {
            let answers = Arc::clone(&answers);
            let reply = Box::new(move |made| answers.set(index, made));
            (Command::Create { record: Box::new(record), reply }, self.0.clock.busy())
        };
        let commands = records.into_iter().enumerate().map(command).collect();
        for (index, why) in self.0.inbox.push_all(commands) {
            answers.set(index, Err(why.into()));
        }
        drop(answers);
        told.await.unwrap_or_default()
    }

    fn record(
        &self,
        tenant: Arc<str>,
        WorkflowRequest { plan, contents }: WorkflowRequest,
        request: Option<(String, RequestDigest)>,
        requester: Requester,
        key: FreshKey,
    ) -> Result<Record, EngineError> {
        let created_at = self.0.clock.moment();
        let request_id = request.as_ref().map(|(id, _)| id.as_str());
        let id = new_id(created_at.engine, &tenant, request_id);
        let request =
            request.map(|(id, digest)| RequestKey { id, fingerprint: key.fingerprint(&digest) });
        let contents = self.0.contents.seal(key, id, &contents).map_err(|error| {
            tracing::error!(workflow = %id, %error, "contents could not be sealed");
            EngineError::Unavailable
        })?;
        let policy = *self.0.policy.get();
        Ok(Record { id, tenant, created_at, plan, policy, request, requester, contents })
    }

    /// A key for one workflow's contents. Where none is at hand it is waited for, off the runtime.
    async fn key(&self) -> Result<FreshKey, EngineError> {
        if let Some(key) = self.0.contents.try_take() {
            return Ok(key);
        }
        let contents = Arc::clone(&self.0.contents);
        match tokio::task::spawn_blocking(move || contents.take()).await {
            Ok(Ok(key)) => Ok(key),
            Ok(Err(error)) => {
                tracing::error!(%error, "no key could be made for a new workflow");
                Err(EngineError::Unavailable)
            }
            Err(_) => Err(EngineError::Unavailable),
        }
    }

    /// What an acknowledged create of a tenant's made under this `request_id`: asked where a create is
    /// refused, since a repeat makes nothing new, whatever stands in the way of that. A store that cannot be
    /// read knows of none, and the log says so.
    pub fn existing_request(&self, tenant: &str, request_id: &str) -> Option<ExistingRequest> {
        self.0.reader.requested(tenant, request_id).unwrap_or_else(|error| {
            tracing::error!(%error, "a request id could not be looked up");
            None
        })
    }

    /// The workflow that was made of an earlier request, if `request` asks for the same.
    ///
    /// # Errors
    /// [`EngineError::AlreadyExists`] if it asks for something else.
    pub fn repeated(
        &self,
        existing: ExistingRequest,
        request: &WorkflowRequest,
    ) -> Result<WorkflowId, EngineError> {
        Made::Existing(existing).answer(&self.0.contents, Some(&request.digest())).map(|it| it.id)
    }

    /// Whether there is room for a create of a tenant's: asked before any work is put into it.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`].
    pub fn check_capacity(&self, tenant: &Arc<str>) -> Result<(), EngineError> {
        if self.0.inbox.is_full_of_creates(tenant) {
            return Err(EngineError::Overloaded { retry_after_ms: RETRY_AFTER_MS });
        }
        Ok(())
    }
}

/// What commands that were handed over together are answered, told once the last answer is there or will
/// never be.
struct Answers {
    answers: Mutex<Vec<Result<Made, EngineError>>>,
    tell: Option<oneshot::Sender<Vec<Result<Made, EngineError>>>>,
}

impl Answers {
    /// So many, shared by whoever answers. What nobody answers is [`EngineError::Unavailable`].
    fn of(count: usize) -> (Arc<Self>, oneshot::Receiver<Vec<Result<Made, EngineError>>>) {
        let (tell, told) = oneshot::channel();
        let answers = vec![Err(EngineError::Unavailable); count];
        (Arc::new(Answers { answers: Mutex::new(answers), tell: Some(tell) }), told)
    }

    fn set(&self, index: usize, answer: Result<Made, EngineError>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = answers.get_mut(index) {
            *place = answer;
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let answers = self.answers.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(tell) = self.tell.take() {
            // A caller that went away is not told.
            let _ = tell.send(std::mem::take(answers));
        }
    }
}

/// An id of engine time, so that ids sort as workflows were created; in the partition of the request id.
fn new_id(now: UnixMillis, tenant: &str, request_id: Option<&str>) -> WorkflowId {
    let (seconds, ms) = (now.0 / 1000, (now.0 % 1000) as u32);
    let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, ms * 1_000_000);
    WorkflowId::new(Uuid::new_v7(time), tenant, request_id)
}
