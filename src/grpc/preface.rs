//! Connections that begin in time, and end when their place is another's.
//!
//! HTTP/2 begins with its client's preface. Until that is here no keep-alive watches the connection,
//! and whoever opens one and says nothing would hold it for ever. Later it is held for as long as its
//! client keeps it alive, unless places get scarce: then one at which nothing is worked on ends, as if
//! its client had left. Whoever begins with a request of HTTP/1 is told where that is spoken.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::{
    fair::{Connection, ConnectionPermit},
    tls::TlsConnection,
};

/// How every connection begins.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much may be kept back, in bytes: settings are a few dozen.
const KEPT_BACK_MOST: usize = 1024;
/// What is answered to HTTP/1.
const OTHER_PORT: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
    content-type: text/plain\r\ncontent-length: 103\r\n\r\n\
    This port speaks gRPC. The REST API and webhooks are at listen.http, health and metrics at another one\n";

/// A connection whose first bytes must come in time, and that has a place.
pub struct Preface {
    stream: TlsConnection,
    permit: ConnectionPermit,
    let_go: Pin<Box<WaitForCancellationFutureOwned>>,
    /// How many bytes are still owed, and until when.
    owed: Option<(usize, Pin<Box<Sleep>>)>,
    /// What our side said before anything came, a frame of settings: kept back until it is known that the
    /// other side speaks HTTP/2. In front of an answer to HTTP/1 it would make that unreadable.
    kept_back: Vec<u8>,
    /// Its place was asked for: it ends, whether or not its client still reads.
    is_over: bool,
}

impl Preface {
    /// The preface must be here within `timeout`.
    pub fn new(stream: TlsConnection, permit: ConnectionPermit, timeout: Duration) -> Preface {
        permit.connection().arriving();
        let let_go = Box::pin(permit.connection().let_go());
        let owed = Some((PREFACE.len(), Box::pin(sleep(timeout))));
        Preface { stream, permit, let_go, owed, kept_back: Vec::new(), is_over: false }
    }

    /// Whether nothing came yet.
    fn is_silent(&self) -> bool {
        self.owed.as_ref().is_some_and(|(bytes, _)| *bytes == PREFACE.len())
    }

    /// Writes what was kept back.
    fn poll_kept_back(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept_back.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.kept_back)?) {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.kept_back.drain(..written)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn goes_on(&self) -> io::Result<()> {
        if self.is_over { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Answers a request of HTTP/1 as far as that goes at once: it is small, and nothing else was
    /// written. What is left of the request is read first, because to close a connection with something
    /// unread resets it, and the answer would be lost.
    fn tell_other_port(&mut self, context: &mut Context<'_>) {
        let mut rest = [0; 1024];
        for _ in 0..64 {
            let mut rest = ReadBuf::new(&mut rest);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut rest);
            if !matches!(read, Poll::Ready(Ok(()))) || rest.filled().is_empty() {
                break;
            }
        }
        let _ = Pin::new(&mut self.stream).poll_write(context, OTHER_PORT);
        let _ = Pin::new(&mut self.stream).poll_flush(context);
        let _ = Pin::new(&mut self.stream).poll_shutdown(context);
    }
}

/// Whether a connection begins with a method and not with the preface.
fn is_http1(came: &[u8]) -> bool {
    let length = came.len().min(PREFACE.len());
    came.first().is_some_and(u8::is_ascii_uppercase) && came[..length] != PREFACE[..length]
}

/// What a call knows of its connection.
impl Connected for Preface {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        Arc::clone(self.permit.connection())
    }
}

impl AsyncRead for Preface {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        // What has come is taken before it ends.
        if read.is_pending()
            && self.let_go.as_mut().poll(context).is_ready()
            && !self.permit.connection().is_working()
        {
            self.is_over = true;
            return Poll::Ready(Ok(()));
        }
        if let Some((bytes, deadline)) = &mut self.owed {
            let is_first = *bytes == PREFACE.len();
            let came = &buffer.filled()[before..];
            if is_first && is_http1(came) {
                self.tell_other_port(context);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            *bytes = bytes.saturating_sub(came.len());
            let has_begun = is_first && !came.is_empty();
            if *bytes == 0 {
                self.owed = None;
                // Its first call is still to come.
                self.permit.connection().arriving();
            } else if read.is_pending() && deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if has_begun && let Poll::Ready(Err(error)) = self.poll_kept_back(context) {
                return Poll::Ready(Err(error));
            }
        }
        read
    }
}

impl AsyncWrite for Preface {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.goes_on()?;
        if self.is_silent() && self.kept_back.len() < KEPT_BACK_MOST {
            self.kept_back.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_kept_back(context))?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.goes_on()?;
        if self.is_silent() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_kept_back(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.goes_on()?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.goes_on()?;
        if self.is_silent() {
            let first = parts.iter().find(|part| !part.is_empty());
            return self.poll_write(context, first.map_or(&[], |part| &**part));
        }
        ready!(self.poll_kept_back(context))?;
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl std::fmt::Debug for Preface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Preface")
    }
}
