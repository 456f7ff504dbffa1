//! Asks a provider for a message back, outside the writer.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use dispatch_contract::{AdapterError, Busy, ErrorKind, Fault, Recall, SendContext};
use futures_util::FutureExt;

use super::{Command, Dispatcher, NO_ROUTE, RecallOrder, Route, RouteTable, failure, failure_of};
use crate::{
    engine::account_id,
    machine::{CallFailure, Fact, RECALL_WAIT_MS, RecallResult, WorkflowId},
    store::{Reader, Record, StoreError},
};

impl Dispatcher {
    pub(super) fn spawn_recall(&self, order: RecallOrder, routes: Arc<RouteTable>, busy: Busy) {
        let this = self.clone();
        self.runtime.spawn(async move {
            let asked = AssertUnwindSafe(this.recalled(&order, &routes)).catch_unwind().await;
            let result = match asked {
                Ok(Ok(Recall::Recalled)) => RecallResult::Recalled,
                Ok(Ok(Recall::TooLate(reached))) => RecallResult::TooLate(reached),
                Ok(Err(failure)) => RecallResult::Failed(failure),
                Err(_) => {
                    if let Some(route) = routes.get(&order.route) {
                        this.metrics.adapter_panicked(route.adapter.name(), "recall");
                    }
                    tracing::error!(route = &*order.route, attempt = %order.attempt, "the adapter panicked");
                    let detail = "the adapter failed in the middle of the call";
                    RecallResult::Failed(failure(ErrorKind::ProviderFailure, Fault::Provider, detail))
                }
            };
            // If the engine has stopped, the next life waits for no answer longer than this one would have.
            let _ = this.inbox.push(Command::RecallResult { attempt: order.attempt, result }, busy);
        });
    }

    /// What the provider says, or why it was not asked or did not answer.
    async fn recalled(
        &self,
        order: &RecallOrder,
        routes: &RouteTable,
    ) -> Result<Recall, CallFailure> {
        let gone = |detail| failure(ErrorKind::Forbidden, Fault::Account, detail);
        let route = routes.get(&order.route).ok_or_else(|| gone(NO_ROUTE))?;
        let account = account_id(route.adapter.provider(), &route.account.name);
        if *routes.former_names().present(&order.account) != account {
            return Err(gone("its route goes by another account now"));
        }
        let (reader, attempt) = (Arc::clone(&self.reader), order.attempt);
        let read = self
            .runtime
            .spawn_blocking(move || read(&*reader, WorkflowId(attempt.workflow), attempt.number));
        let read = read.await.map_err(|error| error.to_string());
        let read = read.and_then(|read| read.map_err(|error| error.to_string()));
        let found = read.map_err(|error| {
            tracing::error!(%attempt, error, "a record could not be read");
            unread("its record could not be read")
        })?;
        let step = |record: &Record| record.plan.steps.get(usize::from(order.step)).cloned();
        let Some((RecallTarget { record, provider_ids }, step)) =
            found.and_then(|found| step(&found.record).map(|step| (found, step)))
        else {
            return Err(unread("its provider named no id of it"));
        };
        let account = self.account(route, &record.tenant, &step.channel, &step.sender);
        let account = account.map_err(|_| unread("its sender's account could not be read"))?;
        let timeout = route.timeout.min(Duration::from_millis(RECALL_WAIT_MS));
        let context = SendContext {
            attempt: order.attempt,
            account: &account,
            callback_url: None,
            useful_for: None,
            now: self.clock.wall(),
            timeout,
        };
        // By then the machine has gone on.
        let most = timeout + Duration::from_secs(1);
        match tokio::time::timeout(most, recall_parts(route, &context, &provider_ids)).await {
            Ok(answer) => answer.map_err(|error| {
                let message = self.contents.open(&record).ok();
                let message = message.and_then(|it| it.into_message(&step, order.step));
                failure_of(error, message.as_ref())
            }),
            Err(_) => Err(failure(ErrorKind::Timeout, Fault::Provider, "no answer in time")),
        }
    }
}

/// All parts of a message are asked back, one after the other. One that cannot be taken back leaves the message
/// too late; a part that was taken back reached nothing.
async fn recall_parts(
    route: &Route,
    context: &SendContext<'_>,
    provider_ids: &[String],
) -> Result<Recall, AdapterError> {
    let (mut is_whole, mut reached) = (true, Vec::new());
    for provider_id in provider_ids {
        match route.adapter.recall(context, provider_id).await? {
            Recall::Recalled => reached.push(None),
            Recall::TooLate(status) => {
                is_whole = false;
                reached.push(status);
            }
        }
    }
    let last = reached.into_iter().min().flatten();
    Ok(if is_whole { Recall::Recalled } else { Recall::TooLate(last) })
}

fn unread(detail: &str) -> CallFailure {
    failure(ErrorKind::Unreachable, Fault::Account, detail)
}

/// A message that is asked back.
struct RecallTarget {
    /// What was asked for.
    record: Arc<Record>,
    /// The provider's ids of it, one a part.
    provider_ids: Vec<String>,
}

/// An attempt's message, if its provider named it.
fn read(
    reader: &dyn Reader,
    id: WorkflowId,
    number: u16,
) -> Result<Option<RecallTarget>, StoreError> {
    let Some(record) = reader.record(id)? else { return Ok(None) };
    let rows = reader.timeline(id)?;
    // The newest: where a receipt of a part came first, the answer that follows names them all.
    let mut facts = rows.iter().flat_map(|row| &row.facts).rev();
    let provider_ids = facts.find_map(|fact| match fact {
        Fact::AttemptAccepted { attempt, provider_ids, .. }
            if *attempt == number && !provider_ids.is_empty() =>
        {
            Some(provider_ids.clone())
        }
        _ => None,
    });
    Ok(provider_ids.map(|provider_ids| RecallTarget { record, provider_ids }))
}
