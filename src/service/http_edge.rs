//! The HTTP edges: webhooks and the old APIs in public, health and metrics inside.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::Router;
use dispatch_contract::Inbound;
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{accounts::OwnAccounts, files::Files, rooms::Rooms, sockets::Socket};
use crate::{
    config::ListenConfig,
    engine::{Engine, EngineError, ReceiptScope},
    fair::ConnectionPool,
    http::{self, Readiness, ReportedBy, RetryAfter, WebhookSink},
    rest::{self, Rest},
    tls::Tls,
};

/// Serves both until `stop`.
pub(super) fn spawn(
    edges: &mut JoinSet<()>,
    rooms: &Rooms,
    listen: &ListenConfig,
    files: Files,
    (public, public_tls): (Socket, Option<Arc<Tls>>),
    internal: Socket,
    stop: &CancellationToken,
) {
    let timeout = Duration::from_secs(listen.http_timeout_s);
    let engine = rooms.engine.clone();
    let health = http::Health {
        metrics: Arc::clone(engine.metrics()),
        readiness: Box::new(move || readiness(&engine)),
        is_on_loopback: internal.address.ip().is_loopback(),
    };
    let scheme = if public_tls.is_some() { "https" } else { "http" };
    let own_url = format!("{scheme}://{}", public.address);
    let routers = [public_router(rooms, listen, own_url, timeout), http::internal_router(health)];
    let public = http::Listener {
        name: "HTTP",
        socket: public.listener,
        pool: ConnectionPool::new(files.http),
        tls: public_tls,
        timeout,
    };
    let internal = http::Listener {
        name: "internal HTTP",
        socket: internal.listener,
        pool: ConnectionPool::new(files.internal),
        tls: None,
        timeout,
    };
    for (listener, router) in [public, internal].into_iter().zip(routers) {
        let router = http::caught(router, rooms.engine.telemetry());
        edges.spawn(http::serve(listener, router, stop.clone()));
    }
}

fn public_router(
    rooms: &Rooms,
    listen: &ListenConfig,
    own_url: String,
    timeout: Duration,
) -> Router {
    // Who names no public address is called at its own: by programs on the same machine.
    let public_url = match listen.public_url.as_str() {
        "" => own_url,
        told => told.to_owned(),
    };
    let webhooks = http::Webhooks {
        sink: Arc::new(EngineInbound(rooms.engine.clone())),
        clock: rooms.clock.contract_clock(),
        telemetry: rooms.engine.telemetry(),
        registry: rooms.registry.clone(),
        external_accounts: Arc::new(OwnAccounts(Arc::clone(&rooms.external_accounts))),
        accounts: Arc::clone(&rooms.accounts.accounts),
        public_url,
        timeout,
        large_bodies: Semaphore::new(http::LARGE_BODIES),
    };
    let rest = Rest {
        engine: rooms.engine.clone(),
        turns: rooms.turns.clone(),
        access: Arc::new(rooms.rest_access.clone()),
        applications: Arc::clone(&rooms.applications),
        accounts: Arc::clone(&rooms.external_accounts),
        show_tokens: rooms.shows_tokens,
        destinations: Arc::clone(&rooms.destinations),
        body_timeout: timeout,
    };
    http::public_router(Arc::new(webhooks)).merge(rest::router(Arc::new(rest)))
}

fn readiness(engine: &Engine) -> Readiness {
    if engine.is_draining() {
        Readiness::Draining
    } else if engine.is_read_only() {
        Readiness::ReadOnly
    } else if engine.is_restore_locked() {
        Readiness::RestoreLocked
    } else {
        Readiness::Ready
    }
}

/// Brings what webhooks report to the engine.
struct EngineInbound(Engine);

#[async_trait]
impl WebhookSink for EngineInbound {
    async fn take(&self, by: &ReportedBy<'_>, reported: Vec<Inbound>) -> Result<(), RetryAfter> {
        let own = by.own.as_ref();
        let of = own.map(|(tenants, sender)| ReceiptScope::new(tenants.clone(), sender.clone()));
        let taken = self.0.inbound_of(by.provider, by.account, of, reported).await;
        taken.map_err(|error| match error {
            EngineError::Overloaded { retry_after_ms } => {
                RetryAfter(retry_after_ms.div_ceil(1000).max(1))
            }
            EngineError::NotFound(_)
            | EngineError::TooLate
            | EngineError::RouteSaturated { .. }
            | EngineError::AlreadyExists(_)
            | EngineError::AlreadyEnded { .. }
            | EngineError::DiskFull
            | EngineError::ReadOnly
            | EngineError::RestoreLocked
            | EngineError::NotRestoreLocked
            | EngineError::Unavailable => RetryAfter(5),
        })
    }
}
