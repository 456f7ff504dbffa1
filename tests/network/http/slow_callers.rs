//! Callers of the webhook listener that do not get to the end: each costs one connection for a
//! bounded time, and holds nobody up.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    ALONE,
    support::{Running, in_memory},
};

const TIMEOUT: Duration = Duration::from_secs(1);

/// Says `begin`, then a byte now and then; returns what it was answered, and after how long it was
/// let go of.
async fn dawdle(to: SocketAddr, begin: &'static str) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(begin.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let dripping = tokio::spawn(async move {
        // Ends when the connection does.
        while !begin.is_empty() && writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        writing
    });
    let mut answer = Vec::new();
    // A reset is an end as well; so is our timeout, which the caller of this finds too long.
    let _ = tokio::time::timeout(10 * TIMEOUT, reading.read_to_end(&mut answer)).await;
    let took = began.elapsed();
    dripping.abort();
    (String::from_utf8_lossy(&answer).into_owned(), took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_callers_are_let_go_of_and_hold_nobody_up() {
    let _alone = ALONE.lock().await;
    let mut config = in_memory();
    config.listen.http_timeout_s = TIMEOUT.as_secs();
    config.listen.http_connections = 512;
    let running = Running::over_http(&config).await;
    let http = running.service.http;
    let cases: [(&str, &str); 5] = [
        ("asks nothing", ""),
        ("a head without end", "POST /receipts/vonage/sandbox HTTP/1.1\r\nhost: x\r\nx-a: "),
        (
            "a body without end",
            "POST /receipts/vonage/sandbox HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{",
        ),
        (
            "chunks without end",
            "POST /receipts/vonage/sandbox HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n{",
        ),
        // Answered at once; then it asks nothing further, or nothing that is whole.
        (
            "a body that nobody reads",
            "POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n{",
        ),
    ];
    let mut slow = tokio::task::JoinSet::new();
    // As many as the listener holds connections: those behind them get their turn all the same.
    for number in 0..500 {
        let (what, begin) = cases[number % cases.len()];
        slow.spawn(async move { (what, dawdle(http, begin).await) });
    }
    let url = format!("http://{http}/receipts/vonage/sandbox");
    let quick = reqwest::Client::new();
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    let mut asked = 0;
    while began.elapsed() < 2 * TIMEOUT {
        let asking = Instant::now();
        let answer = quick.post(&url).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 401, "unsigned, and read to the end");
        longest = longest.max(asking.elapsed());
        asked += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{asked} quick calls beside 500 slow ones: {longest:?} at most");
    assert!(longest < 3 * TIMEOUT, "{longest:?}");
    while let Some(done) = slow.join_next().await {
        let (what, (answer, took)) = done.unwrap();
        assert!(took < 4 * TIMEOUT, "{what} was held for {took:?}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 2"), "{what}: {answer}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_all_measure_is_refused_before_it_is_read() {
    let _alone = ALONE.lock().await;
    let running = Running::over_http(&in_memory()).await;
    let mut stream = TcpStream::connect(running.service.http).await.unwrap();
    let head =
        "POST /receipts/vonage/sandbox HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let mut written = 0;
    // It stops reading; a gigabyte is never taken.
    while written < 1 << 30 && stream.write_all(chunk.as_bytes()).await.is_ok() {
        written += chunk.len();
    }
    println!("{} KiB went out", written / 1024);
    assert!(written < 64 << 20, "{written} bytes were taken");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_makes_room_for_whoever_comes() {
    let _alone = ALONE.lock().await;
    let mut config = in_memory();
    config.listen.http_connections = 512;
    let running = Running::over_http(&config).await;
    let http = running.service.http;
    let ask = "POST /receipts/vonage/sandbox HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    let mut idle = Vec::new();
    let mut longest = Duration::ZERO;
    // More than the listener holds; each is answered, and kept open by its caller.
    for _ in 0..700 {
        let asking = Instant::now();
        let mut stream = TcpStream::connect(http).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
        longest = longest.max(asking.elapsed());
        idle.push(stream);
    }
    println!("700 callers that stay: {longest:?} at most for an answer");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    running.stop().await;
}

/// More callers than places, and all of them busy: whoever is closed for another is told so with an
/// answer, and no request is lost on the way to a connection that is just being closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_to_a_connection_that_is_closed_for_another() {
    let _alone = ALONE.lock().await;
    let mut config = in_memory();
    config.listen.http_connections = 512;
    let running = Running::over_http(&config).await;
    let http = running.service.http;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..600_u64 {
        callers.spawn(async move {
            let ask =
                "POST /receipts/vonage/sandbox HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
            let (mut answered, mut closed) = (0, 0);
            let began = Instant::now();
            // Open, and when it last asked.
            let mut open: Option<(TcpStream, Instant)> = None;
            while began.elapsed() < Duration::from_secs(3) || answered == 0 {
                let asking = Instant::now();
                let is_new = open.is_none();
                let (mut stream, asked) = match open.take() {
                    Some(open) => open,
                    None => (TcpStream::connect(http).await.unwrap(), asking),
                };
                let Some(answer) = exchange(&mut stream, ask).await else {
                    // On a busy machine one may rest, or hesitate, for longer than it means to.
                    let (rested, least) = (asked.elapsed(), if is_new { 40 } else { 900 });
                    assert!(rested > Duration::from_millis(least), "closed after {rested:?}");
                    continue;
                };
                answered += 1;
                assert!(answer.starts_with("http/1.1 401"), "{answer}");
                if answer.contains("connection: close") {
                    closed += 1;
                } else {
                    open = Some((stream, asking));
                }
                tokio::time::sleep(Duration::from_millis(100 + caller % 150)).await;
            }
            (answered, closed)
        });
    }
    let mut told = (0, 0);
    while let Some(caller) = callers.join_next().await {
        let (answered, closed) = caller.expect("no caller lost a request");
        told = (told.0 + answered, told.1 + closed);
    }
    println!("600 callers: {} requests, {} answers closed their connection", told.0, told.1);
    assert!(told.1 > 20, "places were wanted: {}", told.1);
    running.stop().await;
}

/// Asks, and reads the whole answer, in lower case; `None` if the connection was closed in its place.
async fn exchange(stream: &mut TcpStream, ask: &str) -> Option<String> {
    stream.write_all(ask.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&answer).to_lowercase())
}

/// Whether all that its head announces is there.
fn is_whole(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.is_none_or(|length| body.len() == length.trim().parse::<usize>().unwrap())
}
