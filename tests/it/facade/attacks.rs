//! What only an attacker sends: the right code, no state change, no leak, no panic.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Answer, count, messenger_sms, post, url, with};
use crate::support::{Running, in_memory};

/// What a connection is answered, byte for byte; what is sent after the answer may be lost.
async fn raw(running: &Running, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(running.service.http).await.unwrap();
    let _ = stream.write_all(sent).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn head(length: usize, more: &str) -> String {
    format!(
        "POST /v0.1/dispatch HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

async fn nothing_was_created(running: &Running) {
    assert_eq!(count(running).await, 0);
    // And it goes on.
    assert_eq!(post(running, "/v0.1/dispatch", &messenger_sms()).await.status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_ten_megabytes_is_refused_and_the_caller_hears_it() {
    let running = Running::start(&in_memory()).await;
    for size in [256 * 1024 + 1, 10 * 1024 * 1024] {
        let body = with(messenger_sms(), "/client_ref", json!("x".repeat(size)));
        let answer = post(&running, "/v0.1/dispatch", &body).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains("at most 256 KiB"));
    }
    // Without a length too.
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let head = "POST /v0.1/dispatch HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let sent = head.to_owned() + &chunk.repeat(160) + "0\r\n\r\n";
    let answer = raw(&running, sent.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    nothing_was_created(&running).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_costs_a_bounded_time() {
    let mut config = in_memory();
    config.listen.http_timeout_s = 1;
    let running = Running::start(&config).await;
    let body = messenger_sms().to_string();
    let half = format!("{}{}", head(body.len(), ""), &body[..body.len() / 2]);
    let answer = raw(&running, half.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("took too long"), "{answer}");
    nothing_was_created(&running).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_that_is_a_bomb_is_refused_before_it_goes_off() {
    let running = Running::start(&in_memory()).await;
    let good = messenger_sms().to_string();
    let deep = |open: &str, close: &str, times| open.repeat(times) + "1" + &close.repeat(times);
    let custom = |inner: &str| {
        let body = with(
            messenger_sms(),
            "/workflow/0/message/content",
            json!({ "type": "custom", "custom": "HERE" }),
        );
        body.to_string().replace("\"HERE\"", inner)
    };
    let cases = [
        ("arrays", deep("[", "]", 50_000), 422),
        ("objects", deep("{\"a\":", "}", 40_000), 422),
        ("within custom", custom(&deep("{\"a\":[", "]}", 100)), 422),
        ("an endless number", format!("{{\"n\": {}}}", "9".repeat(200_000)), 422),
        ("a huge exponent", "{\"n\": 1e99999999}".to_owned(), 422),
        ("a number that a double cannot hold", custom("{\"n\": 9007199254740993}"), 400),
        (
            "a key twice",
            good.replacen("\"template\":", "\"template\":\"private\",\"template\":", 1),
            422,
        ),
        (
            "a key twice, hidden",
            good.replacen("\"template\":", "\"\\u0074emplate\":\"private\",\"template\":", 1),
            422,
        ),
        ("half a surrogate", good.replace("Your", "\\ud800"), 422),
        ("a NUL", good.replace("Your", "\u{0}"), 422),
        ("two bodies", good.clone() + &good, 422),
        ("many steps", format!("{{\"workflow\":[{}{{}}]}}", "{},".repeat(50_000)), 400),
        (
            "many keys",
            format!(
                "{{{}\"workflow\":[]}}",
                (0..15_000).map(|n| format!("\"k{n}\":1,")).collect::<String>()
            ),
            400,
        ),
    ];
    for (case, body, status) in cases {
        let call = reqwest::Client::new().post(url(&running, "/v0.1/dispatch")).body(body);
        let call = call.header("content-type", "application/json");
        let answer = Answer::of(call.send().await.unwrap()).await;
        assert_eq!(answer.status, status, "{case}: {answer:?}");
        let text = answer.body.to_string();
        assert!(text.len() < 16 * 1024 && !text.contains("private"), "{case}: {text}");
    }
    nothing_was_created(&running).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_writes_never_becomes_a_header() {
    let running = Running::start(&in_memory()).await;
    // A key with a line break in the body, where an unknown key is warned of.
    let body = with(messenger_sms(), "/x\r\nset-cookie: a=b", json!("\r\n\r\nHTTP/1.1 200 OK"));
    let answer = post(&running, "/v0.1/dispatch", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(!answer.headers.contains_key("set-cookie"));
    assert_eq!(answer.warnings().len(), 1);
    assert!(!answer.warnings()[0].contains("set-cookie"), "{answer:?}");
    running.stop().await;

    let running = Running::start(&in_memory()).await;
    let good = messenger_sms().to_string();
    let cases = [
        ("a bare line feed in a header", "idempotency-key: a\nx: b\r\n", None),
        ("a NUL in a header", "idempotency-key: a\0b\r\n", Some("400")),
        ("a key that is not ASCII", "idempotency-key: \u{e9}\r\n", Some("400")),
        ("two keys", "idempotency-key: a\r\nidempotency-key: b\r\n", Some("400")),
        ("an empty key", "idempotency-key:\r\n", Some("400")),
        ("two lengths", "content-length: 5\r\n", Some("400")),
        (
            "two credentials",
            "authorization: Basic YTpi\r\nauthorization: Basic YTpi\r\n",
            Some("401"),
        ),
        ("a credential that is not ASCII", "authorization: \u{e9}\r\n", Some("401")),
    ];
    for (case, more, status) in cases {
        let sent = head(good.len(), more) + &good;
        let answer = raw(&running, sent.as_bytes()).await;
        if let Some(status) = status {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{case}: {answer}");
            let is_asked = answer.to_lowercase().contains("www-authenticate: bearer");
            assert_eq!(is_asked, status == "401", "{case}: {answer}");
        }
        assert!(!answer.contains("\r\nx: b"), "{case}: {answer}");
    }
    running.stop().await;
}
