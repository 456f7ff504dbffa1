//! Faults of the disk and of whoever handles the folder: each is refused or ends the process, with a
//! text that says where and what to do; and once it is gone, all that was acknowledged is there.

use std::{collections::BTreeMap, fs, path::Path};

use dispatch::{
    client::{Client, Credential},
    pb::v1::CreateKeyRequest,
};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    record::{Entry, entries},
    report,
    server::{Ended, Place, TIMEOUT},
    shim::{ALWAYS_EIO, EIO, FULL, Faults, READ_ONLY},
    world::{config_without_provider, messenger_sms, request},
};

/// Acknowledged creates: workflows by request id.
type Acknowledged = BTreeMap<String, String>;

/// Creates up to `most` workflows, until one is not acknowledged.
async fn create(client: &Client, name: &str, most: u32) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    for number in 0..most {
        let request_id = format!("{name}-{number}");
        let asked = request(&request_id, messenger_sms("somebody"));
        let created = tokio::time::timeout(TIMEOUT, client.create(asked)).await;
        let Ok(created) = created.expect("it neither answers nor ends") else { break };
        acknowledged.insert(request_id, created.workflow.unwrap().workflow_id);
    }
    acknowledged
}

/// Starts once more, untampered, and finds everything.
async fn all_is_there(place: &Place, acknowledged: &Acknowledged) {
    let server = place.start().await;
    let client = server.client().await;
    for (request_id, id) in acknowledged {
        let again = client.create(request(request_id, messenger_sms("somebody"))).await.unwrap();
        assert!(again.already_existed, "{request_id} was forgotten");
        assert_eq!(again.workflow.unwrap().workflow_id, *id);
        assert_eq!(client.get(id).await.unwrap().timeline[0].sequence, 1);
    }
    assert_eq!(server.terminate().await, Some(0));
}

async fn place(folder: &Path) -> Place {
    Place::new(folder, &config_without_provider()).await
}

/// A folder with a life behind it.
async fn lived(folder: &Path) -> (Place, Acknowledged) {
    let place = place(folder).await;
    let server = place.start().await;
    let acknowledged = create(&server.client().await, "before", 20).await;
    assert_eq!(acknowledged.len(), 20);
    assert_eq!(server.terminate().await, Some(0));
    (place, acknowledged)
}

/// The start is refused, and `words` are in the text.
async fn refused(place: &Place, faults: Option<&Faults>, words: &[&str]) -> Ended {
    let Err(ended) = place.start_with(faults, &[]).await else { panic!("it starts") };
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    for word in words {
        assert!(ended.said.contains(word), "{word:?} is not said: {}", ended.said);
    }
    ended
}

/// The disk fails while it runs: nothing more is acknowledged, health turns, the process ends
/// non-zero, and what was acknowledged is there at the next start.
async fn fatal(at: &str, act: &'static str) -> Acknowledged {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let faults = Faults::at(at, act);
    let Ok(server) = place.start_with(Some(&faults), &[]).await else {
        panic!("{at}, {act}: it came too early")
    };
    let client = server.client().await;
    let channel = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let request = HealthCheckRequest { service: String::new() };
    let mut states = health.watch(request).await.unwrap().into_inner();
    let acknowledged = create(&client, "during", 1000).await;
    assert!(acknowledged.len() < 1000, "{at}, {act}: the fault never came");
    let last = async {
        let mut last = None;
        while let Ok(Some(state)) = states.message().await {
            last = Some(state.status());
        }
        last
    };
    let last = tokio::time::timeout(TIMEOUT, last).await.expect("it goes on serving");
    let turned = Some(ServingStatus::NotServing);
    assert_eq!(last, turned, "{at}, {act}: health did not turn NOT_SERVING");
    let ended = server.ended().await;
    assert_eq!(ended.status.code(), Some(1), "{at}, {act}: {ended:?}");
    assert!(ended.said.contains("store"), "{at}, {act}: {}", ended.said);
    all_is_there(&place, &acknowledged).await;
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_the_process_and_loses_nothing() {
    let mut faults = 0;
    let mut acknowledged = 0;
    for (at, act) in [
        ("write/db 20", FULL),
        ("write/db 21", EIO),
        ("sync/db 12", EIO),
        ("sync/db 13", ALWAYS_EIO),
        ("range/db 20", EIO),
        ("range/db 21", ALWAYS_EIO),
        ("write/dispatch.mark 10", FULL),
    ] {
        acknowledged += fatal(at, act).await.len() as u64;
        faults += 1;
    }
    report::row(&report::Tried {
        name: "40-disk",
        what: "a full disk and failing writes and syncs under the real program",
        counts: vec![(faults, "faults"), (acknowledged, "workflows acknowledged before them")],
        found: "each ended the process non-zero, NOT_SERVING first; nothing was lost".to_owned(),
        seed: "none: no chance in it".to_owned(),
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_never_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let record = folder.path().join("record");
    let faults = Faults { record: Some(record.clone()), ..Faults::at("sync/db 12", EIO) };
    let server = place.start_with(Some(&faults), &[]).await.unwrap();
    let acknowledged = create(&server.client().await, "during", 1000).await;
    server.ended().await;
    let bytes = fs::read(record).unwrap();
    let syncs =
        entries(&bytes).filter(|(entry, _)| matches!(entry, Entry::SyncEnds { name: "db", .. }));
    assert_eq!(syncs.count(), 11, "sync 12 failed, and there was another");
    all_is_there(&place, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_writes_are_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let faults = Faults::at("write/db 1", "always short");
    let server = place.start_with(Some(&faults), &[]).await.unwrap();
    let acknowledged = create(&server.client().await, "during", 50).await;
    assert_eq!(acknowledged.len(), 50);
    server.kill().await;
    all_is_there(&place, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_failing_disk_is_refused_and_the_next_one_finds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (place, acknowledged) = lived(folder.path()).await;
    for (at, act) in [
        ("open 1", READ_ONLY),
        ("write 1", FULL),
        ("write/snap 1", FULL),
        ("sync/snap 1", EIO),
        ("rename/snap 1", EIO),
        ("sync/db 1", EIO),
        ("sync/db 2", EIO),
        ("sync/. 1", EIO),
        ("write/dispatch.mark 1", FULL),
        ("rename/dispatch.mark 1", EIO),
    ] {
        let shown = place.data.display().to_string();
        match place.start_with(Some(&Faults::at(at, act)), &[]).await {
            // What fails behind the start is the other test's.
            Ok(server) => drop(server.kill().await),
            Err(ended) => {
                assert_eq!(ended.status.code(), Some(1), "{at}, {act}: {ended:?}");
                assert!(ended.said.contains(&shown), "{at}, {act} names no file: {}", ended.said);
            }
        }
    }
    all_is_there(&place, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (place, mut acknowledged) = lived(folder.path()).await;
    let first = place.start().await;
    let mut other = self::place(&tempfile::tempdir().unwrap().keep()).await;
    other.data = place.data.clone();
    refused(&other, None, &["in use by another process", &place.data.display().to_string()]).await;
    acknowledged.extend(create(&first.client().await, "after", 20).await);
    first.kill().await;
    all_is_there(&place, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_lost_its_store_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (place, acknowledged) = lived(folder.path()).await;
    let db = place.data.join("db");
    let shown = db.display().to_string();
    let whole = fs::read(&db).unwrap();
    for junk in [Vec::new(), vec![0; 4096], b"junk".to_vec(), b"junk".repeat(5000)] {
        fs::write(&db, &junk).unwrap();
        refused(&place, None, &[&shown, "restore a backup"]).await;
        assert_eq!(fs::read(&db).unwrap(), junk, "it was written to");
    }
    fs::remove_file(&db).unwrap();
    refused(&place, None, &[&shown, "restore a backup"]).await;
    fs::write(&db, &whole).unwrap();
    all_is_there(&place, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let shown = place.data.display().to_string();
    fs::write(&place.data, "a file").unwrap();
    refused(&place, None, &[&shown, "is a file", "--data"]).await;
    fs::remove_file(&place.data).unwrap();
    fs::create_dir(&place.data).unwrap();
    fs::write(place.data.join("db"), "junk").unwrap();
    refused(&place, None, &[&shown, "is not a store"]).await;
    // A folder that was left in its first moments is a new one.
    for beginning in [&b""[..], &[0; 512]] {
        fs::write(place.data.join("db"), beginning).unwrap();
        fs::write(place.data.join("conf"), beginning).unwrap();
        all_is_there(&place, &Acknowledged::new()).await;
        fs::remove_dir_all(&place.data).unwrap();
        fs::create_dir(&place.data).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_tail_is_refused_until_the_loss_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let (place, acknowledged) = lived(folder.path()).await;
    let server = place.start().await;
    let lost = create(&server.client().await, "lost", 20).await;
    assert_eq!(server.terminate().await, Some(0));
    // The last bytes of the log, as a damaged disk or half a copy has them.
    let db = fs::read(place.data.join("db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(place.data.join("db"), &db[..used - 8000]).unwrap();
    let words = ["of the journal", "are lost", "--accept-loss"];
    refused(&place, None, &words).await;
    refused(&place, None, &words).await;
    let server = place.start_with(None, &["--accept-loss"]).await.unwrap();
    assert_eq!(server.terminate().await, Some(0));
    all_is_there(&place, &acknowledged).await;
    assert!(!lost.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_key_is_noticed_however_much_of_the_tail_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (place, acknowledged) = lived(folder.path()).await;
    let server = place.start().await;
    use dispatch::pb::v1::Scope::{Admin, Cancel, Create, Operator, Read};
    let scopes = [Create, Read, Cancel, Admin, Operator].map(|scope| scope as i32).to_vec();
    let request = CreateKeyRequest { scopes, ..CreateKeyRequest::default() };
    let made = server.client().await.access().create_key(request).await.unwrap().into_inner();
    assert_eq!(server.terminate().await, Some(0));
    let kept = folder.path().join("kept");
    fs::rename(&place.data, &kept).unwrap();
    let db = fs::read(kept.join("db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap();
    let key = Credential::key(&format!("{}:{}", made.key.unwrap().key_id, made.secret)).unwrap();
    let (mut refusals, mut whole) = (0, 0);
    for cut in [0].into_iter().chain((1..6000).step_by(400)) {
        fs::create_dir(&place.data).unwrap();
        for entry in fs::read_dir(&kept).unwrap().map(Result::unwrap) {
            // A snapshot knows by itself that the log behind it is too short.
            let is_snapshot = entry.file_name().to_string_lossy().starts_with("snap.");
            if entry.path().is_file() && !is_snapshot {
                fs::copy(entry.path(), place.data.join(entry.file_name())).unwrap();
            }
            if entry.file_name() == "contents" {
                let copy = place.data.join("contents");
                fs::create_dir(&copy).unwrap();
                for keys in fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
                    fs::copy(keys.path(), copy.join(keys.file_name())).unwrap();
                }
            }
        }
        let left = if cut == 0 { &db[..] } else { &db[..used - cut] };
        fs::write(place.data.join("db"), left).unwrap();
        match place.start_with(None, &[]).await {
            // Then nobody but whoever has the key gets in.
            Ok(server) => {
                let client = server.client().await;
                assert!(client.get(acknowledged.values().next().unwrap()).await.is_err(), "{cut}");
                let known = client.with(key.clone());
                assert!(known.get(acknowledged.values().next().unwrap()).await.is_ok(), "{cut}");
                server.kill().await;
                whole += 1;
            }
            Err(ended) => {
                assert!(ended.said.contains("are lost"), "{cut}: {}", ended.said);
                refusals += 1;
            }
        }
        fs::remove_dir_all(&place.data).unwrap();
    }
    println!("{refusals} refused, {whole} lost nothing that counts");
    assert!(whole >= 1 && refusals > 3, "{whole}, {refusals}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_can_be_made_again_are() {
    let folder = tempfile::tempdir().unwrap();
    let (place, acknowledged) = lived(folder.path()).await;
    all_is_there(&place, &acknowledged).await;
    for name in ["conf", "dispatch.mark", "snap."] {
        for entry in fs::read_dir(&place.data).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with(name) {
                fs::remove_file(path).unwrap();
            }
        }
        all_is_there(&place, &acknowledged).await;
    }
    // What a kill leaves of a snapshot that was being written.
    fs::write(place.data.join("snap.FFFFFFFFFFFFFFFF.generating"), "half").unwrap();
    all_is_there(&place, &acknowledged).await;
}
