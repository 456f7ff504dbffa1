//! Which accounts may tell of a message before it is known what it is called there: a call is out, or
//! its outcome is unknown. What another system sent under the same account is told by it too.

use std::{collections::HashMap, sync::Arc};

use crate::{
    engine::FormerNames,
    machine::{AttemptState, Workflow, WorkflowId},
};

#[derive(Debug, Default)]
pub(super) struct ExpectedReceipts {
    /// How many calls of this life are out, by account.
    in_flight: HashMap<Arc<str>, usize>,
    /// The open workflows with an attempt whose outcome is unknown or was, and its accounts.
    uncertain: HashMap<WorkflowId, Vec<Arc<str>>>,
    /// How often an account stands there.
    uncertain_by_account: HashMap<Arc<str>, usize>,
}

impl ExpectedReceipts {
    /// How many workflows stand here.
    pub(super) fn len(&self) -> usize {
        self.uncertain.len()
    }

    /// Accounts have other names from now on.
    pub(super) fn rename(&mut self, names: &FormerNames) {
        for counts in [&mut self.in_flight, &mut self.uncertain_by_account] {
            for (account, count) in std::mem::take(counts) {
                *counts.entry(Arc::clone(names.present(&account))).or_default() += count;
            }
        }
        for account in self.uncertain.values_mut().flatten() {
            *account = Arc::clone(names.present(account));
        }
    }

    /// A call under this account leaves.
    pub(super) fn started(&mut self, account: &Arc<str>) {
        add(&mut self.in_flight, account);
    }

    /// One came back.
    pub(super) fn answered(&mut self, account: &str) {
        subtract(&mut self.in_flight, account);
    }

    /// Notes where a workflow is. `present` tells what an account is called now.
    pub(super) fn track<'a>(
        &mut self,
        state: &'a Workflow,
        present: impl Fn(&'a Arc<str>) -> &'a Arc<str>,
    ) {
        for account in self.uncertain.remove(&state.id).unwrap_or_default() {
            subtract(&mut self.uncertain_by_account, &account);
        }
        if state.has_ended() {
            return;
        }
        let in_doubt = state.attempts.iter().filter(|attempt| match attempt.state {
            AttemptState::Unknown { .. } => true,
            AttemptState::Planned | AttemptState::Started | AttemptState::RetryScheduled { .. } => {
                attempt.is_uncertain
            }
            AttemptState::Accepted | AttemptState::Recalling { .. } | AttemptState::Rejected => {
                false
            }
        });
        let accounts: Vec<_> =
            in_doubt.filter_map(|it| it.account.as_ref()).map(present).cloned().collect();
        if !accounts.is_empty() {
            accounts.iter().for_each(|account| add(&mut self.uncertain_by_account, account));
            self.uncertain.insert(state.id, accounts);
        }
    }

    /// Whether this account may tell of one of ours.
    pub(super) fn may_receive(&self, account: &str) -> bool {
        self.in_flight.contains_key(account) || self.uncertain_by_account.contains_key(account)
    }
}

fn add(counts: &mut HashMap<Arc<str>, usize>, account: &Arc<str>) {
    match counts.get_mut(account) {
        Some(count) => *count += 1,
        None => {
            counts.insert(Arc::clone(account), 1);
        }
    }
}

fn subtract(counts: &mut HashMap<Arc<str>, usize>, account: &str) {
    if let Some(count) = counts.get_mut(account) {
        *count -= 1;
        if *count == 0 {
            counts.remove(account);
        }
    }
}
