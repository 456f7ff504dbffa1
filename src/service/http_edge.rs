//! The HTTP edges: webhooks and the old APIs in public, health and metrics inside.

use std::{sync::Arc, time::Duration};

use axum::Router;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{files::Files, rooms::Rooms, sockets::Socket};
use crate::{
    config::ListenConfig,
    fair::ConnectionPool,
    http,
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
    let health = http::Health {
        engine: rooms.engine.clone(),
        is_on_loopback: internal.address.ip().is_loopback(),
    };
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
    let routers = [public_router(rooms, listen, timeout), http::internal_router(health)];
    for (listener, router) in [public, internal].into_iter().zip(routers) {
        let router = http::caught(router, rooms.engine.clone());
        edges.spawn(http::serve(listener, router, stop.clone()));
    }
}

fn public_router(rooms: &Rooms, listen: &ListenConfig, timeout: Duration) -> Router {
    let webhooks = http::Webhooks {
        engine: rooms.engine.clone(),
        registry: rooms.registry.clone(),
        accounts: Arc::clone(&rooms.accounts),
        public_url: listen.public_url.clone(),
        timeout,
    };
    let rest = Rest {
        engine: rooms.engine.clone(),
        access: Arc::new(rooms.rest_access.clone()),
        applications: Arc::clone(&rooms.applications),
        accounts: Arc::clone(&rooms.external_accounts),
        show_tokens: rooms.shows_tokens,
        destinations: Arc::clone(&rooms.destinations),
        patience: timeout,
    };
    http::public_router(Arc::new(webhooks)).merge(rest::router(Arc::new(rest)))
}
