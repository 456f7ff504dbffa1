//! A wall clock that is wrong, under the real program: libfaketime sets it, before a start and while
//! the program runs, and leaves the clock that counts from the machine's boot as it is.
//!
//! Whatever it shows, durations take as long as they should, and appointments are kept by what it shows
//! at the moment. Nothing here waits for longer than some seconds: a step is two hours, so that what
//! follows it is far from anything that comes by itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use dispatch::{
    client::Client,
    pb::v1::{OutcomeReason, WorkflowSpec},
};
use dispatch_sandbox::SimulatedProvider;
use tokio_util::sync::CancellationToken;

use crate::{
    server::{Place, Server},
    world::{self, eventually, messenger_sms, provider, request},
};

/// For what should come within moments, on a machine that is busy.
const SOON: Duration = Duration::from_secs(25);
const HOUR: Duration = Duration::from_secs(3600);

/// A wall clock that can be set.
struct Wall(PathBuf);

impl Wall {
    /// `None` where libfaketime is not installed.
    fn new(folder: &Path) -> Option<Wall> {
        library()?;
        let wall = Wall(folder.join("faketime"));
        wall.set("+0");
        Some(wall)
    }

    /// Sets it, as in `+2h` ahead of the true time; within a second or two it shows that.
    fn set(&self, ahead: &str) {
        // In one piece: it may be read at any moment.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{ahead}\n")).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let library = library().expect("it is there");
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
        .into()
    }
}

fn library() -> Option<PathBuf> {
    let multiarch = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let folders = multiarch.map(|entry| entry.path()).chain([PathBuf::from("/usr/lib")]);
    let found = folders
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file());
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(found.is_some() || !is_ci, "{MISSING}");
    found
}

const MISSING: &str = "libfaketime is not installed (Debian: apt-get install faketime)";

/// A provider, and a service with a wall clock of its own.
struct Setting {
    place: Place,
    wall: Wall,
    provider: Arc<SimulatedProvider>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Setting {
    async fn new(script: &str) -> Option<Setting> {
        let folder = tempfile::tempdir().unwrap();
        let Some(wall) = Wall::new(folder.path()) else {
            println!("not tried: {MISSING}");
            return None;
        };
        let stop = CancellationToken::new();
        let (provider, address) = provider(script, &stop).await;
        let place = Place::new(folder.path(), "").await;
        std::fs::write(&place.config, world::config(address, place.http)).unwrap();
        Some(Setting { place, wall, provider, stop, _folder: folder })
    }

    async fn start(&self) -> (Server, Client) {
        let started = self.place.start_in(self.wall.environment(), &[]).await;
        let server = started.unwrap_or_else(|ended| panic!("no start: {ended:?}"));
        let client = server.client().await;
        (server, client)
    }

    /// How many messages went to a person.
    fn sent_to(&self, person: &str) -> usize {
        let sent = self.provider.sent();
        sent.iter().filter(|sent| sent.recipient.value() == person).count()
    }

    async fn is_sent(&self, person: &str) -> bool {
        eventually(SOON, || async { self.sent_to(person) > 0 }).await
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// To `person` alone, who has to read it within so many seconds; else an SMS, to `person` and "s".
fn within(expiry_s: u64, person: &str) -> WorkflowSpec {
    let mut spec = messenger_sms(person);
    let failover = spec.steps[0].failover.as_mut().unwrap();
    failover.expiry_time = Some(Duration::from_secs(expiry_s).try_into().unwrap());
    spec.steps[1].recipient = dispatch::pb::from_yaml::<WorkflowSpec>(&format!(
        "steps: [{{ recipient: {{ channel: sms, number: '{}' }} }}]",
        number(person)
    ))
    .unwrap()
    .steps
    .remove(0)
    .recipient;
    spec
}

/// The number of a person who is called by one.
fn number(person: &str) -> String {
    format!("4477008{:0>5}", person.trim_matches(|c: char| !c.is_ascii_digit()))
}

async fn create(client: &Client, spec: WorkflowSpec) -> String {
    let created = client.create(request("", spec)).await.unwrap();
    created.workflow.unwrap().workflow_id
}

async fn is_accepted(client: &Client, id: &str) -> bool {
    eventually(SOON, || async { client.get(id).await.unwrap().steps[0].status == "submitted" })
        .await
}

fn after(time: SystemTime, by: Duration) -> Option<prost_types::Timestamp> {
    Some((time + by).into())
}

/// How far the time at which the workflow was created is from the true one.
async fn told_off_by(client: &Client, id: &str) -> Duration {
    let told = client.get(id).await.unwrap().create_time.unwrap();
    let told = SystemTime::try_from(told).unwrap();
    let now = SystemTime::now();
    told.duration_since(now).or_else(|_| now.duration_since(told)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_with_the_clock_two_hours_fast_leaves_nothing_behind() {
    let Some(setting) = Setting::new("accept; never").await else { return };
    setting.wall.set("+2h");
    let (server, client) = setting.start().await;
    let waiting = create(&client, within(12, "person 1")).await;
    assert!(is_accepted(&client, &waiting).await);
    let accepted = Instant::now();
    let off = told_off_by(&client, &waiting).await;
    assert!(off > HOUR, "the clock of this life is not fast: {off:?}");
    server.kill().await;

    // Right again: for good.
    setting.wall.set("+0");
    for life in 2..5 {
        let (server, client) = setting.start().await;
        let now = SystemTime::now();
        let in_half_an_hour = format!("person {life}0");
        let mut later = messenger_sms(&in_half_an_hour);
        later.send_at = after(now, HOUR / 2);
        let later = create(&client, later).await;
        let in_moments = format!("person {life}1");
        let mut soon = messenger_sms(&in_moments);
        (soon.send_at, soon.valid_until) =
            (after(now, Duration::from_secs(3)), after(now, Duration::from_secs(600)));
        let soon = create(&client, soon).await;
        assert!(told_off_by(&client, &soon).await < HOUR / 2);
        assert!(setting.is_sent(&in_moments).await, "an appointment is missed in life {life}");
        let took = now.elapsed().unwrap();
        assert!(took >= Duration::from_secs(3), "sent {took:?} after it was asked for");
        assert_eq!(setting.sent_to(&in_half_an_hour), 0, "sent long before its time");
        client.cancel(&later).await.unwrap();
        if life == 4 {
            let is_sent = setting.is_sent(&number("person 1")).await;
            let found = client.get(&waiting).await.unwrap().timeline;
            assert!(is_sent, "the expiry of 12 s is late: {found:#?}");
        }
        server.kill().await;
    }
    let sent = setting.provider.sent();
    let first = |person: &str| sent.iter().find(|sent| sent.recipient.value() == person);
    let took = first(&number("person 1")).unwrap().at.since(first("person 1").unwrap().at);
    assert!(took >= Duration::from_secs(12), "the expiry of 12 s came after {took:?}");
    assert!(accepted.elapsed() < HOUR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_while_the_service_runs_moves_appointments_and_nothing_else() {
    let Some(setting) = Setting::new("accept; never").await else { return };
    let (server, client) = setting.start().await;
    let now = SystemTime::now();
    let expires = create(&client, within(20, "person 1")).await;
    let mut scheduled = messenger_sms("person 2");
    scheduled.send_at = after(now, HOUR);
    create(&client, scheduled).await;
    // Turned away until the clock is set, and then it is too late.
    setting.provider.set_script("person 3", "throttle 1000 1s; accept; never".parse().unwrap());
    let mut bounded = within(3000, "person 3");
    bounded.valid_until = after(now, HOUR);
    let bounded = create(&client, bounded).await;
    assert!(is_accepted(&client, &expires).await);
    assert_eq!(setting.sent_to("person 2"), 0);

    setting.wall.set("+2h");
    assert!(setting.is_sent("person 2").await, "it is an hour after its send_at");
    let is_over = || async {
        let found = client.get(&bounded).await.unwrap();
        found.outcome.is_some_and(|outcome| outcome.reason() == OutcomeReason::DeadlineExceeded)
    };
    assert!(eventually(SOON, is_over).await, "it is an hour after its valid_until");
    setting.provider.clear_script("person 3");

    setting.wall.set("-2h");
    let mut slow = messenger_sms("person 4");
    // The service takes this for an hour ahead, which it is by its clock.
    slow.send_at = after(SystemTime::now(), Duration::ZERO).map(|mut time| {
        time.seconds -= 3600;
        time
    });
    assert!(eventually(SOON, || async { told_is_behind(&client).await }).await);
    let slow = create(&client, slow).await;
    let is_sent = setting.is_sent(&number("person 1")).await;
    let found = client.get(&expires).await.unwrap().timeline;
    assert!(is_sent, "the expiry of 20 s is late: {found:#?}");
    assert_eq!(setting.sent_to("person 4"), 0, "an hour before its send_at");
    setting.wall.set("+0");
    assert!(setting.is_sent("person 4").await, "it is an hour after its send_at");
    assert_eq!(client.get(&slow).await.unwrap().steps[0].attempts.len(), 1);
    assert_eq!(setting.sent_to("person 3"), 0, "sent after its valid_until");

    let sent = setting.provider.sent();
    let first =
        |person: &str| sent.iter().find(|sent| sent.recipient.value() == person).unwrap().at;
    let took = first(&number("person 1")).since(first("person 1"));
    assert!(took >= Duration::from_secs(20), "the expiry of 20 s came after {took:?}");
    let is_alarmed = || async { server.said().contains("the wall clock was set") };
    assert!(eventually(SOON, is_alarmed).await, "nobody is told of it: {}", server.said());
    assert_eq!(server.terminate().await, Some(0));
}

/// Whether the service's wall clock is behind the true one by more than an hour.
async fn told_is_behind(client: &Client) -> bool {
    let mut spec = messenger_sms("person 9");
    spec.send_at = after(SystemTime::now(), Duration::from_secs(86_400));
    let id = create(client, spec).await;
    let told = client.get(&id).await.unwrap().create_time.unwrap();
    client.cancel(&id).await.unwrap();
    let told = SystemTime::try_from(told).unwrap();
    SystemTime::now().duration_since(told).is_ok_and(|behind| behind > HOUR)
}

/// No wall clock is wrong here, but a service that never lives as long as its grace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_killed_within_its_grace_again_and_again_fails_over_all_the_same() {
    const GRACE: Duration = Duration::from_secs(3);
    let stop = CancellationToken::new();
    let (provider, address) = provider("accept; never", &stop).await;
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), "").await;
    let config = world::config(address, place.http);
    let with_grace = config.replace("recovery_grace_s = 0", "recovery_grace_s = 3");
    assert_ne!(with_grace, config);
    std::fs::write(&place.config, with_grace).unwrap();
    let server = place.start().await;
    let id = create(&server.client().await, within(1, "person 1")).await;
    assert!(is_accepted(&server.client().await, &id).await);
    server.kill().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;

    let sent = || provider.sent().iter().filter(|sent| sent.channel.as_str() == "sms").count();
    let mut up = Duration::ZERO;
    let mut lives = 0;
    while sent() == 0 {
        let server = place.start().await;
        let began = Instant::now();
        eventually(Duration::from_secs(2), || async { sent() > 0 }).await;
        up += began.elapsed();
        lives += 1;
        let found = server.client().await.get(&id).await.unwrap();
        let told: Vec<_> = found.timeline.iter().map(|event| event.description.clone()).collect();
        server.kill().await;
        let most = 2 * GRACE;
        assert!(lives < 10, "held for {up:?} in {lives} lives, and not {most:?}: {told:#?}");
    }
    assert!(
        lives > 1,
        "the first life must hold it for all of the grace, and does not last that long"
    );
    stop.cancel();
}
