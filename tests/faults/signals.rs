//! Being told to stop, and being stopped, under load.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    oracle::{self, Promised},
    server::{Place, Server},
    world::{self, Dice, eventually, messenger_sms, provider, request, setting},
};

struct Load {
    promised: Arc<Mutex<Promised>>,
    stop: Arc<AtomicBool>,
    customers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn begin(server: &Server, seed: u64) -> Load {
        let promised = Arc::new(Mutex::new(Promised::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut customers = Vec::new();
        for number in 0..4 {
            customers.push(tokio::spawn(oracle::customer(
                server.client().await,
                Arc::clone(&promised),
                Arc::clone(&stop),
                number.to_string(),
                Dice::new(seed, number),
            )));
        }
        Load { promised, stop, customers }
    }

    async fn end(self) -> Promised {
        self.stop.store(true, Ordering::Relaxed);
        for customer in self.customers {
            customer.await.unwrap();
        }
        std::mem::take(&mut *self.promised.lock().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_drains_and_loses_nothing() {
    let seed = Dice::seed();
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (provider, address) = provider("accept; deliver 60ms; jitter 100ms", &stop).await;
    let place = Place::new(folder.path(), "").await;
    std::fs::write(&place.config, world::config(address, place.http)).unwrap();
    let server = place.start().await;
    let seen = oracle::watch(&server.client().await).await;
    let load = Load::begin(&server, seed).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(server.terminate().await, Some(0));
    let promised = load.end().await;
    let server = place.start().await;
    let kept = oracle::check(&server.client().await, || provider.sent(), promised, seen).await;
    assert!(kept.acknowledged > 10, "{kept:?}");
    // Whatever was out was waited for: no outcome is unknown.
    assert_eq!(kept.unknown, 0, "{kept:?}");
    assert_eq!(server.terminate().await, Some(0));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_it_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    // The first call waits in vain for its answer, and so does the drain.
    let (provider, address) = provider("hang | accept; deliver 60ms", &stop).await;
    let place = Place::new(folder.path(), "").await;
    std::fs::write(&place.config, world::config(address, place.http)).unwrap();
    let server = place.start().await;
    let client = server.client().await;
    let created = client.create(request("one", messenger_sms("somebody"))).await.unwrap();
    let id = created.workflow.unwrap().workflow_id;
    assert!(eventually(Duration::from_secs(10), || async { !provider.calls().is_empty() }).await);
    server.signal("TERM");
    // Each asks for something new: a repeat of what was acknowledged is answered during a drain too.
    let asked = AtomicU32::new(0);
    let refuses = eventually(Duration::from_secs(5), || async {
        let request_id = format!("new-{}", asked.fetch_add(1, Ordering::Relaxed));
        client.create(request(&request_id, messenger_sms("somebody"))).await.is_err()
    });
    assert!(refuses.await, "it takes work while it drains");
    server.signal("TERM");
    let ended = tokio::time::timeout(Duration::from_secs(5), server.ended()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.said.contains("second signal"), "{}", ended.said);
    let server = place.start().await;
    let kept = server.client().await.get(&id).await.unwrap();
    assert!(kept.timeline.len() >= 3, "{kept:#?}");
    assert_eq!(server.terminate().await, Some(0));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_is_late_and_loses_nothing() {
    let seed = Dice::seed();
    let pause = Duration::from_secs(setting("DISPATCH_STOP_S").unwrap_or(5));
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (provider, address) = provider("accept; deliver 60ms; jitter 100ms", &stop).await;
    let place = Place::new(folder.path(), "").await;
    std::fs::write(&place.config, world::config(address, place.http)).unwrap();
    let server = place.start().await;
    let seen = oracle::watch(&server.client().await).await;
    let load = Load::begin(&server, seed).await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    server.signal("STOP");
    tokio::time::sleep(pause).await;
    server.signal("CONT");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let promised = load.end().await;
    let kept = oracle::check(&server.client().await, || provider.sent(), promised, seen).await;
    assert!(kept.acknowledged > 10, "{kept:?}");
    println!("stopped for {pause:?}: {kept:?}");
    assert_eq!(server.terminate().await, Some(0));
    stop.cancel();
}
