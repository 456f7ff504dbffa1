//! Whether Meta takes an account's credential: who the token is, asked by `GET /me`.

use std::time::Duration;

use dispatch_contract::{Account, Fault, Probe, UnixMillis};
use dispatch_kit::{
    codes::Codes,
    http::{HttpClient, HttpRequest, Method},
};

use crate::{MetaAccount, MetaGateway, graph};

impl MetaGateway {
    /// Asks with the credential that calls carry. Graph refuses a token by its code as well as by the HTTP
    /// status, so both are read as of a send.
    pub(crate) async fn probe(
        &self,
        account: &Account,
        now: UnixMillis,
        timeout: Duration,
    ) -> Probe {
        match MetaAccount::read(account) {
            Some(account) => ask(&self.client, &account, now, timeout).await,
            None => Probe::CannotBeAsked("secret access_token is missing".to_owned()),
        }
    }
}

async fn ask(
    client: &HttpClient,
    account: &MetaAccount<'_>,
    now: UnixMillis,
    timeout: Duration,
) -> Probe {
    let (url, authorization) = (account.url("me"), account.authorization());
    let call = HttpRequest {
        method: Method::GET,
        url: &url,
        authorization: Some(&authorization),
        content_type: "application/json",
        headers: &[],
        body: Vec::new(),
        timeout,
        now,
    };
    let answer = match client.call(call).await {
        Ok(answer) => answer,
        Err(error) => return Probe::CannotBeAsked(error.detail),
    };
    if (200..300).contains(&answer.status) {
        return Probe::Works;
    }
    let error = graph::refusal(&answer, Codes::default());
    let code = error.code.map(|code| format!(", code {code}")).unwrap_or_default();
    let said = format!("the provider answered HTTP {}{code}: {}", answer.status, error.detail);
    // A path that is not there says nothing of the token; what is wrong with a request without a message is
    // its token, or the proof beside it.
    let is_about_token = match error.fault {
        Fault::Account => answer.status != 404 && answer.status != 405 && answer.status / 100 == 4,
        Fault::Content => answer.status == 400,
        Fault::Provider | Fault::Recipient => false,
    };
    if is_about_token { Probe::Refused(said) } else { Probe::CannotBeAsked(said) }
}

#[cfg(test)]
mod tests {
    use dispatch_contract::Secret;
    use dispatch_kit::conformance::{Behaviour, StubAnswer, stub::Stub};

    use super::*;

    async fn probe(behaviour: Behaviour) -> (Probe, Option<String>) {
        let stub = Stub::start(behaviour).expect("a socket");
        let account = Account {
            name: "main".to_owned(),
            revision: 1,
            settings: [("base_url".to_owned(), stub.url())].into(),
            secrets: [("access_token".to_owned(), Secret::new("EAAG-a-token"))].into(),
        };
        let (now, timeout) = (UnixMillis(1_700_000_000_000), Duration::from_secs(2));
        let found = MetaGateway::default().probe(&account, now, timeout).await;
        assert!(!found.to_string().contains("EAAG"), "{found}");
        (found, stub.request())
    }

    #[tokio::test]
    async fn a_token_works_is_refused_or_is_not_known_of_and_nothing_is_sent() {
        let coded = |code: u32| format!(r#"{{"error":{{"code":{code},"message":"m"}}}}"#);
        for (status, body, wanted) in [
            (200, r#"{"id":"1"}"#.to_owned(), "works"),
            (401, coded(190), "refused"),
            (400, coded(190), "refused"),
            (400, coded(100), "refused"),
            (403, coded(10), "refused"),
            (401, String::new(), "refused"),
            (404, String::new(), "cannot be asked"),
            (400, coded(4), "cannot be asked"),
            (500, coded(2), "cannot be asked"),
        ] {
            let (found, request) = probe(Behaviour::Answer(StubAnswer::new(status, body))).await;
            assert!(found.to_string().starts_with(wanted), "{status}: {found}");
            let request = request.expect("a request");
            assert_eq!(request.lines().next(), Some("GET /v26.0/me HTTP/1.1"));
        }
    }

    #[tokio::test]
    async fn who_is_not_reached_or_says_nothing_refused_nothing() {
        for behaviour in [Behaviour::Absent, Behaviour::Hang] {
            let (found, _) = probe(behaviour).await;
            assert!(matches!(found, Probe::CannotBeAsked(_)), "{found}");
        }
    }
}
