//! Providers' webhooks, at `/receipts/{adapter}/{account}`.
//!
//! `{adapter}` is an adapter's name or a provider's; `{account}` may be left out where the provider
//! has one account. The body goes to the adapter as it came: signatures cover raw bytes. A 2xx is
//! answered only once all of it is durable.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use dispatch_contract::{Account, Registry, Verdict, WebhookRequest};

use crate::engine::{Engine, EngineError};

/// The largest body taken: providers' batches are far smaller.
const BODY_BYTES: usize = 256 * 1024;
/// How often a forged webhook is logged.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// What webhooks need.
pub struct Receipts {
    /// Where what they tell goes.
    pub engine: Engine,
    /// Who reads them.
    pub registry: Registry,
    /// The accounts, by provider and name.
    pub accounts: BTreeMap<(String, String), Arc<Account>>,
    /// How providers reach this listener; some signatures cover the URL.
    pub public_url: String,
    /// How long a body may take to arrive.
    pub patience: Duration,
    /// When a forged webhook was last logged.
    pub warned: Mutex<Option<Instant>>,
}

/// The public listener's paths.
pub fn router(receipts: Arc<Receipts>) -> Router {
    Router::new()
        .route("/receipts/{adapter}", any(without_account))
        .route("/receipts/{adapter}/{account}", any(with_account))
        .with_state(receipts)
}

async fn without_account(
    State(state): State<Arc<Receipts>>,
    Path(adapter): Path<String>,
    request: Request,
) -> Response {
    state.take(&adapter, None, request).await
}

async fn with_account(
    State(state): State<Arc<Receipts>>,
    Path((adapter, account)): Path<(String, String)>,
    request: Request,
) -> Response {
    state.take(&adapter, Some(&account), request).await
}

impl Receipts {
    async fn take(&self, name: &str, account: Option<&str>, request: Request) -> Response {
        let Some(adapter) = self.registry.webhook_reader(name) else {
            return (StatusCode::NOT_FOUND, "no adapter of that name\n").into_response();
        };
        let Some(account) = self.account(adapter.provider(), account) else {
            return (StatusCode::NOT_FOUND, "no account of that name\n").into_response();
        };
        let (head, body) = request.into_parts();
        let body = match read(body, self.patience).await {
            Ok(body) => body,
            Err(status) => return status.into_response(),
        };
        let headers = raw(&head.headers);
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.public_url.trim_end_matches('/'));
        let outcome = adapter.webhook(
            &WebhookRequest {
                method: head.method.as_str(),
                url: &url,
                query: head.uri.query().unwrap_or(""),
                headers: &headers,
                body: &body,
            },
            &account,
            self.engine.clock().wall(),
        );
        let verdict = match outcome.verdict {
            Verdict::Understood => "understood",
            Verdict::NotUnderstood => {
                tracing::warn!(adapter = adapter.name(), "a genuine webhook was not understood");
                "not_understood"
            }
            Verdict::Forged => {
                // Whoever finds this address could fill a log: the metric counts, the line is rare.
                if self.may_warn() {
                    tracing::warn!(
                        provider = adapter.provider(),
                        account = account.name,
                        "a webhook's signature is missing or wrong; is signature_secret the account's?"
                    );
                }
                "forged"
            }
        };
        self.engine.metrics().webhook(adapter.provider(), &account.name, verdict);
        // Whatever an adapter hands back beside that verdict, a forged call changes nothing.
        if outcome.verdict != Verdict::Forged && !outcome.inbound.is_empty() {
            let told = self.engine.inbound(adapter.provider(), &account.name, outcome.inbound);
            if let Err(error) = told.await {
                return no_room(&error);
            }
        }
        let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::OK);
        (status, outcome.body).into_response()
    }

    fn may_warn(&self) -> bool {
        let mut last = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = last.is_none_or(|at| at.elapsed() > WARN_EVERY);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }

    fn account(&self, provider: &str, name: Option<&str>) -> Option<Arc<Account>> {
        let mut of_provider = self.accounts.iter().filter(|((of, _), _)| of == provider);
        match name {
            Some(name) => of_provider.find(|((_, named), _)| named == name),
            // Which one would be a guess if there were two.
            None => of_provider.next().filter(|_| of_provider.next().is_none()),
        }
        .map(|(_, account)| Arc::clone(account))
    }
}

async fn read(body: Body, patience: Duration) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(patience, to_bytes(body, BODY_BYTES)).await {
        Ok(Ok(body)) => Ok(body),
        // Too large, or cut off on the way: the provider sends it again, or we would not take it.
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

fn raw(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

fn no_room(error: &EngineError) -> Response {
    let retry_s = match error {
        EngineError::Overloaded { retry_after_ms } => retry_after_ms.div_ceil(1000).max(1),
        EngineError::NotFound(_)
        | EngineError::TooLate
        | EngineError::RouteSaturated { .. }
        | EngineError::AlreadyExists(_)
        | EngineError::AlreadyEnded { .. }
        | EngineError::Held
        | EngineError::NotHeld
        | EngineError::Unavailable => 5,
    };
    let headers = [(header::RETRY_AFTER, retry_s.to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, headers, "not taken; send it again\n").into_response()
}
