//! A provider that takes every message at once: the Vonage Messages API as far as a send needs it.
//!
//! It judges nothing and remembers nothing; what arrives is handed to the scenario, which decides
//! what the provider tells later ([`webhooks`](super::webhooks)).

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::mpsc};
use uuid::Uuid;

use super::workflow;

/// A message that arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// Whose it is: the number that the scenario gave its recipient.
    pub(super) number: u64,
    /// Which step's message it is, counted from 1.
    pub(super) step: u8,
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
    /// The id that this provider gave it.
    pub(super) provider_id: Uuid,
    /// The caller's name for it.
    pub(super) client_ref: String,
}

/// Where messages arrive.
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    pub(super) arrivals: mpsc::UnboundedReceiver<Arrival>,
}

#[derive(Deserialize)]
struct Sent<'a> {
    channel: &'a str,
    to: &'a str,
    #[serde(default)]
    client_ref: &'a str,
}

struct Shared {
    arrivals: mpsc::UnboundedSender<Arrival>,
    /// No two runs name messages alike: a service that outlives one would mix them up.
    run: u64,
    next: AtomicU64,
}

impl Provider {
    /// Listens there, or on a free port, until the runtime ends.
    pub(super) async fn start(at: Option<SocketAddr>) -> std::io::Result<Provider> {
        let at = at.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let (sender, arrivals) = mpsc::unbounded_channel();
        let run = Uuid::now_v7().as_u64_pair().0;
        let shared = Arc::new(Shared { arrivals: sender, run, next: AtomicU64::new(0) });
        let router = Router::new().route("/v1/messages", post(take)).with_state(shared);
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            // Without it, small answers may wait for the caller's acknowledgement.
            let _ = stream.set_nodelay(true);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Provider { address, arrivals })
    }

    /// Forgets what has arrived so far.
    pub(super) fn forget(&mut self) {
        while self.arrivals.try_recv().is_ok() {}
    }
}

async fn take(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let (at, wall) = (Instant::now(), SystemTime::now());
    let Ok(sent) = serde_json::from_slice::<Sent<'_>>(&body) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let count = shared.next.fetch_add(1, Ordering::Relaxed);
    let provider_id = Uuid::from_u64_pair(shared.run, count);
    let Some((step, number)) = workflow::recipient(sent.channel, sent.to) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let client_ref = sent.client_ref.to_owned();
    // Nobody listens any more at the end of a run.
    let _ = shared.arrivals.send(Arrival { number, step, at, wall, provider_id, client_ref });
    let answer = format!(r#"{{"message_uuid":"{provider_id}"}}"#);
    (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], answer).into_response()
}
