//! What an adapter hears by itself: taken in its order, acknowledged once it is durable.

use std::{collections::BTreeSet, time::Duration};

use dispatch_contract::{InboundSink, ProviderAccounts};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    call::CallProblem,
    checked::shown,
    pb::{self, listen_request},
    read,
    remote::Remote,
    write,
};

/// How long it is waited after a stream that ended, each time longer.
const REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Acknowledgements on their way.
const UNREAD: usize = 16;
/// How long an adapter may leave them unread.
const UNREAD_FOR: Duration = Duration::from_secs(30);

/// Listens for as long as it is asked to: to one stream after the other. For ever, where nothing is told.
pub(crate) async fn listen(
    remote: &Remote,
    accounts: &dyn ProviderAccounts,
    sink: &dyn InboundSink,
) {
    if !remote.description().is_some_and(|described| described.told.listens) {
        return std::future::pending().await;
    }
    let mut rest = REST;
    loop {
        let (heard, why) = match one_stream(remote, accounts, sink).await {
            Ended::Stopping => return,
            // The next one names them as they are now.
            Ended::AccountsChanged => continue,
            Ended::Broken { heard, why } => (heard, why),
        };
        if let Some(held_back) = remote.lines.admits("stream ended") {
            let adapter = &remote.name;
            tracing::warn!(
                adapter,
                why,
                held_back,
                "the adapter's stream ended; it is opened again"
            );
        }
        rest = if heard { REST } else { (rest * 2).min(LONGEST_REST) };
        remote.lost.notify_one();
        tokio::time::sleep(rest).await;
    }
}

/// How a stream ended.
enum Ended {
    /// The service takes nothing more.
    Stopping,
    /// The accounts are others.
    AccountsChanged,
    /// The adapter ended it, or is gone.
    Broken { heard: bool, why: String },
}

async fn one_stream(
    remote: &Remote,
    accounts: &dyn ProviderAccounts,
    sink: &dyn InboundSink,
) -> Ended {
    let (requests, sent) = mpsc::channel(UNREAD);
    let broken = |heard, why: String| Ended::Broken { heard, why };
    let known = match name_accounts(&requests, accounts).await {
        Some(known) => known,
        None => return Ended::Stopping,
    };
    let opened = async { Ok(remote.client()?.listen(ReceiverStream::new(sent)).await) };
    // Many a server answers nothing until it has something to tell.
    let opened = tokio::select! {
        opened = opened => opened,
        () = accounts.changed() => return Ended::AccountsChanged,
    };
    let mut told: Streaming<pb::ListenResponse> = match opened {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return broken(false, CallProblem::of(&status).why),
        Err(CallProblem { why, .. }) => return broken(false, why),
    };
    let mut heard = false;
    loop {
        let message = tokio::select! {
            message = told.message() => message,
            () = accounts.changed() => return Ended::AccountsChanged,
        };
        let batch = match message {
            Ok(Some(batch)) => batch,
            Ok(None) => return broken(heard, "it ended the stream".to_owned()),
            Err(status) => return broken(heard, CallProblem::of(&status).why),
        };
        let batch_id = batch.batch_id;
        heard = true;
        if take(remote, &known, sink, batch).await.is_err() {
            return Ended::Stopping;
        }
        let acknowledgement = pb::Acknowledgement { batch_id };
        let acknowledged = listen_request::Request::Acknowledgement(acknowledgement);
        let sent = requests.send(pb::ListenRequest { request: Some(acknowledged) });
        match tokio::time::timeout(UNREAD_FOR, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return broken(heard, "it reads nothing more".to_owned()),
            Err(_) => return broken(heard, "it reads no acknowledgements".to_owned()),
        }
    }
}

/// Names the accounts to the adapter; which they are. `None` if nobody reads that.
async fn name_accounts(
    requests: &mpsc::Sender<pb::ListenRequest>,
    accounts: &dyn ProviderAccounts,
) -> Option<BTreeSet<String>> {
    let now = accounts.now();
    let named = pb::Accounts { accounts: now.iter().map(|it| write::account(it)).collect() };
    let request = Some(listen_request::Request::Accounts(named));
    requests.send(pb::ListenRequest { request }).await.ok()?;
    Some(now.iter().map(|account| account.name.clone()).collect())
}

/// Takes what was told, but for what nobody could: that is named, and would not be understood again either.
async fn take(
    remote: &Remote,
    known: &BTreeSet<String>,
    sink: &dyn InboundSink,
    batch: pb::ListenResponse,
) -> Result<(), dispatch_contract::SinkClosed> {
    let items = batch.inbound.len();
    if !known.contains(&batch.account) {
        let account = shown(&batch.account);
        remote.refuse(&format!("account {account} is none of its configured ones"), items);
        return Ok(());
    }
    if items > read::MOST_ITEMS {
        remote.refuse(&format!("more than {} items at once", read::MOST_ITEMS), items);
        return Ok(());
    }
    let (inbound, refused) = read::items(batch.inbound);
    if let Some(first) = refused.first() {
        remote.refuse(first, refused.len());
    }
    if inbound.is_empty() { Ok(()) } else { sink.deliver(&batch.account, inbound).await }
}
