//! Three processes on one PostgreSQL, of which one is active. It is killed; it stands still until another has taken
//! over, and wakes; it ends in order. Each time the next one goes on, while customers and the provider are at it.
//!
//! Callers and the provider know one address, behind which the active process is, as behind a load balancer. Each
//! process calls the provider at a door of its own, so that the provider's log tells whose call each was.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use dispatch::{client::Client, pb::v1::EventKind};
use dispatch_contract::AttemptId;
use dispatch_sandbox::{ProviderConfig, SentMessage, SimulatedProvider};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::{
    oracle::{self, Promised},
    report,
    server::{Ended, Place, Server},
    shared::postgres::{Cluster, shared},
    world::{self, Dice, credential, eventually, messenger_sms, request, setting},
};

/// How long anything that must come may take here: a takeover waits for a lease, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a process may have to wait for its turn.
const A_DAY: Duration = Duration::from_secs(86_400);
/// How long one try of a call may take.
const TRY: Duration = Duration::from_secs(10);
/// What a process says that finds another active.
const WAITS: &str = "waiting for the lease";
/// For how long nobody's lease can be renewed, or be found gone, when a process wakes: less than a lease lasts.
const LEASES_STAND_STILL: Duration = Duration::from_secs(2);

/// An address behind which there is whoever is active, if anybody is.
struct Front {
    address: SocketAddr,
    active: watch::Sender<Option<SocketAddr>>,
}

impl Front {
    async fn open() -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (active, changes) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(forward(caller, changes.clone()));
            }
        });
        Front { address, active }
    }
}

/// Carries what is said until one of them hangs up, or another process is active.
async fn forward(mut caller: TcpStream, mut active: watch::Receiver<Option<SocketAddr>>) {
    // While nobody is, it waits.
    let address = match active.wait_for(Option::is_some).await {
        Ok(address) => address.expect("somebody is active"),
        Err(_) => return,
    };
    let carry = async {
        let mut process = TcpStream::connect(address).await?;
        copy_bidirectional(&mut caller, &mut process).await
    };
    tokio::select! {
        _ = carry => {}
        _ = active.changed() => {}
    }
}

/// Where a process lives, and the provider's door that it calls.
struct Node {
    place: Place,
    provider: Arc<SimulatedProvider>,
}

/// All processes.
struct Cast {
    nodes: Vec<Node>,
    calls: Front,
    webhooks: Front,
    /// Those that wait, until they serve.
    waiting: JoinSet<(usize, Result<Server, Ended>)>,
    active: Option<(usize, Server)>,
}

impl Cast {
    /// Three of them on a database, the first active.
    async fn open(folder: &Path, database: &str, stop: &CancellationToken) -> Cast {
        let (calls, webhooks) = (Front::open().await, Front::open().await);
        let key = folder.join("master.key");
        std::fs::write(&key, STANDARD.encode([7; 32])).unwrap();
        let mut nodes = Vec::new();
        for number in 0..3 {
            let script = "accept; deliver 60ms; jitter 100ms".parse().unwrap();
            // Of a seed of its own: no two doors give a message the same id.
            let config =
                ProviderConfig { seed: number, default_script: script, ..Default::default() };
            let (provider, door) = world::provider_of(config, stop).await;
            let home = folder.join(number.to_string());
            std::fs::create_dir(&home).unwrap();
            let store = format!("[store]\nkind = \"postgres\"\nconnection = \"{database}\"\n");
            let access =
                format!("[access]\nmaster_key = \"file:{}\"\n[[access.keys]]", key.display());
            let text = world::config(door, webhooks.address)
                .replace("[store]\n", &store)
                .replace("[[access.keys]]", &access)
                .replace("level = \"warn\"", "level = \"info\"");
            nodes.push(Node { place: Place::new(&home, &text).await, provider });
        }
        let (waiting, active) = (JoinSet::new(), None);
        let mut cast = Cast { nodes, calls, webhooks, waiting, active };
        let first = cast.nodes[0].place.begin(Vec::new(), &[]);
        cast.waiting.spawn(async { (0, first.serves(PATIENCE).await) });
        cast.next().await;
        cast.wait(1).await;
        cast.wait(2).await;
        cast
    }

    /// Starts a process that must wait.
    async fn wait(&mut self, node: usize) {
        let starting = self.nodes[node].place.begin(Vec::new(), &[]);
        assert!(
            starting.says(WAITS).await,
            "process {node} does not wait although another is active"
        );
        self.waiting.spawn(async move { (node, starting.serves(A_DAY).await) });
    }

    /// Waits until one of those that wait is active.
    async fn next(&mut self) {
        let next = tokio::time::timeout(PATIENCE, self.waiting.join_next()).await;
        let (node, started) = next.expect("nobody takes over").expect("somebody waits").unwrap();
        let server =
            started.unwrap_or_else(|ended| panic!("process {node} did not wait: {ended:?}"));
        self.calls.active.send_replace(Some(server.grpc));
        self.webhooks.active.send_replace(Some(self.nodes[node].place.http));
        self.active = Some((node, server));
    }

    /// Waits until so many were created.
    async fn reach(&mut self, load: &Load, count: u64) {
        let (mut seen, mut since) = (0, Instant::now());
        while load.answers() < count {
            if load.answers() > seen {
                (seen, since) = (load.answers(), Instant::now());
            }
            let (node, server) = self.active.as_mut().expect("one is active");
            assert!(!server.has_ended(), "{node} ended by itself: {}", server.said());
            assert!(since.elapsed() < PATIENCE, "nobody is answered any more, after {seen}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The active process, of which there is one.
    fn take(&mut self) -> (usize, Server) {
        let (node, server) = self.active.take().expect("one is active");
        if let Some(other) = self.waiting.try_join_next() {
            let (other, started) = other.unwrap();
            let ended = started.err().map(|ended| ended.said);
            panic!(
                "{other} did not wait while {node} was active: {ended:?}, and {}",
                server.said()
            );
        }
        // The provider repeats a webhook that found nobody after 5, 10, 20 … seconds: most wait at the door instead.
        self.webhooks.active.send_replace(None);
        (node, server)
    }

    /// Kills the active one, and starts it again once another is active; returns how long nobody was answered.
    async fn kill(&mut self, load: &Load) -> Duration {
        let (node, server) = self.take();
        let at = Instant::now();
        assert!(!server.kill().await, "{node} had ended by itself");
        self.next().await;
        let took = load.answered_after(at).await;
        self.wait(node).await;
        took
    }

    /// Ends the active one in order; returns how long nobody was answered.
    async fn hand_over(&mut self, load: &Load) -> Duration {
        let (node, server) = self.take();
        let at = Instant::now();
        server.signal("TERM");
        let ended = tokio::spawn(server.ended());
        self.next().await;
        let took = load.answered_after(at).await;
        let ended = ended.await.unwrap();
        assert_eq!(ended.status.code(), Some(0), "{node}: {}", ended.said);
        took
    }

    /// Stops the active one until another has gone on for a while, and wakes it.
    async fn stop_and_wake(
        &mut self,
        load: &Load,
        cluster: &Arc<Cluster>,
        database: &str,
    ) -> Woken {
        let (node, server) = self.take();
        server.signal("STOP");
        let stopped_at = SystemTime::now();
        self.next().await;
        self.reach(load, load.answers() + 20).await;
        // It cannot learn that its lease is gone: the fence alone stands between it and the journal.
        let still = leases_stand_still(cluster, database).await;
        let woken_at = SystemTime::now();
        server.signal("CONT");
        let began = Instant::now();
        let ended = server.ended().await;
        let lived_on = began.elapsed();
        let code = ended.status.code();
        assert!(code.is_some_and(|code| code != 0), "{node} woke and ended with {ended:?}");
        assert!(ended.said.contains("this one writes nothing any more"), "{node}: {}", ended.said);
        still.await.unwrap();
        let calls = self.nodes[node].provider.calls().into_iter();
        let late = calls.filter(|call| call.at.0 > unix_ms(woken_at));
        let late = late.map(|call| call.client_ref.unwrap().parse().unwrap()).collect();
        self.wait(node).await;
        Woken { stopped_at, lived_on, late }
    }

    async fn client(&self) -> Client {
        let address = format!("http://{}", self.calls.address);
        Client::connect(address).await.unwrap().with(credential())
    }

    /// What the provider has sent, for whomever.
    fn sent(&self) -> Vec<SentMessage> {
        self.nodes.iter().flat_map(|node| node.provider.sent()).collect()
    }

    /// No call was made twice under one id: not by the same process, and not by two. Returns how many there were.
    fn assert_nobody_began_what_was_begun(&self) -> u64 {
        let mut begun = BTreeMap::new();
        for (number, node) in self.nodes.iter().enumerate() {
            for call in node.provider.calls() {
                let name = call.client_ref.unwrap();
                let before = begun.insert(name.clone(), number);
                assert_eq!(before, None, "{name} was begun by {before:?} and by {number}");
            }
        }
        begun.len() as u64
    }
}

/// A process that stood still while another took over.
struct Woken {
    stopped_at: SystemTime,
    /// How long it was awake before it ended.
    lived_on: Duration,
    /// Whose calls left when it was awake again.
    late: Vec<AttemptId>,
}

impl Woken {
    /// What left late was STARTED before it stood still, durably: between that and the call nothing can be looked at.
    async fn assert_began_nothing(&self, client: &Client) {
        for attempt in &self.late {
            let name = attempt.to_string();
            let workflow = client.get(attempt.workflow.hyphenated().to_string()).await.unwrap();
            let mut events = workflow.timeline.iter();
            let started = events
                .find(|event| event.kind() == EventKind::AttemptStarted && event.attempt_id == name)
                .map(|event| oracle::millis(event) as u64);
            let is_of_before = started.is_some_and(|at| at <= unix_ms(self.stopped_at));
            assert!(
                is_of_before,
                "{name} was sent by a process that was taken over from: {workflow:#?}"
            );
        }
    }
}

/// Nobody changes a lease from now on, until the task ends.
async fn leases_stand_still(cluster: &Arc<Cluster>, database: &str) -> JoinHandle<()> {
    let (asked, place) = (Arc::clone(cluster), database.to_owned());
    let seconds = LEASES_STAND_STILL.as_secs();
    let holds = format!("LOCK TABLE dispatch.node IN SHARE MODE; SELECT pg_sleep({seconds})");
    let holding = tokio::task::spawn_blocking(move || {
        assert!(asked.answer(&place, &holds).is_some(), "the leases could not be held");
    });
    let is_held = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'dispatch.node'::regclass \
                   AND mode = 'ShareLock' AND granted";
    let held = eventually(LEASES_STAND_STILL, || async {
        cluster.answer(database, is_held).as_deref() == Some("t")
    });
    assert!(held.await, "the leases are not held");
    holding
}

/// Customers who repeat what was not answered.
struct Load {
    promised: Arc<Mutex<Promised>>,
    answers: AtomicU64,
    /// When the newest of the creates began that were answered.
    newest: Mutex<Instant>,
    stop: AtomicBool,
}

impl Load {
    fn begin(client: &Client, seed: u64) -> (Arc<Load>, Vec<JoinHandle<()>>) {
        let load = Arc::new(Load {
            promised: Arc::default(),
            answers: AtomicU64::new(0),
            newest: Mutex::new(Instant::now()),
            stop: AtomicBool::new(false),
        });
        let customer = |number| {
            let (load, client) = (Arc::clone(&load), client.clone());
            tokio::spawn(
                async move { load.customer(client, number, Dice::new(seed, number)).await },
            )
        };
        let customers = (0..4).map(customer).collect();
        (load, customers)
    }

    /// Creates, cancels and looks, until told to stop.
    async fn customer(&self, client: Client, customer: u64, mut dice: Dice) {
        for number in 1.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let request_id = format!("{customer}-{number}");
            let asked = request(&request_id, messenger_sms(&format!("person-{request_id}")));
            self.promised.lock().unwrap().asked.insert(request_id.clone(), asked.clone());
            let (began, created) = until_answered(|| client.create(asked.clone())).await;
            let id = created.unwrap().workflow.unwrap().workflow_id;
            self.promised.lock().unwrap().created.insert(request_id, id.clone());
            self.answered(began);
            if dice.one_in(4) {
                match until_answered(|| client.cancel(&id)).await.1 {
                    Ok(canceled) => {
                        let started = canceled.started_attempt_ids.into_iter().collect();
                        self.promised.lock().unwrap().canceled.insert(id.clone(), started);
                    }
                    Err(status) => assert_eq!(status.code(), Code::FailedPrecondition, "{status}"),
                }
            }
            if dice.one_in(3) {
                let workflow = until_answered(|| client.get(&id)).await.1.unwrap();
                self.promised.lock().unwrap().shown.insert(id, oracle::timeline(&workflow));
            }
            tokio::time::sleep(Duration::from_millis(dice.below(20))).await;
        }
    }

    /// Notes that a create was answered.
    fn answered(&self, began: Instant) {
        let mut newest = self.newest.lock().unwrap();
        *newest = began.max(*newest);
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits for the first answer to what was asked since then; returns how long it was.
    async fn answered_after(&self, at: Instant) -> Duration {
        let answered = eventually(PATIENCE, || async { *self.newest.lock().unwrap() > at });
        assert!(answered.await, "nobody is answered any more");
        at.elapsed()
    }
}

/// Asks until somebody answers; also returns when that was asked.
async fn until_answered<T, F>(ask: impl Fn() -> F) -> (Instant, Result<T, Status>)
where
    F: Future<Output = Result<T, Status>>,
{
    let first = Instant::now();
    loop {
        let began = Instant::now();
        let silence = |_| Err(Status::deadline_exceeded("no answer in time"));
        let answer = tokio::time::timeout(TRY, ask()).await.unwrap_or_else(silence);
        let code = answer.as_ref().err().map(Status::code);
        let is_unanswered = matches!(
            code,
            Some(
                Code::Unavailable
                    | Code::Unknown
                    | Code::Cancelled
                    | Code::Internal
                    | Code::DeadlineExceeded
            )
        );
        if !is_unanswered || first.elapsed() > PATIENCE {
            return (began, answer);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_goes_on_with_everything_and_who_wakes_begins_nothing() {
    let Some(cluster) = shared() else { return };
    let seed = Dice::seed();
    let lives = setting("DISPATCH_TAKEOVER_LIVES").unwrap_or(300).max(60);
    // A kill and a stop in each thousand.
    let rounds = lives.div_ceil(1000);
    let (folder, stop, database) =
        (tempfile::tempdir().unwrap(), CancellationToken::new(), cluster.database());
    let mut cast = Cast::open(folder.path(), &database, &stop).await;
    let client = cast.client().await;
    let seen = oracle::watch(&client).await;
    let (load, customers) = Load::begin(&client, seed);
    let (mut silences, mut woken) = (Vec::new(), Vec::new());
    let part = |number| lives * number / (3 * rounds);
    for round in 0..rounds {
        cast.reach(&load, part(3 * round + 1)).await;
        silences.push(cast.kill(&load).await);
        cast.reach(&load, part(3 * round + 2)).await;
        woken.push(cast.stop_and_wake(&load, &cluster, &database).await);
    }
    cast.reach(&load, lives).await;
    let handed_over = cast.hand_over(&load).await;
    load.stop.store(true, Ordering::Relaxed);
    for customer in customers {
        customer.await.unwrap();
    }
    let promised = std::mem::take(&mut *load.promised.lock().unwrap());
    let kept = oracle::check(&client, || cast.sent(), promised, seen).await;
    for woken in &woken {
        woken.assert_began_nothing(&client).await;
    }
    let calls = cast.assert_nobody_began_what_was_begun();
    let (_, server) = cast.take();
    cast.waiting.abort_all();
    assert_eq!(server.terminate().await, Some(0));
    stop.cancel();
    let longest = silences.iter().max().unwrap();
    let lived_on: Vec<_> = woken.iter().map(|woken| woken.lived_on).collect();
    println!(
        "silent after a kill {silences:?}, after an end in order {handed_over:?}; awake {lived_on:?}; {kept:?}"
    );
    report::row(&report::Tried {
        name: "37-takeover",
        what: "three real processes on one PostgreSQL: the active one is killed, or stopped until another has taken \
               over and woken, or ended in order",
        counts: vec![
            (rounds, "kills"),
            (rounds, "stops"),
            (kept.acknowledged, "workflows acknowledged"),
            (kept.cancels, "cancels"),
            (calls, "calls"),
            (kept.sent, "messages sent"),
            (
                woken.iter().map(|woken| woken.late.len() as u64).sum(),
                "calls that left after waking, all STARTED before",
            ),
            (kept.unknown, "unknown outcomes"),
            (kept.possible_doubles, "possible doubles counted"),
            (kept.watched, "events streamed"),
            (longest.as_millis() as u64, "ms from a kill to the next answer, at most"),
            (handed_over.as_millis() as u64, "ms from an end in order"),
        ],
        found: format!("nothing lost, no call by two, {} real doubles, all counted", kept.doubles),
        seed: format!("DISPATCH_SEED={seed} DISPATCH_TAKEOVER_LIVES={lives}"),
    });
}
