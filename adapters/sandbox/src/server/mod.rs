//! The provider as an HTTP server, in the words of those whose adapters are tried against it.
//!
//! - Each has a front with its own paths, credentials and words: [`vonage`], [`meta`], [`twilio`], [`telegram`],
//!   [`telegram_bot`]. They share one listener, one provider with its scripts, and one sender of webhooks, which repeats
//!   what was not taken.
//! - `/sandbox/…` is for people and tests: what was sent, and which scripts are in force.
//!
//! It is meant for the loopback interface: `/sandbox/…` asks for no credential, and webhooks go wherever a
//! caller says.

mod control;
mod meta;
mod shared;
mod telegram;
mod telegram_bot;
mod twilio;
mod vonage;
mod webhook_sender;

use std::{fmt, io, sync::Arc};

use axum::{Router, middleware::map_response};
use dispatch_contract::Secret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::provider::SimulatedProvider;
use shared::SharedServer;
use webhook_sender::WebhookSender;

pub use meta::MetaApp;
pub use twilio::SimulatedTwilio;

pub(crate) use webhook_sender::first_retry;

/// An account at the simulated Vonage.
///
/// With neither `api_secret` nor `public_key_pem`, callers must show some `Authorization`, and any
/// will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerConfig {
    /// The account's key: the user of Basic credentials, and a claim of signed webhooks.
    pub api_key: String,
    /// The password of Basic credentials; `None` refuses them once a public key is set.
    pub api_secret: Option<Secret>,
    /// The application that tokens must name, and a claim of signed webhooks.
    pub application_id: Option<String>,
    /// The application's RSA public key, as PEM; `None` refuses tokens once a secret is set.
    pub public_key_pem: Option<String>,
    /// What webhooks are signed with; `None`: they are not.
    pub signature_secret: Option<Secret>,
    /// Where status webhooks go, unless the message says otherwise.
    pub status_url: Option<String>,
    /// Where what people write goes; nobody is told without it.
    pub inbound_url: Option<String>,
}

/// A configuration that no server can be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfigError(String);

/// The simulated provider behind HTTP; see [`ServerConfig`] and the `/sandbox` paths of
/// [`serve`](Self::serve).
pub struct SandboxServer {
    shared: Arc<SharedServer>,
    routes: Router,
}

impl SandboxServer {
    /// A server for `provider`, which may have other fronts as well.
    ///
    /// # Errors
    /// If the public key is no RSA key in PEM form, a URL is none, or no HTTP client can be made.
    pub fn new(
        provider: Arc<SimulatedProvider>,
        config: ServerConfig,
    ) -> Result<Self, ServerConfigError> {
        for (name, url) in [("status", &config.status_url), ("inbound", &config.inbound_url)] {
            if url.as_deref().is_some_and(|url| !shared::is_web_address(url)) {
                let problem = format!("the {name} URL must be an http or https URL");
                return Err(ServerConfigError(problem));
            }
        }
        let webhook_sender = Arc::new(WebhookSender::new(Arc::clone(&provider))?);
        let shared =
            Arc::new(SharedServer { provider, webhook_sender, cancel: CancellationToken::new() });
        let routes = vonage::routes(&shared, &config)?;
        Ok(SandboxServer { shared, routes })
    }

    /// The same with an app at the simulated Meta beside it.
    #[must_use]
    pub fn with_meta(self, app: MetaApp) -> Self {
        let routes = self.routes.merge(meta::routes(&self.shared, app));
        SandboxServer { routes, ..self }
    }

    /// The same with an account at the simulated Twilio beside it.
    #[must_use]
    pub fn with_twilio(self, account: &SimulatedTwilio) -> Self {
        let routes = self.routes.merge(twilio::routes(&self.shared, account));
        SandboxServer { routes, ..self }
    }

    /// The same with an account at the simulated Telegram Gateway beside it, whose token this is.
    #[must_use]
    pub fn with_telegram(self, token: &Secret) -> Self {
        let routes = self.routes.merge(telegram::routes(&self.shared, token));
        SandboxServer { routes, ..self }
    }

    /// The same with a bot at the simulated Bot API of Telegram beside it, whose token this is.
    #[must_use]
    pub fn with_telegram_bot(self, token: &Secret) -> Self {
        let routes = self.routes.merge(telegram_bot::routes(&self.shared, token));
        SandboxServer { routes, ..self }
    }

    /// Serves until `cancel`, then answers what is under way and returns. Webhooks that are not yet
    /// due are forgotten; sends that wait in vain are cut off with 503.
    ///
    /// Beside the providers' APIs there are, without credentials and for people and tests:
    /// `GET /sandbox/messages` (what was really sent), `GET`, `PUT` and `DELETE /sandbox/scripts`
    /// (all scripts; set the default; clear), `PUT` and `DELETE /sandbox/scripts/{recipient}`; and at a bot of Telegram's
    /// `POST /sandbox/telegram_bot/messages` (a person writes).
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(self, listener: TcpListener, cancel: CancellationToken) -> io::Result<()> {
        let SandboxServer { shared, routes } = self;
        // Whoever drops this future stops the webhooks, too.
        let stop = shared.cancel.clone().drop_guard();
        let webhook_sender =
            tokio::spawn(Arc::clone(&shared.webhook_sender).run(shared.cancel.clone()));
        let dated = Arc::clone(&shared.provider);
        let app = routes
            .merge(control::routes(Arc::clone(&shared.provider)))
            .layer(map_response(move |response| shared::dated(&dated, response)));
        let stopping = async move {
            cancel.cancelled().await;
            shared.cancel.cancel();
        };
        let served = axum::serve(listener, app).with_graceful_shutdown(stopping).await;
        drop(stop);
        if let Err(error) = webhook_sender.await {
            tracing::error!(%error, "the task that posts status webhooks failed");
        }
        served
    }
}

impl ServerConfigError {
    fn public_key(error: &jsonwebtoken::errors::Error) -> Self {
        ServerConfigError(format!("the public key must be an RSA public key in PEM form: {error}"))
    }

    fn client(error: &reqwest::Error) -> Self {
        ServerConfigError(format!("no HTTP client for webhooks could be made: {error}"))
    }
}

impl fmt::Display for ServerConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerConfigError {}

impl fmt::Debug for SandboxServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxServer")
            .field("provider", &self.shared.provider)
            .finish_non_exhaustive()
    }
}
