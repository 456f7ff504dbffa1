//! A provider on a loopback socket that answers every call alike.
//!
//! Plain blocking sockets on a thread of their own: it must also answer wrongly, slowly and not at
//! all, which a real HTTP server would not let it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::StubAnswer;

/// Far above what any check waits for; a bound, so that a stuck thread ends by itself.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between two bytes of an answer that trickles in.
const TRICKLE: Duration = Duration::from_millis(100);

/// What a played provider does with each call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers so.
    Answer(StubAnswer),
    /// Answers so, a byte at a time, for longer than any call may take.
    Trickle(StubAnswer),
    /// Takes the request, and says nothing.
    Hang,
    /// Takes the request, and closes the connection.
    HangUp,
    /// Is not there: no connection comes about.
    Absent,
}

/// A provider that is played; it ends when it is dropped.
pub trait PlayedProvider: Send + Sync {
    /// Where it is, as [`account`](super::ConformanceSubject::account) is handed it.
    fn address(&self) -> String;

    /// The requests that came, whole and as text. Complete by the time at which a call was answered.
    fn requests(&self) -> Vec<String>;

    /// The id under which the adapter has to know the message that was taken last, where it is not the one that
    /// [`accepted`](super::ConformanceSubject::accepted) was asked to give: where the adapter names a message
    /// itself, or the provider cannot be told what to call it.
    fn given_id(&self) -> Option<String> {
        None
    }
}

/// How a protocol is spoken by the provider's side, where one request has one answer.
#[derive(Clone, Copy, Debug)]
pub struct StubProtocol {
    /// Reads one request, and says whatever has to be said before it.
    pub read: fn(&mut TcpStream) -> io::Result<String>,
    /// An answer as it is written.
    pub rendered: fn(&StubAnswer) -> Vec<u8>,
}

/// HTTP/1.1, a connection a request.
pub const HTTP: StubProtocol = StubProtocol { read, rendered };

/// A provider on a socket.
pub struct Stub {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Stub {
    /// Listens for HTTP at a port of its own.
    ///
    /// # Errors
    /// If there is none.
    pub fn start(behaviour: Behaviour) -> io::Result<Stub> {
        Stub::speaking(HTTP, behaviour)
    }

    /// Listens at a port of its own.
    ///
    /// # Errors
    /// If there is none.
    pub fn speaking(protocol: StubProtocol, behaviour: Behaviour) -> io::Result<Stub> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let stub = Stub {
            address: listener.local_addr()?,
            requests: Arc::default(),
            is_over: Arc::default(),
        };
        if behaviour == Behaviour::Absent {
            // The port was free a moment ago, and nobody listens there now.
            return Ok(stub);
        }
        let (requests, is_over) = (Arc::clone(&stub.requests), Arc::clone(&stub.is_over));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept()
                && !is_over.load(Ordering::Relaxed)
            {
                // An error here is a client that left, and shows as a request that never came.
                let _ = serve(stream, protocol, &behaviour, &requests);
            }
        });
        Ok(stub)
    }

    /// Where it listens: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first request that came, head and body, if one did.
    pub fn request(&self) -> Option<String> {
        self.requests().into_iter().next()
    }
}

impl PlayedProvider for Stub {
    fn address(&self) -> String {
        self.url()
    }

    fn requests(&self) -> Vec<String> {
        // A thread that panicked here left a whole list: requests are only ever added.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Stub {
    /// Lets the thread, which waits for a call, go.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }
}

fn serve(
    mut stream: TcpStream,
    protocol: StubProtocol,
    behaviour: &Behaviour,
    requests: &Mutex<Vec<String>>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = (protocol.read)(&mut stream)?;
    // Handed over before the answer, so that it is there once the adapter returns.
    requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    match behaviour {
        Behaviour::Answer(answer) => stream.write_all(&(protocol.rendered)(answer)),
        Behaviour::Trickle(answer) => {
            stream.set_nodelay(true)?;
            for byte in (protocol.rendered)(answer).into_iter().chain([b' '; 200]) {
                stream.write_all(&[byte])?;
                thread::sleep(TRICKLE);
            }
            Ok(())
        }
        Behaviour::Hang => stream.read(&mut [0]).map(|_| ()),
        Behaviour::HangUp | Behaviour::Absent => Ok(()),
    }
}

/// Reads one request with a `Content-Length`, which is all that a JSON client sends.
fn read(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= content_length(head)
        {
            return Ok(text.into_owned());
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
}

fn content_length(head: &str) -> usize {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

fn rendered(answer: &StubAnswer) -> Vec<u8> {
    let headers: String =
        answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "HTTP/1.1 {} Stub\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        answer.status,
        answer.body.len(),
        answer.body
    )
    .into_bytes()
}
