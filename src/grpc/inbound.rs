//! `InboundService`: what persons write to senders, as it comes.
//!
//! As with statuses, messages are always read from the store, and a reader that comes back with a token goes on exactly
//! where it was.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    calls::Calls,
    guard::{caller, shut_out},
    render,
    stream::{self, BOOKMARK_EVERY, STREAM_AHEAD, StreamEnded},
};
use crate::{
    access::{Access, Caller},
    api::{
        Error, Showing, authorization, code_name,
        token::{Position, Tokens, audience},
    },
    engine::{Engine, EngineError, InboundPage, KeptNumbers},
    fair::DiskTurns,
    pb::v1::{
        InboundMessage, StreamInboundRequest, StreamInboundResponse, StreamStart,
        inbound_service_server, stream_inbound_request::Start,
    },
    store::{Cursor, StoreError},
};

/// How many messages are read at once.
const AT_ONCE: usize = 64;

/// What a reader is sent.
type InboundItem = Result<StreamInboundResponse, Status>;

/// The service.
#[derive(Clone, Debug)]
pub struct InboundService {
    engine: Engine,
    access: Access,
    calls: Calls,
    reader_timeout: Duration,
    turns: DiskTurns,
}

/// A stream on its way to its reader.
struct InboundStream {
    engine: Engine,
    /// The caller's own tenant.
    own: Arc<str>,
    /// Whose messages it tells; everybody's if nobody is named.
    whose: Option<Arc<str>>,
    /// How it shows who wrote and what.
    showing: Showing,
    tokens: Tokens,
    /// The number behind which it goes on.
    position: u64,
    /// It began with the oldest, and has told none yet.
    from_beginning: bool,
    to: mpsc::Sender<InboundItem>,
    /// One reserved slot, so that an error can always be sent.
    error_slot: Option<mpsc::OwnedPermit<InboundItem>>,
    reader_timeout: Duration,
    turns: DiskTurns,
    /// When the reader is next told where it is, if nothing else tells it.
    bookmark_at: Instant,
    /// Dropped with the stream.
    _counted: Box<dyn Send>,
}

impl InboundService {
    /// For callers whom `access` knows, over as many streams as `calls` has for each. A stream waits for its reader for
    /// `reader_timeout`.
    pub fn new(
        engine: Engine,
        access: Access,
        calls: Calls,
        reader_timeout: Duration,
        turns: DiskTurns,
    ) -> Self {
        InboundService { engine, access, calls, reader_timeout, turns }
    }

    fn follow(
        &self,
        caller: Caller,
        authorization: Option<String>,
        request: StreamInboundRequest,
    ) -> Result<mpsc::Receiver<InboundItem>, Error> {
        let counted = self.calls.stream(&caller.tenant)?;
        let key = self.access.token_key().map_err(Error::Store)?;
        let tokens = Tokens::new(key, self.engine.reader().incarnation()).of_inbound();
        let whose = caller.view(&request.tenant)?;
        let kept = *self.engine.inbound_messages().kept().borrow();
        let from_beginning = request.start == Some(Start::Position(StreamStart::Beginning as i32));
        let position = start(request.start, kept, &tokens, audience(&whose))?;
        // One place more, for the error that may end it.
        let (to, messages) = mpsc::channel(STREAM_AHEAD + 1);
        let error_slot = to.clone().try_reserve_owned().ok();
        let follower = InboundStream {
            engine: self.engine.clone(),
            own: Arc::clone(&caller.tenant),
            whose,
            showing: Showing::to(&caller),
            tokens,
            position,
            from_beginning,
            to,
            error_slot,
            reader_timeout: self.reader_timeout,
            turns: self.turns.clone(),
            bookmark_at: Instant::now() + BOOKMARK_EVERY,
            _counted: Box::new((counted, self.engine.metrics().stream())),
        };
        let shut_out = shut_out(self.access.clone(), self.engine.clone(), caller, authorization);
        let (engine, end) = (self.engine.clone(), follower.to.clone());
        stream::spawn(engine, self.reader_timeout, end, follower.run(), shut_out);
        Ok(messages)
    }
}

#[tonic::async_trait]
impl inbound_service_server::InboundService for InboundService {
    type StreamInboundStream = ReceiverStream<InboundItem>;

    async fn stream_inbound(
        &self,
        request: Request<StreamInboundRequest>,
    ) -> Result<Response<Self::StreamInboundStream>, Status> {
        let followed = caller(&request).and_then(|caller| {
            let authorization = authorization(request.metadata().as_ref())?.map(str::to_owned);
            self.follow(caller, authorization, request.into_inner())
        });
        match followed {
            Ok(messages) => Ok(Response::new(ReceiverStream::new(messages))),
            Err(error) => {
                self.engine.metrics().refused(code_name(error.reason().code()));
                Err(error.into())
            }
        }
    }
}

/// The number behind which a stream begins.
fn start(
    start: Option<Start>,
    kept: KeptNumbers,
    tokens: &Tokens,
    audience: &str,
) -> Result<u64, Error> {
    match start {
        Some(Start::ResumeToken(token)) => {
            let Cursor(number) = tokens.position(audience, &token)?.cursor;
            match number {
                // A folder that was restored from a backup keeps its name, and has lost its newest.
                number if number > kept.last => Err(Error::TokenForeign),
                number if number < kept.gone => {
                    Err(Error::TokenTooOld { oldest: token_of(tokens, audience, kept.gone) })
                }
                number => Ok(number),
            }
        }
        Some(Start::Position(start)) => match StreamStart::try_from(start) {
            Ok(StreamStart::Unspecified | StreamStart::Now) => Ok(kept.last),
            Ok(StreamStart::Beginning) => Ok(kept.gone),
            Err(_) => {
                let wanted = "must be STREAM_START_NOW or STREAM_START_BEGINNING";
                Err(Error::invalid("position", wanted))
            }
        },
        None => Ok(kept.last),
    }
}

fn token_of(tokens: &Tokens, audience: &str, number: u64) -> String {
    tokens.resume(audience, Position::behind(Cursor(number)))
}

impl InboundStream {
    /// Tells messages until the reader goes away.
    async fn run(mut self) {
        // Either way the reader knows.
        let (Ok(()) | Err(StreamEnded)) = self.follow().await;
    }

    async fn follow(&mut self) -> Result<(), StreamEnded> {
        let mut kept = self.engine.inbound_messages().kept();
        let mut has_told_all = false;
        loop {
            let newest = kept.borrow_and_update().last;
            while self.some_more(newest).await? {}
            // Said once: a reader that is cut off before the first message could not come back to here.
            if !std::mem::replace(&mut has_told_all, true) {
                self.bookmark(true).await?;
            }
            self.wait(&mut kept).await?;
        }
    }

    /// Tells some of what is new. Whether there is more of it.
    async fn some_more(&mut self, newest: u64) -> Result<bool, StreamEnded> {
        let before = self.position;
        let InboundPage { messages, until } = self.read().await?;
        for (number, message) in messages {
            self.position = number;
            let message = render::inbound_message(&message, &self.own, self.showing);
            self.from_beginning = false;
            self.deliver(Some(message), false).await?;
        }
        self.position = until;
        // Where much comes for others, the reader must hear where it is all the same.
        if Instant::now() >= self.bookmark_at {
            self.bookmark(false).await?;
        }
        Ok(until > before && until < newest)
    }

    async fn read(&mut self) -> Result<InboundPage, StreamEnded> {
        let (messages, whose, after) =
            (Arc::clone(self.engine.inbound_messages()), self.whose.clone(), self.position);
        let read = move || messages.after(whose.as_deref(), after, AT_ONCE);
        match self.turns.read_for_stream(&self.own, read).await {
            Ok(Ok(page)) => Ok(page),
            // Whoever asked for the oldest gets what is the oldest by now.
            Ok(Err(StoreError::Trimmed(Cursor(gone)))) if self.from_beginning => {
                let until = std::mem::replace(&mut self.position, gone).max(gone);
                Ok(InboundPage { messages: Vec::new(), until })
            }
            Ok(Err(StoreError::Trimmed(Cursor(gone)))) => {
                let oldest = token_of(&self.tokens, audience(&self.whose), gone);
                Err(self.fail(Error::TokenTooOld { oldest }))
            }
            Ok(Err(error)) => Err(self.fail(Error::Store(error))),
            Err(error) => Err(self.fail(error.into())),
        }
    }

    /// Waits for what is new; says where the stream is when there is nothing for a while.
    async fn wait(&mut self, kept: &mut watch::Receiver<KeptNumbers>) -> Result<(), StreamEnded> {
        loop {
            tokio::select! {
                changed = kept.changed() => {
                    return changed.map_err(|_| self.fail(EngineError::Unavailable.into()));
                }
                () = self.to.closed() => return Err(StreamEnded),
                () = tokio::time::sleep_until(self.bookmark_at) => self.bookmark(true).await?,
                _ = self.engine.stopped() => {
                    return Err(self.fail(EngineError::Unavailable.into()));
                }
            }
        }
    }

    async fn bookmark(&mut self, up_to_date: bool) -> Result<(), StreamEnded> {
        self.deliver(None, up_to_date).await
    }

    /// Sends a message, or where the stream is.
    async fn deliver(
        &mut self,
        message: Option<InboundMessage>,
        up_to_date: bool,
    ) -> Result<(), StreamEnded> {
        self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
        let resume_token = token_of(&self.tokens, audience(&self.whose), self.position);
        let response = StreamInboundResponse { message, resume_token, up_to_date };
        match tokio::time::timeout(self.reader_timeout, self.to.send(Ok(response))).await {
            Ok(sent) => sent.map_err(|_| StreamEnded),
            Err(_) => Err(self.fail(Error::ReaderStuck)),
        }
    }

    fn fail(&mut self, error: Error) -> StreamEnded {
        if let Some(slot) = self.error_slot.take() {
            slot.send(Err(error.into()));
        }
        StreamEnded
    }
}
