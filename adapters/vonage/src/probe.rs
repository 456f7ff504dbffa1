//! Whether Vonage takes an account's credential.
//!
//! The Messages API has no call that only asks. Two others of Vonage's take the same credentials, are read by
//! GET and say 401 to what they do not take: the Application API (key and secret alone), and the External
//! Accounts API (tokens too; a preview, so what it says beside 200 and 401 says nothing of the token).

use std::time::Duration;

use dispatch_contract::{Account, Probe, UnixMillis};
use dispatch_kit::probe;

use super::{ProviderCredential, VonageAccount, VonageGateway};

const APPLICATIONS: &str = "/v2/applications?page_size=1";
const EXTERNAL_ACCOUNTS: &str = "/beta/chatapp-accounts?page_size=1";

impl VonageGateway {
    /// Asks with the credential that calls carry. Both lists have one entry at most.
    pub(super) async fn probe(
        &self,
        account: &Account,
        now: UnixMillis,
        timeout: Duration,
    ) -> Probe {
        let view = match VonageAccount::read(account) {
            Ok(view) => view,
            Err(problem) => return Probe::CannotBeAsked(problem),
        };
        let authorization = match self.tokens.authorization(account, &view, now) {
            Ok(authorization) => authorization,
            Err(error) => return Probe::CannotBeAsked(error.detail),
        };
        let (path, refusals): (_, &[u16]) = match view.credential {
            ProviderCredential::Key { .. } => (APPLICATIONS, &[401, 403]),
            // 403: the application may not look there; what its messages may do is another matter.
            ProviderCredential::Application { .. } => (EXTERNAL_ACCOUNTS, &[401]),
        };
        let url = format!("{}{path}", view.base_url);
        probe::ask(&self.client, &url, &authorization, refusals, now, timeout).await
    }
}

#[cfg(test)]
mod tests {
    use dispatch_contract::Secret;
    use dispatch_kit::conformance::{
        StubAnswer,
        stub::{Behaviour, Stub},
    };

    use super::*;

    const KEY: &str = include_str!("../../sandbox/tests/sandbox/http/private_key.pem");

    fn account(base_url: &str, is_application: bool) -> Account {
        let (settings, secrets) = match is_application {
            true => (("application_id", "an-application"), ("private_key", KEY)),
            false => (("api_key", "aaa012"), ("api_secret", "abc123456789")),
        };
        let settings = [settings, ("base_url", base_url)];
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            secrets: [(secrets.0.to_owned(), Secret::new(secrets.1))].into(),
        }
    }

    async fn probe(base_url: &str, is_application: bool) -> Probe {
        let (now, timeout) = (UnixMillis(1_700_000_000_000), Duration::from_secs(2));
        VonageGateway::default().probe(&account(base_url, is_application), now, timeout).await
    }

    #[tokio::test]
    async fn a_credential_works_is_refused_or_is_not_known_of_and_nothing_is_sent() {
        let http = |status: u16| format!("the provider answered HTTP {status}");
        for (is_application, line, credential) in [
            (false, "GET /v2/applications?page_size=1 HTTP/1.1", "authorization: basic ywfhmdey"),
            (true, "GET /beta/chatapp-accounts?page_size=1 HTTP/1.1", "authorization: bearer ey"),
        ] {
            for (status, wanted) in [
                (200, Probe::Works),
                (401, Probe::Refused(http(401))),
                (404, Probe::CannotBeAsked(http(404))),
                (500, Probe::CannotBeAsked(http(500))),
            ] {
                let stub = Stub::start(Behaviour::Answer(StubAnswer::new(status, "{}")));
                let stub = stub.expect("a socket");
                assert_eq!(probe(&stub.url(), is_application).await, wanted);
                let request = stub.request().expect("a request");
                assert_eq!(request.lines().next(), Some(line));
                assert!(request.to_ascii_lowercase().contains(credential), "{request}");
            }
        }
        let stub = Stub::start(Behaviour::Answer(StubAnswer::new(403, "{}"))).expect("a socket");
        assert_eq!(probe(&stub.url(), true).await, Probe::CannotBeAsked(http(403)));
    }

    #[tokio::test]
    async fn who_is_not_reached_or_says_nothing_refused_nothing() {
        for behaviour in [Behaviour::Absent, Behaviour::Hang] {
            let stub = Stub::start(behaviour).expect("a socket");
            let found = probe(&stub.url(), false).await;
            assert!(matches!(found, Probe::CannotBeAsked(_)), "{found}");
            assert!(!found.to_string().contains("abc123456789"), "{found}");
        }
    }
}
