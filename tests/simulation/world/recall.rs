//! Messages that are asked back: whether a provider still has them, and when it says so.

use dispatch::machine::{CallFailure, RECALL_WAIT_MS};
use dispatch_contract::{ErrorKind, Fault, Status};

use super::*;

/// The longest that the engine waits for an adapter behind the wait itself.
const GIVES_UP_MS: u64 = RECALL_WAIT_MS + 1000;

impl World<'_> {
    /// A recall leaves.
    pub(super) fn recall(&mut self, order: RecallOrder, at: u64) -> Fine {
        self.judge.asked_back(&order)?;
        let id = WorkflowId(order.attempt.workflow);
        let names = self.judge.names();
        // By a name that is another route's now nobody is asked: the executor looks at the account.
        let is_its = |route: &usize| {
            let spec = &self.scenario.routes[*route];
            *order.account == *format!("{}/{}", spec.provider, spec.account)
        };
        let route = names.route(&order.route).filter(is_its);
        let mut dice = self.dice(19, id, u64::from(order.attempt.number));
        self.figures.recalls += 1;
        self.note(Some(id), || format!("attempt {} is asked back", order.attempt.number));
        // Soon mostly; around the end of the wait, and beyond it.
        let think_ms = if dice.percent(60) {
            dice.span(1, 1000)
        } else {
            dice.between(RECALL_WAIT_MS - 500, GIVES_UP_MS + 500)
        };
        let net_ms = dice.span(1, 300);
        let failed = || RecallResult::Failed(failure());
        let result = match (route, dice.below(5)) {
            (None, _) | (Some(_), 0) => failed(),
            (Some(_), 1) => RecallResult::TooLate(None),
            (Some(route), 2) => {
                let tells = self.scenario.routes[route].tells.clone();
                RecallResult::TooLate(Some(dice.one(&tells)).filter(|it| *it > Status::Submitted))
            }
            (Some(_), _) => RecallResult::Recalled,
        };
        // Nobody answers, and the executor says so itself.
        let is_silent = net_ms + think_ms >= GIVES_UP_MS;
        let (think_ms, result) =
            if is_silent { (GIVES_UP_MS - net_ms, failed()) } else { (think_ms, result) };
        let (recall, life) = (self.recalls.len(), self.life);
        let route = route.unwrap_or_default();
        self.recalls.push(Asked { order, route, life, think_ms, result });
        self.arrange(at + net_ms, Happening::ReachRecall { recall });
        Ok(())
    }

    /// The provider takes the message back: mostly it tells nothing of it any more.
    pub(super) fn reach_recall(&mut self, recall: usize) {
        let Asked { order, route, think_ms, result, .. } = &self.recalls[recall];
        let (attempt, route, back) = (order.attempt, *route, self.now + think_ms);
        let id = WorkflowId(attempt.workflow);
        let mut dice = self.dice(20, id, u64::from(attempt.number));
        if *result == RecallResult::Recalled && dice.percent(80) {
            let is_its = |told: &crate::judge::Told| self.judge.is_about(told, attempt);
            let gone = self.agenda.iter().filter_map(|(at, happening)| match happening {
                Happening::Tell { report: Given::Receipt(told), route: by }
                    if *by == route && is_its(told) =>
                {
                    Some(*at)
                }
                _ => None,
            });
            let gone: Vec<_> = gone.collect();
            gone.iter().for_each(|at| drop(self.agenda.remove(at)));
        }
        self.arrange(back, Happening::BackRecall { recall });
    }

    /// The answer to a recall comes back, if the service that asked still lives.
    pub(super) fn back_recall(&mut self, recall: usize) {
        let Asked { order, life, result, .. } = &self.recalls[recall];
        let (attempt, life, result) = (order.attempt, *life, result.clone());
        if life != self.life {
            return;
        }
        let given = Given::Recall { attempt, result: result.clone() };
        let note = format!("the recall of attempt {} is back: {result:?}", attempt.number);
        self.hand_in(Command::RecallResult { attempt, result }, vec![given]);
        self.note(Some(WorkflowId(attempt.workflow)), || note);
    }
}

fn failure() -> CallFailure {
    CallFailure {
        kind: ErrorKind::ProviderFailure,
        fault: Fault::Provider,
        code: None,
        detail: "it said nothing useful".to_owned(),
        cause: None,
    }
}
