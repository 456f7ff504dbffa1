//! A TCP proxy that spoils HTTP/1.1 exchanges, one by one, as it is told.
//!
//! It knows no HTTP but this: bytes from the caller after bytes from the server begin a new exchange.
//! Each exchange has the next fault of the queue, or none.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::support::FREE;

/// What happens to one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Both ways wait so long.
    Delay(Duration),
    /// The connection ends behind so many bytes of the request.
    CutRequest(usize),
    /// It ends behind so many bytes of the answer; the server has the whole request.
    CutAnswer(usize),
    /// The request is read and goes nowhere; nothing is answered.
    Swallow,
    /// The request arrives; the answer goes nowhere.
    SwallowAnswer,
    /// The request is read, goes nowhere, and the connection is reset.
    Reset,
    /// The request arrives, and then the connection is reset.
    ResetAnswer,
    /// Both ways a few bytes at a time.
    Trickle,
}

#[derive(Debug, Default)]
struct State {
    upstream: Option<SocketAddr>,
    faults: VecDeque<Fault>,
    /// When the queue is empty.
    always: Option<Fault>,
    /// The first line of each answer that came back, as `HTTP/1.1 200`.
    answers: Vec<String>,
    exchanges: u64,
    stands_still: bool,
}

/// A running proxy.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    pub async fn start() -> Proxy {
        let listener = TcpListener::bind(FREE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let accepting = Some(tokio::spawn(accept(listener, Arc::clone(&state))));
        Proxy { address, state, accepting }
    }

    /// Where it leads.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.state.lock().unwrap().upstream = Some(upstream);
    }

    /// The next exchanges have these faults, one each.
    pub fn spoil(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// Every exchange that has none of its own has this fault from now on.
    pub fn spoil_all(&self, fault: Fault) {
        self.state.lock().unwrap().always = Some(fault);
    }

    /// How many faults are still to happen.
    pub fn faults_left(&self) -> usize {
        self.state.lock().unwrap().faults.len()
    }

    /// How many exchanges began, and the status lines that came back whole.
    pub fn seen(&self) -> (u64, Vec<String>) {
        let state = self.state.lock().unwrap();
        (state.exchanges, state.answers.clone())
    }

    /// Passes nothing on any more, and closes nothing: what a cable does that was pulled.
    pub fn stand_still(&self) {
        self.state.lock().unwrap().stands_still = true;
    }

    /// Refuses connections, and breaks those there are.
    pub async fn close(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Takes connections again, at the same address.
    pub async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))));
    }
}

/// Aborted, it takes its connections with it.
async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((caller, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // However it ended: both ends see it.
            let _ = relay(caller, &state).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn relay(mut caller: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let upstream = state.lock().unwrap().upstream.ok_or(io::ErrorKind::NotConnected)?;
    let mut server = TcpStream::connect(upstream).await?;
    caller.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_caller, mut from_server) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let (mut is_asking, mut fault, mut passed) = (false, Fault::None, 0);
    loop {
        tokio::select! {
            read = caller.read(&mut from_caller) => {
                let bytes = &from_caller[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                stand_still(state).await;
                if !is_asking {
                    let mut state = state.lock().unwrap();
                    let next = state.faults.pop_front();
                    fault = next.or(state.always).unwrap_or(Fault::None);
                    state.exchanges += 1;
                    (is_asking, passed) = (true, 0);
                }
                match fault {
                    Fault::Swallow => {}
                    Fault::Reset => return caller.set_zero_linger(),
                    Fault::CutRequest(most) => {
                        let count = bytes.len().min(most - passed);
                        server.write_all(&bytes[..count]).await?;
                        passed += count;
                        if passed == most {
                            return Ok(());
                        }
                    }
                    Fault::None | Fault::CutAnswer(_) | Fault::SwallowAnswer | Fault::ResetAnswer => {
                        server.write_all(bytes).await?;
                    }
                    Fault::Delay(_) | Fault::Trickle => slowly(&mut server, bytes, fault).await?,
                }
            }
            read = server.read(&mut from_server) => {
                let bytes = &from_server[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                stand_still(state).await;
                if is_asking {
                    (is_asking, passed) = (false, 0);
                }
                match fault {
                    // It is not over for the caller, who hears nothing.
                    Fault::SwallowAnswer | Fault::Swallow => is_asking = true,
                    Fault::Reset | Fault::ResetAnswer => return caller.set_zero_linger(),
                    Fault::CutAnswer(most) => {
                        let count = bytes.len().min(most - passed);
                        caller.write_all(&bytes[..count]).await?;
                        return Ok(());
                    }
                    Fault::None | Fault::CutRequest(_) => caller.write_all(bytes).await?,
                    Fault::Delay(_) | Fault::Trickle => slowly(&mut caller, bytes, fault).await?,
                }
                if let Some(line) = bytes.strip_prefix(b"HTTP/1.1 ") {
                    let status = String::from_utf8_lossy(&line[..3.min(line.len())]).into_owned();
                    state.lock().unwrap().answers.push(status);
                }
            }
        }
    }
}

/// Never returns once the proxy stands still.
async fn stand_still(state: &Mutex<State>) {
    if state.lock().unwrap().stands_still {
        std::future::pending::<()>().await;
    }
}

async fn slowly(to: &mut TcpStream, bytes: &[u8], fault: Fault) -> io::Result<()> {
    let (size, pause) = match fault {
        Fault::Delay(pause) => (bytes.len(), pause),
        _ => (48, Duration::from_millis(2)),
    };
    for part in bytes.chunks(size) {
        tokio::time::sleep(pause).await;
        to.write_all(part).await?;
    }
    Ok(())
}
