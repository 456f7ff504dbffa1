//! Crowds of connections that ask nothing, or never get to the end of asking: whoever does ask is
//! answered all the while, from the same address as the crowd too, as behind a proxy. And calls that are
//! begun and not ended ([`calls`]).
//!
//! Each of a crowd comes again when it is let go of. `DISPATCH_CROWD` sets how many there are; the
//! listeners hold two in five of them.

pub mod calls;
mod files;
mod idle;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::support::eventually;

/// Another machine, as far as this one can be.
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
/// The machine that everything else here runs on.
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// HTTP/2's preface, and settings that say nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Connections that stay for as long as they are let. Gone when this is dropped.
struct Crowd {
    came: Arc<AtomicU64>,
    _all: JoinSet<()>,
}

impl Crowd {
    /// So many connections to `to`; each says `begin`, and no more. Returns once most are there.
    async fn gather(count: u64, from: IpAddr, to: SocketAddr, begin: &'static [u8]) -> Crowd {
        let came = Arc::new(AtomicU64::new(0));
        let mut all = JoinSet::new();
        for _ in 0..count {
            let came = Arc::clone(&came);
            all.spawn(async move {
                loop {
                    let _ = come(from, to, begin, &came).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        let crowd = Crowd { came, _all: all };
        let are_there = || async { crowd.came() >= count * 9 / 10 };
        assert!(eventually(Duration::from_secs(20), are_there).await, "{} came", crowd.came());
        crowd
    }

    /// How many connections there were so far.
    fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }
}

/// One connection, until it is let go of.
async fn come(from: IpAddr, to: SocketAddr, begin: &[u8], came: &AtomicU64) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(begin).await?;
    came.fetch_add(1, Ordering::Relaxed);
    let mut told = [0; 512];
    while stream.read(&mut told).await? > 0 {}
    Ok(())
}

/// Asks for `long` again and again, each time over a connection of its own until there is an answer;
/// how often, and the longest that it took.
async fn ask_for<F: Future<Output = bool>>(
    long: Duration,
    mut ask: impl FnMut() -> F,
) -> (u64, Duration) {
    let began = Instant::now();
    let (mut asked, mut longest) = (0, Duration::ZERO);
    while began.elapsed() < long {
        let asking = Instant::now();
        while !ask().await {
            assert!(asking.elapsed() < Duration::from_secs(30), "no answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        longest = longest.max(asking.elapsed());
        asked += 1;
    }
    (asked, longest)
}

/// Whether an HTTP listener answers, whatever it says.
async fn http_answers(to: SocketAddr, path: &str) -> bool {
    let ask = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let asked = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(ask.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    asked.await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 "))
}
