//! Keeps an eye on an adapter, for as long as the service runs: whether it is there, and what it hears.
//!
//! By the machine's own time: the other side lives in that, whatever the service's clock does.

use std::{sync::Arc, time::Duration};

use dispatch_contract::{InboundSink, ProviderAccounts, Shutdown};

use crate::{
    listen::listen,
    remote::{Down, PING, Remote},
};

/// How often one that is up is asked whether it still is.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long one that is down is left alone, each time longer.
const REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(5);

pub(crate) async fn follow(
    remote: &Arc<Remote>,
    accounts: &dyn ProviderAccounts,
    sink: &dyn InboundSink,
    mut shutdown: Shutdown,
) {
    let mut rest = REST;
    loop {
        let redialled = remote.redialled();
        tokio::select! {
            () = &mut shutdown => return,
            () = redialled => rest = REST,
            was_up = attend(remote, accounts, sink) => {
                rest = if was_up { REST } else { (rest * 2).min(LONGEST_REST) };
            }
        }
        tokio::select! {
            () = &mut shutdown => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// Looks after it until it is down. Whether it was up before.
async fn attend(
    remote: &Arc<Remote>,
    accounts: &dyn ProviderAccounts,
    sink: &dyn InboundSink,
) -> bool {
    if let Err(down) = ask(remote).await {
        remote.note(Some(down));
        return false;
    }
    remote.note(None);
    told_accounts(remote, accounts);
    let down = tokio::select! {
        down = watch(remote) => down,
        // It ends only when the service does.
        () = listen(remote, accounts, sink) => return true,
    };
    remote.note(Some(down));
    true
}

/// Asks now and then, and when a call found nobody, until it is down.
async fn watch(remote: &Remote) -> Down {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PING_EVERY) => {}
            () = remote.lost.notified() => {}
        }
        if let Err(down) = ask(remote).await {
            return down;
        }
    }
}

async fn ask(remote: &Remote) -> Result<(), Down> {
    let (told, serves) = remote.ping(PING).await;
    if let Some(told) = told {
        remote.described(&told);
    }
    serves
}

/// Accounts that were configured before the form was known may not fit it.
fn told_accounts(remote: &Remote, accounts: &dyn ProviderAccounts) {
    let Some(described) = remote.description() else { return };
    for account in accounts.now() {
        for problem in described.settings.problems(&account) {
            tracing::error!(
                adapter = remote.name,
                account = account.name,
                problem,
                "the account does not fit the adapter"
            );
        }
    }
}
