//! Whether Twilio takes an account's credential.
//!
//! Asked by reading one message at most, which every kind of key may but a restricted one: what that is not
//! allowed says nothing of whether it may send.

use std::time::Duration;

use dispatch_contract::{Account, Probe, UnixMillis};
use dispatch_kit::probe;

use super::{TwilioAccount, TwilioGateway, gateway::authorization};

impl TwilioGateway {
    /// Asks with the credential that calls carry.
    pub(crate) async fn probe(
        &self,
        account: &Account,
        now: UnixMillis,
        timeout: Duration,
    ) -> Probe {
        let view = match TwilioAccount::read(account) {
            Ok(view) => view,
            Err(problem) => return Probe::CannotBeAsked(problem),
        };
        let url = format!("{}.json?PageSize=1", view.messages_url());
        probe::ask(&self.client, &url, &authorization(&view), &[401], now, timeout).await
    }
}
