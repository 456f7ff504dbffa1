//! Asks a provider for a message back, outside the writer.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use dispatch_contract::{AdapterError, Busy, Recall, SendContext};
use futures_util::FutureExt;

use super::{Command, Dispatcher, RecallOrder, RouteTable};
use crate::{
    engine::account_id,
    machine::{Fact, RECALL_WAIT_MS, RecallResult, WorkflowId},
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
                Ok(Err(why)) => {
                    tracing::warn!(route = &*order.route, attempt = %order.attempt, why, "a message could not be recalled");
                    RecallResult::Failed
                }
                Err(_) => {
                    if let Some(route) = routes.get(&order.route) {
                        this.metrics.adapter_panicked(route.adapter.name(), "recall");
                    }
                    tracing::error!(route = &*order.route, attempt = %order.attempt, "the adapter panicked");
                    RecallResult::Failed
                }
            };
            // If the engine has stopped, the next life waits for no answer longer than this one would have.
            let _ = this.inbox.push(Command::RecallResult { attempt: order.attempt, result }, busy);
        });
    }

    /// What the provider says, or why it was not asked or did not answer.
    async fn recalled(&self, order: &RecallOrder, routes: &RouteTable) -> Result<Recall, String> {
        let route = routes.get(&order.route).ok_or("its route is no longer configured")?;
        let account = account_id(route.adapter.provider(), &route.account.name);
        if *routes.former_names().present(&order.account) != account {
            return Err("its route goes by another account now".to_owned());
        }
        let (reader, attempt) = (Arc::clone(&self.reader), order.attempt);
        let read = self
            .runtime
            .spawn_blocking(move || read(&*reader, WorkflowId(attempt.workflow), attempt.number));
        let (record, provider_id) = read
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?
            .ok_or("its provider named no id of it")?;
        let step = record.plan.steps.get(usize::from(order.step)).ok_or("it has no such step")?;
        let account = self
            .account(route, &record.tenant, step)
            .map_err(|_| "its sender's account could not be read")?;
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
        match tokio::time::timeout(most, route.adapter.recall(&context, &provider_id)).await {
            Ok(Ok(recall)) => Ok(recall),
            Ok(Err(AdapterError { detail, .. })) => Err(detail),
            Err(_) => Err(format!("no answer within {} s", timeout.as_secs_f64())),
        }
    }
}

/// What was asked for, and the provider's id of the attempt's message.
fn read(
    reader: &dyn Reader,
    id: WorkflowId,
    number: u16,
) -> Result<Option<(Arc<Record>, String)>, StoreError> {
    let Some(record) = reader.record(id)? else { return Ok(None) };
    let rows = reader.timeline(id)?;
    let provider_id = rows.iter().flat_map(|row| &row.facts).find_map(|fact| match fact {
        Fact::AttemptAccepted { attempt, provider_id, .. }
            if *attempt == number && !provider_id.is_empty() =>
        {
            Some(provider_id.clone())
        }
        _ => None,
    });
    Ok(provider_id.map(|provider_id| (record, provider_id)))
}
