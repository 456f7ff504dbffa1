//! Connections that begin in time, and end when their place is another's.
//!
//! HTTP/2 begins with its client's preface. Until that is here no keep-alive watches the connection,
//! and whoever opens one and says nothing would hold it for ever. Later it is held for as long as its
//! client keeps it alive, unless places get scarce: then one at which nothing is worked on ends, as if
//! its client had left.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::{
    fair::{Connection, Place},
    tls::Wire,
};

/// The length of the preface.
const PREFACE_BYTES: usize = 24;

/// A connection whose first bytes must come in time, and that has a place.
pub struct Prompt {
    stream: Wire,
    place: Place,
    let_go: Pin<Box<WaitForCancellationFutureOwned>>,
    /// How many bytes are still owed, and until when.
    owed: Option<(usize, Pin<Box<Sleep>>)>,
    /// Its place was asked for: it ends, whether or not its client still reads.
    is_over: bool,
}

impl Prompt {
    /// The preface must be here within `patience`.
    pub fn new(stream: Wire, place: Place, patience: Duration) -> Prompt {
        place.connection().arriving();
        let let_go = Box::pin(place.connection().let_go());
        let owed = Some((PREFACE_BYTES, Box::pin(sleep(patience))));
        Prompt { stream, place, let_go, owed, is_over: false }
    }

    fn goes_on(&self) -> io::Result<()> {
        if self.is_over { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// What a call knows of its connection.
impl Connected for Prompt {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        Arc::clone(self.place.connection())
    }
}

impl AsyncRead for Prompt {
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
            && !self.place.connection().is_working()
        {
            self.is_over = true;
            return Poll::Ready(Ok(()));
        }
        if let Some((bytes, deadline)) = &mut self.owed {
            *bytes = bytes.saturating_sub(buffer.filled().len() - before);
            if *bytes == 0 {
                self.owed = None;
                // Its first call is still to come.
                self.place.connection().arriving();
            } else if read.is_pending() && deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.goes_on()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.goes_on()?;
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
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prompt")
    }
}
