//! Whether Telegram takes an account's token: the status of a request is asked for that never was. That is free, and
//! nothing is sent.

use std::time::Duration;

use dispatch_contract::{Account, Fault, Probe, UnixMillis};
use dispatch_kit::{
    http::{HttpRequest, Method},
    json::Json,
};

use super::{TelegramAccount, TelegramAdapter, errors::meaning, send_result};

impl TelegramAdapter {
    /// Asks with the token that calls carry.
    pub(crate) async fn probe(
        &self,
        account: &Account,
        now: UnixMillis,
        timeout: Duration,
    ) -> Probe {
        let Some(account) = TelegramAccount::read(account) else {
            return Probe::CannotBeAsked("secret access_token is missing".to_owned());
        };
        let (url, authorization) =
            (account.url("checkVerificationStatus"), account.authorization());
        let call = HttpRequest {
            method: Method::POST,
            url: &url,
            authorization: Some(&authorization),
            content_type: "application/json",
            headers: &[],
            body: br#"{"request_id":"0"}"#.to_vec(),
            timeout,
            now,
        };
        let answer = match self.client.call(call).await {
            Ok(answer) => answer,
            Err(error) => return Probe::CannotBeAsked(error.detail),
        };
        let error = send_result::error(Json::of(&answer.body));
        let said = |error: &str| {
            format!("the provider answered HTTP {} {error}", answer.status).trim_end().to_owned()
        };
        match error.as_deref() {
            Some("REQUEST_ID_INVALID") => Probe::Works,
            Some(error) if meaning(error).is_some_and(|it| it.fault == Fault::Account) => {
                Probe::Refused(said(error))
            }
            None if (200..300).contains(&answer.status) => Probe::Works,
            None if answer.status == 401 => Probe::Refused(said("")),
            Some(error) => Probe::CannotBeAsked(said(error)),
            None => Probe::CannotBeAsked(said("")),
        }
    }
}
