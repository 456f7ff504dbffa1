//! Does it stay as large as it is? Days of virtual time with retention on, and an hour of real time with
//! kills; memory, disk, open files and every table in memory are looked at again and again.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dispatch::{
    access::AUDIT_OF_TENANT,
    pb::v1::{
        AdvanceClockRequest, BatchCreateWorkflowsRequest, CreateWorkflowRequest, EraseRequest,
        PersonToErase, SetScriptRequest, address::Endpoint, batch_create_result::Result as Outcome,
        dispatch_service_client::DispatchServiceClient, erase_request::Subject,
        sandbox_service_client::SandboxServiceClient,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    oracle::{self, Promised},
    report,
    server::{Place, Server},
    world::{self, Dice, messenger_sms, provider, request, setting},
};

/// How large a process is, by what is measured: `rss_kib`, `disk_kib`, `files`, and its tables.
type Size = BTreeMap<String, f64>;

/// What a process is like at some moment.
async fn size(server: &Server, data: &Path) -> Size {
    let process = Path::new("/proc").join(server.id().to_string());
    let status = fs::read_to_string(process.join("status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss = rss.and_then(|line| line.split_whitespace().next()).unwrap();
    let mut size = Size::from([
        ("rss_kib".to_owned(), rss.parse().unwrap()),
        ("files".to_owned(), fs::read_dir(process.join("fd")).unwrap().count() as f64),
        ("disk_kib".to_owned(), (bytes(data) / 1024) as f64),
    ]);
    let metrics = reqwest::get(format!("http://{}/metrics", server.internal_http)).await.unwrap();
    for line in metrics.text().await.unwrap().lines() {
        let Some(table) = line.strip_prefix("dispatch_table_entries{") else { continue };
        let (labels, value) = table.split_once("} ").unwrap();
        let labels = labels.replace("room=", "").replace("table=", "").replace(['"'], "");
        size.insert(labels.replace(',', "/"), value.parse().unwrap());
    }
    size
}

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let bytes_of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(of) if of.is_dir() => bytes(&entry.path()),
        Ok(of) => of.len(),
        // Gone since then.
        Err(_) => 0,
    };
    entries.map(bytes_of).sum()
}

/// By how much each figure grows a unit of `x`, by least squares.
fn slopes(sizes: &[(f64, Size)]) -> BTreeMap<&str, f64> {
    let count = sizes.len() as f64;
    let mean = |of: &dyn Fn(&(f64, Size)) -> f64| sizes.iter().map(of).sum::<f64>() / count;
    let x = mean(&|(x, _)| *x);
    let names = sizes.iter().flat_map(|(_, size)| size.keys());
    let slope = |name: &str| {
        let value = |size: &Size| size.get(name).copied().unwrap_or_default();
        let y = mean(&|(_, size)| value(size));
        let rise: f64 = sizes.iter().map(|(at, size)| (at - x) * (value(size) - y)).sum();
        let run: f64 = sizes.iter().map(|(at, _)| (at - x).powi(2)).sum();
        if run > 0.0 { rise / run } else { 0.0 }
    };
    names.map(|name| (name.as_str(), slope(name))).collect()
}

/// Prints how each figure began, ended and grew.
fn print(sizes: &[(f64, Size)], unit: &str) {
    let ((_, first), (_, last)) = (&sizes[0], &sizes[sizes.len() - 1]);
    println!("{:<32} {:>12} {:>12} {:>14}", "", "first", "last", format!("a {unit}"));
    for (name, slope) in slopes(sizes) {
        let value = |size: &Size| size.get(name).copied().unwrap_or_default();
        println!("{name:<32} {:>12} {:>12} {slope:>14.3}", value(first), value(last));
    }
}

/// As many workflows as come at once: each from another sender, with a label of its own.
fn batch(at: u64, count: u64, dice: &mut Dice) -> BatchCreateWorkflowsRequest {
    let one = |number| {
        let name = format!("{at}-{number}");
        let person = match dice.below(20) {
            0 => "silent".to_owned(),
            1 => "refused".to_owned(),
            _ => format!("person-{name}"),
        };
        let mut spec = messenger_sms(&person);
        let steps = &mut spec.steps;
        let sender = steps[1].sender.as_mut().unwrap();
        sender.endpoint = Some(Endpoint::Number(format!("S{at:x}N{number:x}")));
        spec.labels.insert("customer".to_owned(), name.clone());
        CreateWorkflowRequest { workflow: Some(spec), request_id: name, ..Default::default() }
    };
    BatchCreateWorkflowsRequest { requests: (0..count).map(one).collect() }
}

/// With retention over, what comes goes too: nothing is larger after many days than after two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_with_retention_leave_it_as_large_as_it_was() {
    let seed = Dice::seed();
    let mut dice = Dice::new(seed, 7);
    let hours = setting("DISPATCH_SOAK_HOURS").unwrap_or(6).max(4);
    let rate = setting("DISPATCH_SOAK_RATE").unwrap_or(120);
    // It is over a few times in the shortest soak, and many times in a long one.
    let retention_h = (hours / 6).clamp(1, 24);
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[store]\nretention_s = {}\ncontents_retention_s = {}\ncache_mib = 16\n[engine]\nunconfirmed_after_s = 1200\n\
         [sandbox]\nvirtual_clock = true\n[log]\nlevel = \"warn\"\n",
        retention_h * 3600,
        retention_h * 1800
    );
    let place = Place::new(folder.path(), &text).await;
    let server = place.start().await;
    let client = server.client().await;
    let address = format!("http://{}", server.grpc);
    let mut batches = DispatchServiceClient::connect(address.clone()).await.unwrap();
    let mut sandbox = SandboxServiceClient::connect(address).await.unwrap();
    for (recipient, script) in [("silent", "accept; never"), ("refused", "reject 1300")] {
        let (recipient, script) = (recipient.to_owned(), script.to_owned());
        sandbox.set_script(SetScriptRequest { recipient, script }).await.unwrap();
    }
    // Twelve steps an hour: nothing waits for long.
    let (steps, mut created, mut canceled, mut erased) = (hours * 12, 0_u64, 0_u64, 0_u64);
    let (mut sizes, began) = (Vec::new(), Instant::now());
    let first_look = 2 * retention_h * 12;
    let every = ((steps - first_look) / 24).max(1);
    for step in 0..steps {
        let count = (rate * (step + 1) / 12) - (rate * step / 12);
        let asked = batch(step, count, &mut dice);
        let answer = batches.batch_create_workflows(asked).await.unwrap().into_inner();
        for result in answer.results {
            let Some(Outcome::Created(made)) = result.result else { panic!("{result:?}") };
            created += 1;
            if dice.one_in(30) {
                client.cancel(&made.workflow.unwrap().workflow_id).await.unwrap();
                canceled += 1;
            }
        }
        // Somebody whose message of lately is on its way yet, or over.
        if dice.one_in(4) {
            let back = dice.below(6).min(step);
            let person = Subject::Person(PersonToErase {
                recipients: vec![format!("person-{}-0", step - back)],
            });
            let request = EraseRequest { subject: Some(person), ..EraseRequest::default() };
            let answer = client.erasures().erase(request).await.unwrap().into_inner();
            erased += u64::from(answer.certificate.unwrap().workflow_count);
        }
        let by = Some(Duration::from_secs(300).try_into().unwrap());
        sandbox.advance_clock(AdvanceClockRequest { by }).await.unwrap();
        if step >= first_look && (step - first_look).is_multiple_of(every) {
            sizes.push((step as f64 / (12.0 * 24.0), size(&server, &place.data).await));
        }
    }
    println!("{created} workflows in {hours} virtual hours, {:?}", began.elapsed());
    print(&sizes, "day");
    // Compared are the means of two thirds of the looks, so that no single one decides.
    let third = sizes.len() / 3;
    let mean = |of: &[(f64, Size)], name: &str| {
        of.iter().map(|(_, size)| size.get(name).copied().unwrap_or_default()).sum::<f64>()
            / of.len() as f64
    };
    let (early, late) = (&sizes[..third], &sizes[sizes.len() - third..]);
    for name in sizes[0].1.keys() {
        let (before, after) = (mean(early, name), mean(late, name));
        // What a page of files or an allocator keeps back is no leak.
        let slack = match name.as_str() {
            "rss_kib" => 24.0 * 1024.0,
            "disk_kib" => 16.0 * 1024.0,
            "files" => 4.0,
            // Erasures are written down there; of a tenant so many.
            "access/audit_rows" => AUDIT_OF_TENANT as f64,
            // Looked through when there is so much more of it.
            "store/open_dictionary" | "engine/requirements" => 8192.0,
            _ => 64.0,
        };
        assert!(after <= before * 1.25 + slack, "{name} grows: {before} and later {after}");
    }
    let metrics = reqwest::get(format!("http://{}/metrics", server.internal_http)).await.unwrap();
    let gone = metrics.text().await.unwrap().lines().find_map(|line| {
        let by_age = r#"dispatch_contents_destroyed_total{cause="age"} "#;
        line.strip_prefix(by_age)?.parse::<f64>().ok()
    });
    let gone = gone.unwrap_or_default() as u64;
    assert!(erased > 0 && gone > created / 4, "{erased} erased, and {gone} gone by age");
    let at = |name: &str| mean(late, name) as u64;
    report::row(&report::Tried {
        name: "35-soak-retention",
        what: "days of virtual time with retention on",
        counts: vec![
            (hours, "virtual hours"),
            (retention_h, "of them kept"),
            (created, "workflows"),
            (canceled, "cancels"),
            (erased, "erased"),
            (gone, "contents gone by age"),
            (at("rss_kib") / 1024, "MiB of memory at the end"),
            (at("disk_kib") / 1024, "MiB of disk"),
            (at("files"), "open files"),
            (sizes[0].1.len() as u64 - 3, "tables watched"),
        ],
        found: "nothing grows".to_owned(),
        seed: format!("DISPATCH_SEED={seed} DISPATCH_SOAK_HOURS={hours} DISPATCH_SOAK_RATE={rate}"),
    });
    assert_eq!(server.terminate().await, Some(0));
}

/// Lives of half a minute, each killed, with customers all the while; then everything ends, and every
/// promise is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_with_kills_lose_nothing_and_leak_nothing() {
    let seed = Dice::seed();
    let mut dice = Dice::new(seed, 8);
    let total = Duration::from_secs(setting("DISPATCH_SOAK_S").unwrap_or(6));
    let a_life = (total / 4).min(Duration::from_secs(30));
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (provider, address) = provider("accept; deliver 60ms; jitter 100ms", &stop).await;
    let place = Place::new(folder.path(), "").await;
    let config = world::config(address, place.http).replace("= 3600", "= 604800");
    fs::write(&place.config, config).unwrap();
    let promised = Arc::new(Mutex::new(Promised::default()));
    let seen = {
        let first = place.start().await;
        let seen = oracle::watch(&first.client().await).await;
        first.kill().await;
        seen
    };
    let (began, mut sizes, mut kills) = (Instant::now(), Vec::new(), 0);
    while began.elapsed() < total {
        let starting = Instant::now();
        let server = place.start().await;
        let start_ms = starting.elapsed().as_millis() as f64;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut customers = Vec::new();
        for number in 0..2 {
            customers.push(tokio::spawn(oracle::customer(
                server.client().await,
                Arc::clone(&promised),
                Arc::clone(&is_over),
                format!("soak-{kills}-{number}"),
                Dice::new(dice.next(), number),
            )));
        }
        tokio::time::sleep(a_life).await;
        let mut size = size(&server, &place.data).await;
        size.insert("start_ms".to_owned(), start_ms);
        // Not only at the end: of a soak that ends early, this is what there is.
        println!("life {kills}: {size:?}");
        sizes.push((began.elapsed().as_secs_f64() / 3600.0, size));
        assert!(!server.kill().await, "it had ended by itself");
        kills += 1;
        is_over.store(true, Ordering::Relaxed);
        for customer in customers {
            customer.await.unwrap();
        }
    }
    print(&sizes, "hour");
    let files = |of: &(f64, Size)| of.1["files"];
    let (first, last) = (files(&sizes[0]), files(&sizes[sizes.len() - 1]));
    assert!(last <= first + 32.0, "open files grow from life to life: {first} and later {last}");
    let server = place.start().await;
    let client = server.client().await;
    // It serves: the first answer does not wait for what the kills left behind.
    client.create(request("the-last", messenger_sms("the last"))).await.unwrap();
    let promised = std::mem::take(&mut *promised.lock().unwrap());
    let kept = oracle::check(&client, || provider.sent(), promised, seen).await;
    assert_eq!(server.terminate().await, Some(0));
    stop.cancel();
    report::row(&report::Tried {
        name: "36-soak-kills",
        what: "the real program for as long as it takes, killed every half a minute",
        counts: vec![
            (total.as_secs(), "seconds"),
            (kills, "kills"),
            (kept.workflows, "workflows"),
            (kept.acknowledged, "acknowledged"),
            (kept.sent, "messages sent"),
            (kept.possible_doubles, "possible doubles counted"),
        ],
        found: format!("nothing lost, {} real doubles, all counted", kept.doubles),
        seed: format!("DISPATCH_SEED={seed} DISPATCH_SOAK_S={}", total.as_secs()),
    });
}
