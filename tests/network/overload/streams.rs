//! Many status streams, half of them dead in one way or another: the living hear everything, soon,
//! and the dead are let go of.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dispatch::{
    client::Client,
    pb::v1::{
        AllWorkflows, EventKind, LabelFilter, StreamStart, StreamStatusRequest,
        stream_status_request::{Start, Target},
        stream_status_response::Kind,
    },
};
use tokio::{task::JoinSet, time::timeout};

use super::{Server, create_sms, raise_open_files};
use crate::{ALONE, chance::setting, proxy::Proxy, report, support::eventually};

/// Below the service's usual `max_concurrent_streams`.
const A_CONNECTION: u64 = 100;
const WORKFLOWS: usize = 40;
const PATIENCE_S: u64 = 3;

const CONFIG: &str = r#"
[listen]
keep_alive_s = 1
keep_alive_timeout_s = 2
reader_timeout_s = 3
[store]
cache_mib = 32
[sandbox]
default_script = "accept; deliver 50ms"
"#;

fn everything(number: u64) -> StreamStatusRequest {
    // Half of them look for a label, which every workflow has.
    let target = if number.is_multiple_of(2) {
        Target::All(AllWorkflows {})
    } else {
        Target::Labels(LabelFilter { labels: [("of".to_owned(), "all".to_owned())].into() })
    };
    let from = Some(Start::Position(StreamStart::Beginning as i32));
    StreamStatusRequest { target: Some(target), start: from, ..Default::default() }
}

/// Reads until all have ended; how many events it was.
async fn live(client: Client, number: u64) -> u64 {
    let mut stream = client.raw().stream_status(everything(number)).await.unwrap().into_inner();
    let (mut ended, mut next) = (0, BTreeMap::<String, u32>::new());
    while ended < WORKFLOWS {
        let Some(Kind::Event(event)) = stream.message().await.unwrap().unwrap().kind else {
            continue;
        };
        ended += usize::from(event.kind() == EventKind::Ended);
        let next = next.entry(event.workflow_id).or_insert(1);
        assert_eq!(event.sequence, *next, "a gap or a repeat");
        *next += 1;
    }
    next.values().map(|next| u64::from(next - 1)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_living_hear_everything_and_the_dead_are_let_go_of() {
    let _alone = ALONE.lock().await;
    let streams = setting("DISPATCH_STREAMS", 500);
    raise_open_files(2048.max(streams / 10));
    let server = Server::start(CONFIG).await;
    let before_mib = server.rss_mib();
    let mut proxy = Proxy::start().await;
    proxy.lead_to(server.process.grpc);

    let mut living = JoinSet::new();
    // These open their streams and never read; those go through a proxy that will stand still.
    let (mut unread, mut behind_proxy) = (Vec::new(), Vec::new());
    let mut clients = BTreeMap::new();
    for number in 0..streams {
        let kind = number % 4;
        let count = number / 4;
        // A connection for each kind, so that a dead one takes no living ones with it.
        if count % A_CONNECTION == 0 {
            let address = if kind == 3 { proxy.address } else { server.process.grpc };
            let endpoint = Client::endpoint(format!("http://{address}")).unwrap();
            // It must be the service that notices.
            let endpoint = endpoint.http2_keep_alive_interval(Duration::from_secs(3600));
            // Whoever does not read is stuck soon, and not after a megabyte each.
            let window = if kind == 2 { 4096 } else { 1 << 20 };
            let endpoint = endpoint.initial_stream_window_size(window);
            clients.insert(kind, Client::over(endpoint.connect().await.unwrap()));
        }
        let client = clients[&kind].clone();
        match kind {
            0 | 1 => {
                living.spawn(live(client, count));
            }
            2 => unread.push(client.raw().stream_status(everything(count)).await.unwrap()),
            _ => behind_proxy.push(client.raw().stream_status(everything(count)).await.unwrap()),
        }
    }
    let wanted_live = living.len() as u64;
    let all_open = eventually(Duration::from_secs(30), || async {
        server.metric("dispatch_streams_open").await == streams
    });
    assert!(all_open.await, "{} of {streams}", server.metric("dispatch_streams_open").await);
    proxy.stand_still();

    // More than what buffers hold on the way to a reader that does not read.
    let began = Instant::now();
    for _ in 0..WORKFLOWS {
        let mut asked = create_sms();
        asked.workflow.as_mut().unwrap().labels = [("of".to_owned(), "all".to_owned())].into();
        server.client.create(asked).await.unwrap();
    }
    let mut events = 0;
    let bound = Duration::from_secs(20 + streams / 20);
    let all_heard = timeout(bound, async {
        while let Some(heard) = living.join_next().await {
            events += heard.unwrap();
        }
    });
    all_heard.await.unwrap_or_else(|_| panic!("not all heard of everything within {bound:?}"));
    let heard_in = began.elapsed();
    let let_go = eventually(Duration::from_secs(PATIENCE_S * 5 + streams / 100), || async {
        server.metric("dispatch_streams_open").await == 0
    });
    let is_let_go = let_go.await;
    let left = server.metric("dispatch_streams_open").await;
    let let_go_in = began.elapsed();
    let peak_mib = server.peak_mib();
    println!(
        "{streams} streams, {wanted_live} of them alive: {events} events heard in {heard_in:?}, the \
         dead let go of in {let_go_in:?} ({left} left); RSS {before_mib} to {peak_mib} MiB"
    );
    assert!(is_let_go, "{left} streams are still fed");
    assert!(peak_mib < 300 + streams / 5, "{peak_mib} MiB");
    report::row(&report::Tried {
        name: "80-overload-streams",
        what: "status streams, half of them dead",
        counts: vec![
            (streams, "streams"),
            (wanted_live, "alive"),
            (events, "events heard"),
            (heard_in.as_millis() as u64, "ms until all had heard"),
            (let_go_in.as_millis() as u64, "ms until the dead were let go of"),
            (peak_mib, "MiB peak RSS"),
        ],
        found: "no gap, no repeat, the dead let go of".to_owned(),
        seed: format!("DISPATCH_STREAMS={streams}"),
    });
    drop((unread, behind_proxy, clients));
    proxy.close().await;
    server.stop().await;
}
