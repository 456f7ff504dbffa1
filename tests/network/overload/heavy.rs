//! Callers that ask too much at once, or nothing for long: each costs a bounded amount.

use std::time::{Duration, Instant};

use dispatch::client::Watch;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tonic::Code;

use super::{Server, Times, create_sms, raise_open_files};
use crate::{ALONE, report, support::eventually};

const CONFIG: &str =
    "[store]\ncache_mib = 32\n[listen]\nkeep_alive_s = 1\nkeep_alive_timeout_s = 1\n";

/// What a connection has no room for waits at its client, and costs the service nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_has_so_many_calls_and_no_more() {
    let _alone = ALONE.lock().await;
    let server = Server::start("[listen]\nmax_concurrent_streams = 20\n").await;
    let client = server.connect().await;
    let mut watches = JoinSet::new();
    for _ in 0..30 {
        let client = client.clone();
        watches.spawn(async move { client.watch(Watch::All, None, false, |_| true).await });
    }
    let open = || async { server.metric("dispatch_streams_open").await };
    assert!(eventually(Duration::from_secs(10), || async { open().await == 20 }).await);
    let more = eventually(Duration::from_millis(500), || async { open().await > 20 });
    assert!(!more.await, "{} streams on one connection", open().await);
    // On another there is room.
    server.client.create(create_sms()).await.unwrap();
    watches.shutdown().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_messages_and_idle_connections_are_bounded() {
    let _alone = ALONE.lock().await;
    const HUGE: usize = 40;
    const IDLE: usize = 500;
    raise_open_files(4096);
    let server = Server::start(CONFIG).await;
    let before_mib = server.rss_mib();

    let mut calls = JoinSet::new();
    for _ in 0..HUGE {
        let client = server.connect().await;
        calls.spawn(async move {
            let mut asked = create_sms();
            asked.workflow.as_mut().unwrap().client_ref = "x".repeat(10 << 20);
            client.create(asked).await.unwrap_err()
        });
    }
    while let Some(refused) = calls.join_next().await {
        let status = refused.unwrap();
        assert!(
            matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
            "ten MiB: {status}"
        );
    }
    let huge_mib = server.peak_mib();

    // Connections that say what gRPC begins with, and then nothing; and those that say nothing.
    let mut silent = Vec::new();
    for number in 0..IDLE {
        let mut stream = TcpStream::connect(server.process.grpc).await.unwrap();
        if number % 2 == 0 {
            let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
            stream.write_all(begin).await.unwrap();
        }
        silent.push(stream);
    }
    let mut times = Times::default();
    for _ in 0..100 {
        let asked = Instant::now();
        server.client.create(create_sms()).await.unwrap();
        times.add(asked);
    }
    let idle_mib = server.rss_mib();
    let began = Instant::now();
    let mut closing = JoinSet::new();
    for mut stream in silent {
        closing.spawn(async move {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
    }
    let closed = tokio::time::timeout(Duration::from_secs(30), async {
        while closing.join_next().await.is_some() {}
    });
    let is_closed = closed.await.is_ok();
    let closed_in = began.elapsed();
    let left = closing.len();
    println!(
        "{HUGE} messages of 10 MiB: {before_mib} to {huge_mib} MiB; {IDLE} silent connections: {idle_mib} MiB, \
         creates beside them p99 {:?}, closed in {closed_in:?}, {left} left",
        times.at(99)
    );
    assert!(huge_mib < before_mib + 150, "{before_mib} to {huge_mib} MiB");
    assert!(idle_mib < huge_mib + 100, "{huge_mib} to {idle_mib} MiB");
    assert!(times.at(99) < Duration::from_secs(2), "{:?}", times.at(99));
    assert!(is_closed, "{left} connections that never said anything are still held");
    report::row(&report::Tried {
        name: "80-overload-heavy",
        what: "messages of 10 MiB, connections that say nothing",
        counts: vec![
            (HUGE as u64, "huge messages"),
            (IDLE as u64, "silent connections"),
            (times.p99_ms(), "ms p99 of creates beside them"),
            (server.peak_mib(), "MiB peak RSS"),
        ],
        found: "refused, and let go of".to_owned(),
        seed: "none".to_owned(),
    });
    server.stop().await;
}
