//! A provider on a loopback socket that answers one call.
//!
//! Plain blocking sockets on a thread of their own: it must also answer wrongly, slowly and not at
//! all, which a real HTTP server would not let it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::StubAnswer;

/// Far above what any check waits for; a bound, so that a stuck thread ends by itself.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What it does with the call.
pub enum Behaviour {
    /// Answers so.
    Answer(StubAnswer),
    /// Takes the request, and says nothing.
    Hang,
    /// Takes the request, and closes the connection.
    HangUp,
}

/// A provider that takes one call.
pub struct Stub {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
}

impl Stub {
    /// Listens at a port of its own.
    ///
    /// # Errors
    /// If there is none.
    pub fn start(behaviour: Behaviour) -> io::Result<Stub> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            // An error here is a client that left, and shows as a request that never came.
            let _ = serve(&listener, &behaviour, &sender);
        });
        Ok(Stub { address, requests })
    }

    /// A URL at which nobody listens: the port was free a moment ago.
    ///
    /// # Errors
    /// If there is none.
    pub fn nobody() -> io::Result<String> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        Ok(format!("http://{address}"))
    }

    /// Where it listens: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The request that came, head and body, if one did.
    pub fn request(&self) -> Option<String> {
        self.requests.try_recv().ok()
    }
}

impl Drop for Stub {
    /// Lets a thread that still waits for a call go.
    fn drop(&mut self) {
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }
}

fn serve(
    listener: &TcpListener,
    behaviour: &Behaviour,
    requests: &mpsc::Sender<String>,
) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = read(&mut stream)?;
    // Handed over before the answer, so that it is there once the adapter returns. The suite may
    // be gone by then, which is no concern of this thread.
    let _ = requests.send(request);
    match behaviour {
        Behaviour::Answer(answer) => stream.write_all(rendered(answer).as_bytes()),
        Behaviour::Hang => stream.read(&mut [0]).map(|_| ()),
        Behaviour::HangUp => Ok(()),
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

fn rendered(answer: &StubAnswer) -> String {
    let headers: String =
        answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "HTTP/1.1 {} Stub\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        answer.status,
        answer.body.len(),
        answer.body
    )
}
