//! Twilio's `Messages`.
//!
//! - `POST /2010-04-01/Accounts/{sid}/Messages.json` takes a send, and answers by script: 201 with a `sid`,
//!   400 with a code, 429, 500, or never. `GET` lists nothing.
//! - `POST …/Messages/{sid}.json` with `Status=canceled` takes a message back that nobody has yet; else 409.
//! - Statuses go to the message's `StatusCallback`, without its fragment, signed as Twilio signs.
//! - What a script has a person answer on WhatsApp goes to the URL that is configured for inbound messages. On other
//!   channels Twilio tells of no quotes.
//!
//! A script's codes are Vonage's; the code of Twilio's that says the same stands for each. It fetches no
//! media, knows no template, and lets no message wait in a queue.

mod inbound;
mod order;
mod refusal;
mod status;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dispatch_contract::{Channel, Recall, Receipt, Secret};
use dispatch_kit::signature::SignatureScheme;
use serde_json::json;

use super::{
    shared::{SharedServer, json_response, read},
    webhook_sender::{WebhookDraft, WebhookSigner},
};
use crate::{plan::ChannelTells, provider::SendCall, record::CallResult, reply};
use order::TwilioOrder;
use refusal::TwilioRefusal;

/// An account at the simulated Twilio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedTwilio {
    /// The account: `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// Its auth token: the password of its calls, and what webhooks are signed with.
    pub auth_token: Secret,
    /// An API key that calls may carry too: its SID and its secret.
    pub api_key: Option<(String, Secret)>,
    /// Where what people write goes; nobody is told without it.
    pub inbound_url: Option<String>,
}

/// Twilio's side of the server.
struct TwilioFront {
    shared: Arc<SharedServer>,
    account_sid: String,
    /// `user:password` in base64, of all who may call.
    callers: Vec<String>,
    signer: Arc<dyn WebhookSigner>,
    inbound_url: Option<String>,
}

/// Signs with the account's auth token.
struct UrlSigner(Secret);

/// Twilio's paths.
pub(super) fn routes(shared: &Arc<SharedServer>, account: &SimulatedTwilio) -> Router {
    let caller =
        |user: &str, password: &Secret| STANDARD.encode(format!("{user}:{}", password.expose()));
    let key = account.api_key.iter().map(|(sid, secret)| caller(sid, secret));
    let front = TwilioFront {
        shared: Arc::clone(shared),
        account_sid: account.account_sid.clone(),
        callers: key.chain([caller(&account.account_sid, &account.auth_token)]).collect(),
        signer: Arc::new(UrlSigner(account.auth_token.clone())),
        inbound_url: account.inbound_url.clone(),
    };
    Router::new()
        .route("/2010-04-01/Accounts/{account}/Messages.json", post(send).get(list))
        .route("/2010-04-01/Accounts/{account}/Messages/{message}", post(update))
        .with_state(Arc::new(front))
}

impl WebhookSigner for UrlSigner {
    fn sign(&self, url: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let text = dispatch_twilio::signed_text(url, body);
        let key = self.0.expose().as_bytes();
        vec![("x-twilio-signature", SignatureScheme::Sha1Base64.sign(key, text.as_bytes()))]
    }
}

impl TwilioFront {
    /// Whether whoever has these headers may use this account.
    fn admit(&self, account: &str, headers: &HeaderMap) -> Result<(), TwilioRefusal> {
        let credential = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let credential = credential.and_then(|text| text.split_once(' '));
        let is_known = credential.is_some_and(|(scheme, credential)| {
            let credential = credential.trim();
            scheme.eq_ignore_ascii_case("basic") && self.callers.iter().any(|it| it == credential)
        });
        if !is_known {
            return Err(TwilioRefusal::unauthorized());
        }
        if account != self.account_sid {
            return Err(TwilioRefusal::not_found());
        }
        Ok(())
    }

    async fn try_send(&self, account: &str, request: Request) -> Result<Response, TwilioRefusal> {
        self.admit(account, request.headers())?;
        let body = read(request.into_body()).await.map_err(TwilioRefusal::body)?;
        let order = order::parse(&body)?;
        match self.play(&order).await {
            CallResult::Accepted { provider_id } | CallResult::AcceptedBefore { provider_id } => {
                let sid = order::sid(&order.channel, &provider_id);
                Ok(json_response(StatusCode::CREATED, &order.created(&self.account_sid, &sid)))
            }
            CallResult::Rejected(code) => Err(TwilioRefusal::scripted(code)),
            CallResult::Throttled { after } => Err(TwilioRefusal::throttled(after)),
            CallResult::Failed => Err(TwilioRefusal::failed()),
            CallResult::Nothing => Ok(self.shared.silence().await),
        }
    }

    async fn try_update(
        &self,
        account: &str,
        message: &str,
        request: Request,
    ) -> Result<Response, TwilioRefusal> {
        self.admit(account, request.headers())?;
        let body = read(request.into_body()).await.map_err(TwilioRefusal::body)?;
        let sid = message.strip_suffix(".json").ok_or_else(TwilioRefusal::not_found)?;
        let id = order::provider_id(sid).ok_or_else(TwilioRefusal::not_found)?;
        self.shared.provider.channel_of(&id).ok_or_else(TwilioRefusal::not_found)?;
        if !url::form_urlencoded::parse(&body)
            .any(|field| field == ("Status".into(), "canceled".into()))
        {
            return Err(TwilioRefusal::invalid("Status"));
        }
        match self.shared.recall(&id) {
            Recall::Recalled => {
                Ok(json_response(StatusCode::OK, &json!({ "sid": sid, "status": "canceled" })))
            }
            Recall::TooLate(_) => Err(TwilioRefusal::too_late()),
        }
    }

    async fn play(&self, order: &TwilioOrder) -> CallResult {
        let call = SendCall {
            channel: &order.channel,
            recipient: &order.recipient,
            client_ref: order.client_ref.as_deref(),
            tells: ChannelTells {
                reads: [Channel::WHATSAPP, Channel::RCS].contains(&order.channel),
                quotes: order.channel == Channel::WHATSAPP,
            },
        };
        let webhook = |receipt: &Receipt| {
            let account = &self.account_sid;
            let (url, body) = match reply::id(self.shared.provider.seed(), receipt) {
                Some(id) => (&self.inbound_url, inbound::body(account, order, receipt, id)),
                None => (&order.status_callback, status::body(account, order, receipt)),
            };
            Some(WebhookDraft {
                url: url.clone()?,
                content_type: "application/x-www-form-urlencoded",
                body: body?.into_bytes(),
                signer: Some(Arc::clone(&self.signer)),
            })
        };
        self.shared.play(&call, webhook).await
    }
}

async fn send(
    State(front): State<Arc<TwilioFront>>,
    Path(account): Path<String>,
    request: Request,
) -> Response {
    front.try_send(&account, request).await.unwrap_or_else(TwilioRefusal::into_response)
}

async fn list(
    State(front): State<Arc<TwilioFront>>,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    match front.admit(&account, &headers) {
        Ok(()) => json_response(StatusCode::OK, &json!({ "messages": [], "page": 0 })),
        Err(refusal) => refusal.into_response(),
    }
}

async fn update(
    State(front): State<Arc<TwilioFront>>,
    Path((account, message)): Path<(String, String)>,
    request: Request,
) -> Response {
    let updated = front.try_update(&account, &message, request).await;
    updated.unwrap_or_else(TwilioRefusal::into_response)
}
