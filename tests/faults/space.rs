//! A disk that fills up: said before, creates refused while the rest goes on, and a start to be read.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use dispatch::pb::v1::ListWorkflowsRequest;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    server::Place,
    world::{eventually, messenger_sms, request},
};

/// A small disk of its own, which goes with it. Only root may make one.
struct Disk(PathBuf);

impl Disk {
    fn new(within: &Path, mib: u32) -> Option<Disk> {
        let path = within.join("disk");
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={mib}m");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        mounted.is_ok_and(|status| status.success()).then_some(Disk(path))
    }

    fn free(&self) -> u64 {
        let told = rustix::fs::statvfs(&self.0).unwrap();
        told.f_bavail * told.f_frsize
    }

    /// Fills it until so much is free.
    fn fill(&self, leave: u64) {
        let path = self.0.join("filler");
        let has = std::fs::metadata(&path).map_or(0, |about| about.len());
        let wanted = (has + self.free()).saturating_sub(leave);
        std::fs::write(&path, vec![1; usize::try_from(wanted).unwrap()]).unwrap();
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_is_told_of_refuses_creates_and_can_be_read_when_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::new(folder.path(), 192) else {
        println!("skipped: a small disk can be made by root only");
        return;
    };
    let text = "[sandbox]\ndefault_script = \"accept; never\"\n[log]\nlevel = \"warn\"\n\
                [store]\nwarn_free_mib = 100\nreserve_mib = 24\nballast_mib = 32\n";
    let mut place = Place::new(folder.path(), text).await;
    place.data = disk.0.join("data");
    let server = place.start().await;
    let client = server.client().await;
    let mut ids = Vec::new();
    for number in 0..20 {
        let created = client.create(request(&number.to_string(), messenger_sms("a"))).await;
        ids.push(created.unwrap().workflow.unwrap().workflow_id);
    }
    assert_eq!(std::fs::metadata(place.data.join("ballast")).unwrap().len(), 32 * MIB);

    // Little is left: said, and nothing new is taken; what is there goes on.
    let late = Mutex::new(Vec::new());
    disk.fill(20 * MIB);
    let timeout = Duration::from_secs(30);
    let number = AtomicU32::new(100);
    let refuses = || async {
        let another = number.fetch_add(1, Ordering::Relaxed).to_string();
        match client.create(request(&another, messenger_sms("a"))).await {
            Ok(created) => {
                late.lock().unwrap().push(created.workflow.unwrap().workflow_id);
                false
            }
            Err(_) => true,
        }
    };
    assert!(eventually(timeout, refuses).await, "it takes work on a full disk");
    let refused = client.create(request("more", messenger_sms("a"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "DISK_FULL");
    let again = client.create(request("7", messenger_sms("a"))).await.unwrap();
    assert_eq!(again.workflow.unwrap().workflow_id, ids[7], "a repeat is still answered");
    client.cancel(&ids[0]).await.unwrap();
    server.signal("TERM");
    let ended = server.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert!(ended.said.contains("nearly full"), "{}", ended.said);

    ids.extend(late.into_inner().unwrap());

    // Full: refused with what to do, and then it is there to be read.
    disk.fill(0);
    let Err(ended) = place.start_with(None, &[]).await else { panic!("it starts on a full disk") };
    assert!(ended.said.contains("--read-only"), "{}", ended.said);
    let server = place.start_with(None, &["--read-only"]).await.unwrap();
    let client = server.client().await;
    let listed = client.list(ListWorkflowsRequest { page_size: 200, ..Default::default() }).await;
    assert_eq!(listed.unwrap().workflows.len(), ids.len());
    assert!(!client.get(&ids[3]).await.unwrap().timeline.is_empty());
    for refused in [
        client.create(request("new", messenger_sms("a"))).await.map(|_| ()).unwrap_err(),
        client.cancel(&ids[1]).await.map(|_| ()).unwrap_err(),
    ] {
        assert_eq!(refused.get_details_error_info().unwrap().reason, "READ_ONLY", "{refused:?}");
        assert!(refused.message().contains("read only"), "{refused:?}");
    }
    assert_eq!(server.terminate().await, Some(0));

    // Room again: all of it is there, and work is taken.
    disk.clear();
    let server = place.start().await;
    let client = server.client().await;
    for id in &ids {
        client.get(id).await.unwrap();
    }
    client.create(request("more", messenger_sms("a"))).await.unwrap();
    assert!(place.data.join("ballast").exists(), "kept for the next time");
    assert_eq!(server.terminate().await, Some(0));
}
