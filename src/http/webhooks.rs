//! Providers' webhooks, at `/receipts/{provider}/{account}`.
//!
//! `{provider}` may be the name of one of its adapters too; `{account}` may be left out where the provider
//! has one account. A slash too many is taken; a name that is not known is counted and logged, because
//! receipts that are lost are messages that fail over. The body goes to the provider's code as it came:
//! signatures cover raw bytes. A 2xx is answered only once all of it is durable; one that panics
//! is answered for with 500, so that the provider sends it again.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use dispatch_contract::{
    Account, ChannelSender, Clock, ExternalFields, Inbound, Provider, Registry, UnixMillis,
    Verdict, WebhookOutcome, WebhookRequest,
};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Level;

use crate::{current::Current, telemetry::EdgeTelemetry};

/// The largest body taken: Meta tells up to 1,000 updates at once, in up to 3 MB.
const BODY_BYTES: usize = 4 * 1024 * 1024;
/// What nearly every call has. Of larger ones, and of those that do not say, only so many are read at a time.
const USUAL_BODY_BYTES: u64 = 256 * 1024;
/// How many.
pub(crate) const LARGE_BODIES: usize = 8;
/// When a large call is worth sending again for which no place became free.
const NO_ROOM_RETRY_S: u64 = 5;
/// How many accounts a log line names.
const NAMED: usize = 20;
/// When a call is worth sending again whose sender's account could not be read.
const UNREAD_RETRY_S: u64 = 60;
/// How much of a path is logged, in characters.
const SHOWN: usize = 80;

/// The accounts of a service, by provider and name.
pub type AccountsByName = BTreeMap<(String, String), Arc<Account>>;

/// Where what webhooks report goes.
#[async_trait]
pub trait WebhookSink: Send + Sync {
    /// Takes what was reported. Returns once all of it is durable.
    ///
    /// # Errors
    /// [`RetryAfter`]: nothing of it was taken.
    async fn take(&self, by: &ReportedBy<'_>, reported: Vec<Inbound>) -> Result<(), RetryAfter>;
}

/// Who reports something, as far as it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedBy<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The configured account that the call came by.
    pub account: &'a str,
    /// Where a sender's own account verified it: what is reported counts for that sender's messages of
    /// these tenants alone.
    pub own: Option<VerifiedSender>,
}

/// The tenants whose own account of a sender verified a call, and that sender.
pub(crate) type VerifiedSender = (Vec<Arc<str>>, ChannelSender);

/// Knows the accounts that tenants brought along.
pub trait ExternalAccounts: Send + Sync {
    /// `base` as each tenant that brought this sender uses it. It must not wait for anything.
    ///
    /// # Errors
    /// If that cannot be told now; the text goes to the log.
    fn of_sender(
        &self,
        base: &Account,
        fields: ExternalFields,
        sender: &ChannelSender,
    ) -> Result<Vec<(Arc<str>, Account)>, String>;
}

/// When it is worth sending again, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u64);

/// What webhooks need.
pub struct Webhooks {
    /// Where what they report goes.
    pub sink: Arc<dyn WebhookSink>,
    /// By which signatures are judged to be fresh.
    pub clock: Arc<dyn Clock>,
    /// What is counted and logged with.
    pub telemetry: EdgeTelemetry,
    /// Who reads them.
    pub registry: Registry,
    /// The accounts, by provider and name; one that was renamed stands under its former names too.
    pub accounts: Arc<Current<AccountsByName>>,
    /// Those that tenants brought along.
    pub external_accounts: Arc<dyn ExternalAccounts>,
    /// How providers reach this listener; some signatures cover the URL.
    pub public_url: String,
    /// How long a body may take to arrive.
    pub timeout: Duration,
    /// The places of those that are larger than usual.
    pub large_bodies: Semaphore,
}

/// The public listener's paths.
pub fn router(receipts: Arc<Webhooks>) -> Router {
    Router::new()
        .route("/receipts", any(bare))
        .route("/receipts/", any(bare))
        .route("/receipts/{*names}", any(named))
        .with_state(receipts)
}

async fn bare(State(state): State<Arc<Webhooks>>) -> Response {
    state.unknown_path("path", "/receipts")
}

async fn named(
    State(state): State<Arc<Webhooks>>,
    Path(names): Path<String>,
    request: Request,
) -> Response {
    let mut parts = names.split('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(adapter), account, None) => state.take(adapter, account, request).await,
        (None, _, _) | (Some(_), _, Some(_)) => state.unknown_path("path", request.uri().path()),
    }
}

impl Webhooks {
    async fn take(&self, name: &str, account: Option<&str>, request: Request) -> Response {
        let Some(provider) = self.registry.webhook_reader(name) else {
            return self.unknown_path("adapter", request.uri().path());
        };
        let of = provider.name();
        let Some(account) = self.account(of, account) else {
            return self.unknown_path("account", request.uri().path());
        };
        let (head, body) = request.into_parts();
        let (body, _place) = match self.read(body).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let headers = raw(&head.headers);
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.public_url.trim_end_matches('/'));
        let call = WebhookRequest {
            method: head.method.as_str(),
            url: &url,
            query: head.uri.query().unwrap_or(""),
            headers: &headers,
            body: &body,
        };
        let wall = self.clock.wall();
        let read = self.verified(&**provider, &call, &account, wall);
        let Ok(read) = AssertUnwindSafe(read).catch_unwind().await else {
            // Nothing is known of it, not even whether it is genuine: the provider sends it again.
            self.telemetry.metrics.adapter_panicked(of, "webhook");
            self.telemetry.metrics.webhook(of, &account.name, "panicked");
            let account = &*account.name;
            if self.admits_log(Level::ERROR, "webhook_panicked", account, of) {
                tracing::error!(provider = of, account, "the provider panicked over a webhook");
            }
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let (outcome, own) = match read {
            Ok(read) => read,
            Err(error) => {
                self.telemetry.metrics.webhook(of, &account.name, "unread");
                if self.admits_log(Level::ERROR, "webhook_unread", &account.name, of) {
                    tracing::error!(provider = of, error, "a webhook could not be read");
                }
                return not_taken(RetryAfter(UNREAD_RETRY_S));
            }
        };
        self.judged(of, &account.name, outcome.verdict);
        // Whatever a provider hands back beside that verdict, a forged call changes nothing.
        if outcome.verdict != Verdict::Forged && !outcome.inbound.is_empty() {
            let by = ReportedBy { provider: of, account: &account.name, own };
            if let Err(later) = self.sink.take(&by, outcome.inbound).await {
                return not_taken(later);
            }
        }
        let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::OK);
        (status, outcome.body).into_response()
    }

    /// Counts a verdict, and logs what somebody should look into.
    fn judged(&self, of: &str, account: &str, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Understood => "understood",
            Verdict::NotUnderstood => {
                if self.admits_log(Level::WARN, "webhook_not_understood", account, of) {
                    tracing::warn!(provider = of, account, "a genuine webhook was not understood");
                }
                "not_understood"
            }
            Verdict::Forged => {
                // Whoever finds this address could fill a log: the metric counts, the line is rare.
                if self.admits_log(Level::WARN, "webhook_forged", account, of) {
                    tracing::warn!(
                        provider = of,
                        account,
                        "a webhook's signature is missing or wrong; does the account hold what the provider signs with?"
                    );
                }
                "forged"
            }
        };
        self.telemetry.metrics.webhook(of, account, verdict);
    }

    /// A call's body, and its place among the large ones; or what the caller is answered.
    async fn read(&self, body: Body) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Response> {
        let is_usual = body.size_hint().upper().is_some_and(|bytes| bytes <= USUAL_BODY_BYTES);
        let place = match is_usual {
            true => None,
            false => Some(place(&self.large_bodies, self.timeout).await?),
        };
        match tokio::time::timeout(self.timeout, to_bytes(body, BODY_BYTES)).await {
            Ok(Ok(body)) => Ok((body, place)),
            // Too large, or cut off on the way: the provider sends it again, or we would not take it.
            Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE.into_response()),
            Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
        }
    }

    /// What became of a call: under the configured account, else under those of the sender that it names.
    /// Each of these speaks for its own sender's messages alone, so that whoever brings an account gains no
    /// say in what others sent by the same route.
    async fn verified(
        &self,
        provider: &dyn Provider,
        call: &WebhookRequest<'_>,
        account: &Account,
        wall: UnixMillis,
    ) -> Result<(WebhookOutcome, Option<VerifiedSender>), String> {
        let configured = provider.take_webhook(call, account, wall).await?;
        if configured.verdict != Verdict::Forged {
            return Ok((configured, None));
        }
        let Some(sender) = provider.webhook_sender(call) else { return Ok((configured, None)) };
        let Some(fields) = provider.external_fields(&sender.channel) else {
            return Ok((configured, None));
        };
        let mut verified = None;
        let mut tenants = Vec::new();
        for (tenant, own) in self.external_accounts.of_sender(account, fields, &sender)? {
            let outcome = provider.take_webhook(call, &own, wall).await?;
            if outcome.verdict != Verdict::Forged {
                verified.get_or_insert(outcome);
                tenants.push(tenant);
            }
        }
        Ok(verified.map_or((configured, None), |outcome| (outcome, Some((tenants, sender)))))
    }

    /// What anybody outside can cause is logged rarely, and counted by the metrics.
    fn admits_log(&self, level: Level, kind: &'static str, of: &str, cause: &str) -> bool {
        self.telemetry.log_limit.admits(level, kind, of, cause)
    }

    /// Nobody here is called so. The provider, or whoever it is, is told no more than that.
    fn unknown_path(&self, unknown: &'static str, path: &str) -> Response {
        self.telemetry.metrics.webhook_unknown_path(unknown);
        if self.admits_log(Level::WARN, "webhook_unknown_path", "", unknown) {
            let accounts = self.accounts.get();
            let own = accounts.iter().filter(|((_, name), account)| *name == account.name);
            let known: Vec<_> = own
                .take(NAMED)
                .map(|((provider, name), _)| format!("/receipts/{provider}/{name}"))
                .collect();
            tracing::warn!(
                unknown,
                path = shape(path),
                known = known.join(" "),
                "a call at a path for receipts that leads nowhere; if a provider made it, its receipts \
                 are lost, and every message counts as unread"
            );
        }
        let text = match unknown {
            "adapter" => "no adapter of that name\n",
            "account" => "no account of that name\n",
            _ => "no such path\n",
        };
        (StatusCode::NOT_FOUND, text).into_response()
    }

    fn account(&self, provider: &str, name: Option<&str>) -> Option<Arc<Account>> {
        let accounts = self.accounts.get();
        if let Some(name) = name {
            return accounts.get(&(provider.to_owned(), name.to_owned())).map(Arc::clone);
        }
        let of_provider = |((of, name), account): &(&(String, String), &Arc<Account>)| {
            of == provider && *name == account.name
        };
        let mut of_provider = accounts.iter().filter(of_provider);
        // Which one would be a guess if there were two.
        let (_, only) = of_provider.next().filter(|_| of_provider.next().is_none())?;
        Some(Arc::clone(only))
    }
}

/// One of the places of large bodies. Where none becomes free that is no fault of the caller's.
async fn place(places: &Semaphore, timeout: Duration) -> Result<SemaphorePermit<'_>, Response> {
    let place = tokio::time::timeout(timeout, places.acquire()).await;
    place.ok().and_then(Result::ok).ok_or_else(|| not_taken(RetryAfter(NO_ROOM_RETRY_S)))
}

fn not_taken(RetryAfter(seconds): RetryAfter) -> Response {
    let headers = [(header::RETRY_AFTER, seconds.to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, headers, "not taken; send it again\n").into_response()
}

/// A path as it may stand in a log: short, without what is no usual part of one, and without numbers
/// that may be a person's.
fn shape(path: &str) -> String {
    let mut shape = String::new();
    let mut digits = 0;
    for c in path.chars().take(SHOWN) {
        digits = if c.is_ascii_digit() { digits + 1 } else { 0 };
        match c {
            _ if digits > 4 => {
                shape.truncate(shape.trim_end_matches(|c: char| c.is_ascii_digit()).len());
                if !shape.ends_with('#') {
                    shape.push('#');
                }
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '/' | '-' | '_' | '.' | '~' => shape.push(c),
            _ => shape.push('?'),
        }
    }
    if path.chars().nth(SHOWN).is_some() {
        shape.push('…');
    }
    shape
}

fn raw(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_logged_short_and_without_what_is_odd_or_personal() {
        for (path, shown) in [
            ("/receipts/vonage/mian", "/receipts/vonage/mian"),
            ("/receipts/main2/2024", "/receipts/main2/2024"),
            ("/receipts/vonage/+447700900123/x", "/receipts/vonage/?#/x"),
            ("/receipts/\u{1b}[31m\r\n%00\u{202e}é", "/receipts/??31m???00??"),
        ] {
            assert_eq!(shape(path), shown);
        }
        let long = shape(&"/a".repeat(1000));
        assert_eq!(long.chars().count(), SHOWN + 1);
    }

    #[tokio::test]
    async fn who_finds_no_place_for_a_large_body_is_asked_to_send_it_again() {
        let places = Semaphore::new(1);
        let soon = Duration::from_millis(5);
        let taken = place(&places, soon).await.unwrap();
        let refused = place(&places, soon).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        drop(taken);
        assert!(place(&places, soon).await.is_ok());
    }
}
