//! One adapter in a program of its own: where it is, what it told of itself, and whether it is down.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use dispatch_contract::Cause;
use prost::Message;
use tokio::sync::{Notify, watch};
use tonic::{service::interceptor::InterceptedService, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    MINOR,
    call::{Bearer, CallProblem, request, within},
    checked,
    description::AdapterDescription,
    line_limit::LineLimit,
    pb::{self, adapter_service_client::AdapterServiceClient},
    target::DialTarget,
};

/// The largest answer that is taken.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// How long an adapter may take to say what it is, and that it serves.
pub(crate) const PING: Duration = Duration::from_secs(5);

type RemoteConnection = InterceptedService<Channel, Bearer>;
pub(crate) type RemoteClient = AdapterServiceClient<RemoteConnection>;

/// What the parts of a remote provider share.
pub(crate) struct Remote {
    pub(crate) name: String,
    dialled: watch::Sender<Arc<Dialled>>,
    /// Told once in a life of the service: from the data folder, or by the adapter.
    description: OnceLock<AdapterDescription>,
    down: Mutex<Option<Down>>,
    /// Where what it told is kept for the next start.
    kept: Option<PathBuf>,
    /// Told when a call found nobody.
    pub(crate) lost: Notify,
    pub(crate) lines: LineLimit,
}

/// Where it is, and the way there, which is made when it is first asked for.
struct Dialled {
    target: DialTarget,
    way: OnceLock<Channel>,
}

impl Dialled {
    fn new(target: DialTarget) -> Arc<Dialled> {
        Arc::new(Dialled { target, way: OnceLock::new() })
    }
}

/// That nothing can be sent through it, and why.
#[derive(Clone)]
pub(crate) struct Down {
    /// Half a sentence.
    pub(crate) why: String,
    pub(crate) cause: Option<Cause>,
}

impl Down {
    /// No answer came in time.
    pub(crate) fn late() -> Down {
        Down { why: CallProblem::late().why, cause: None }
    }
}

impl Remote {
    pub(crate) fn new(name: &str, target: DialTarget, kept: Option<PathBuf>) -> Remote {
        Remote {
            name: name.to_owned(),
            dialled: watch::Sender::new(Dialled::new(target)),
            description: OnceLock::new(),
            down: Mutex::new(None),
            kept,
            lost: Notify::new(),
            lines: LineLimit::default(),
        }
    }

    /// Dials another place from now on.
    pub(crate) fn redial(&self, target: DialTarget) {
        self.dialled.send_if_modified(|dialled| {
            let is_other = dialled.target != target;
            if is_other {
                *dialled = Dialled::new(target);
            }
            is_other
        });
    }

    /// Connects anew with the next call: a connection can be dead without a word of anybody's. What is under way
    /// ends as it began.
    fn reconnect(&self) {
        self.dialled.send_if_modified(|dialled| {
            *dialled = Dialled::new(dialled.target.clone());
            // It is no other place.
            false
        });
    }

    /// Ready once it is to be dialled elsewhere.
    pub(crate) fn redialled(&self) -> impl Future<Output = ()> + use<> {
        let mut changes = self.dialled.subscribe();
        async move {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        self.dialled.borrow().target.to_string()
    }

    fn connection(&self) -> Result<RemoteConnection, CallProblem> {
        let dialled = Arc::clone(&self.dialled.borrow());
        let way = match dialled.way.get() {
            Some(way) => way.clone(),
            None => {
                // Only its TLS could be wrong: that the system has no certificates.
                let endpoint = dialled.target.endpoint().map_err(CallProblem::unusable)?;
                dialled.way.get_or_init(|| endpoint.connect_lazy()).clone()
            }
        };
        Ok(InterceptedService::new(way, Bearer::of(dialled.target.authorization())))
    }

    /// What its calls are made by. It connects with the first of them.
    pub(crate) fn client(&self) -> Result<RemoteClient, CallProblem> {
        Ok(AdapterServiceClient::new(self.connection()?).max_decoding_message_size(ANSWER_BYTES))
    }

    /// What it told of itself, if it ever did.
    pub(crate) fn description(&self) -> Option<&AdapterDescription> {
        self.description.get()
    }

    /// What it tells of itself now, whatever that is.
    pub(crate) async fn describe(
        &self,
        timeout: Duration,
    ) -> Result<pb::DescribeResponse, CallProblem> {
        let asked = request(pb::DescribeRequest { minor: MINOR }, timeout);
        let mut client = self.client()?;
        within(timeout, client.describe(asked)).await
    }

    /// What it tells of itself now, where that can be used; and whether it answers, and serves.
    pub(crate) async fn ping(
        &self,
        timeout: Duration,
    ) -> (Option<pb::DescribeResponse>, Result<(), Down>) {
        let told = match self.describe(timeout).await {
            Ok(told) => told,
            Err(problem) => return (None, Err(self.silent(problem))),
        };
        if let Err(why) = checked::check(&told, &self.name) {
            return (None, Err(Down { why, cause: None }));
        }
        (Some(told), self.serves(timeout).await)
    }

    async fn serves(&self, timeout: Duration) -> Result<(), Down> {
        let asked = async {
            let mut health = HealthClient::new(self.connection()?);
            let asked = request(HealthCheckRequest { service: String::new() }, timeout);
            within(timeout, health.check(asked)).await
        };
        match asked.await {
            Ok(health) if health.status() == ServingStatus::NotServing => {
                Err(Down { why: "it says that it is not serving".to_owned(), cause: None })
            }
            Err(problem) if problem.may_mean_down() => Err(self.silent(problem)),
            // Whoever has no such service is there all the same.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// It does not answer.
    fn silent(&self, problem: CallProblem) -> Down {
        if problem.is_late() {
            self.reconnect();
        }
        Down { why: problem.why, cause: problem.cause }
    }

    /// Takes up what it told, if that is the first in this life.
    pub(crate) fn take(&self, told: &pb::DescribeResponse) {
        self.description.get_or_init(|| AdapterDescription::of(told));
    }

    /// [`take`](Self::take), and keeps it for the next life.
    pub(crate) fn described(&self, told: &pb::DescribeResponse) {
        let taken = self.description.get_or_init(|| AdapterDescription::of(told));
        if self.read_kept().as_ref() == Some(told) {
            return;
        }
        if taken.told != *told && self.lines.admits("described otherwise").is_some() {
            tracing::warn!(
                adapter = self.name,
                "it describes itself otherwise than before; a restart takes that up"
            );
        }
        if let Err(error) = self.keep(told)
            && self.lines.admits("not kept").is_some()
        {
            tracing::warn!(adapter = self.name, %error, "what it told of itself could not be kept");
        }
    }

    /// What it told in an earlier life, if that is still right.
    pub(crate) fn read_kept(&self) -> Option<pb::DescribeResponse> {
        let bytes = fs::read(self.kept.as_ref()?).ok()?;
        let told = pb::DescribeResponse::decode(&*bytes).ok()?;
        checked::check(&told, &self.name).ok().map(|()| told)
    }

    fn keep(&self, told: &pb::DescribeResponse) -> io::Result<()> {
        let Some(path) = &self.kept else { return Ok(()) };
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        replace(path, &told.encode_to_vec())
    }

    /// Why nothing can be sent through it, as far as that is known.
    pub(crate) fn down(&self) -> Option<Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the log, now and then, that something it told is not taken.
    pub(crate) fn refuse(&self, why: &str, items: usize) {
        if let Some(held_back) = self.lines.admits("refused") {
            let adapter = &self.name;
            tracing::warn!(adapter, why, items, held_back, "what the adapter told is not taken");
        }
    }

    /// Notes whether it is down, and tells the log when that changes.
    pub(crate) fn note(&self, now: Option<Down>) {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        let (adapter, endpoint) = (&self.name, self.place());
        match (&*down, &now) {
            (before, Some(Down { why, .. })) if before.as_ref().is_none_or(|it| it.why != *why) => {
                tracing::error!(
                    adapter,
                    endpoint,
                    why,
                    "the adapter is down; its routes wait for it"
                );
            }
            (Some(_), None) => tracing::info!(adapter, endpoint, "the adapter is up"),
            (Some(_), Some(_)) | (None, Some(_) | None) => {}
        }
        *down = now;
    }
}

/// Writes a file whole or not at all, for its owner alone.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
