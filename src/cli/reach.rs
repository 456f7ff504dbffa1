//! What answers at an address that does not answer as it should: the service's other port, or with TLS
//! where there is none.
//!
//! Asked only after something went wrong, over a connection of its own, and for a few seconds.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::transport::Uri;

/// How long each question waits for its answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How HTTP/2 begins, with settings that say nothing.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HTTP1: &[u8] = b"GET / HTTP/1.1\r\nhost: dispatch\r\nconnection: close\r\n\r\n";

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    /// HTTP/2 without TLS: gRPC.
    Grpc,
    /// HTTP/1 without TLS.
    Http,
    /// TLS, and within it who knows.
    Tls,
}

/// What is wrong with `server`, if it shows: which port it is, or whether TLS is lacking. `failure` is
/// what the connection failed with.
pub(super) async fn explain(server: &str, failure: &dyn std::error::Error) -> Option<String> {
    let uri: Uri = server.parse().ok()?;
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let spoken = spoken(host, port).await;
    let other_port = "it is not the port of gRPC, which is listen.grpc (50051 unless configured \
                      otherwise); --server or DISPATCH_SERVER says where";
    Some(match (spoken?, is_tls) {
        (Spoken::Grpc, true) => {
            format!("{server} speaks no TLS: write http:// instead of https://")
        }
        (Spoken::Tls, false) => {
            format!(
                "{server} speaks TLS: write https:// (--ca names who vouches for its certificate)"
            )
        }
        (Spoken::Http, _) => {
            format!("{server} is the wrong port: HTTP/1 is spoken there, so {other_port}")
        }
        (Spoken::Tls, true) if speaks_no_grpc(failure) => {
            format!(
                "{server} is the wrong port: gRPC is not spoken there over TLS, so {other_port}"
            )
        }
        (Spoken::Tls, true) | (Spoken::Grpc, false) => return None,
    })
}

/// Whether the other side took TLS, and not the protocol that gRPC needs within it.
fn speaks_no_grpc(failure: &dyn std::error::Error) -> bool {
    let mut next = Some(failure);
    while let Some(error) = next {
        let text = error.to_string().to_ascii_lowercase();
        if text.contains("noapplicationprotocol") || text.contains("http/2 was not negotiated") {
            return true;
        }
        next = error.source();
    }
    false
}

async fn spoken(host: &str, port: u16) -> Option<Spoken> {
    for question in [HTTP2, HTTP1] {
        let answer = timeout(TIMEOUT, ask(host, port, question)).await;
        let Ok(Some(answer)) = answer else { continue };
        match answer {
            [b'H', b'T', b'T', b'P', ..] => return Some(Spoken::Http),
            // An alert: what was asked is no TLS.
            [0x15, 3, ..] => return Some(Spoken::Tls),
            // A frame of settings.
            [0, _, _, 4, ..] => return Some(Spoken::Grpc),
            _ => {}
        }
    }
    None
}

/// The first bytes of an answer.
async fn ask(host: &str, port: u16, question: &[u8]) -> Option<[u8; 5]> {
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    stream.write_all(question).await.ok()?;
    let mut first = [0; 5];
    stream.read_exact(&mut first).await.ok()?;
    Some(first)
}
