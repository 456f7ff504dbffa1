//! One batch after the other: what was handed in is sorted by whom it concerns, the facts are judged,
//! and what was handed in must have been heard.

use std::{collections::HashMap, sync::Arc};

use dispatch::{
    machine::{Fact, RecallResult, SendResult, WorkflowId},
    store::Row,
};
use dispatch_contract::{AttemptId, Report, Status};

use super::{
    AT_ONCE, BatchSeen, Broken, Case, DURABLE, Early, Fine, Given, HEARD, JOURNAL, Judge, MET,
    NAMED, OVER, PARTS, RECOVERED, REQUESTS, RecallSeen, StepSeen, TRUE, Told, TryState,
    facts::{Causes, Here, News},
    want,
};

/// How long a receipt whose message is not known is waited with, in milliseconds.
const PARK_MS: u64 = 10 * 60 * 1000;

impl Judge {
    /// A batch is durable. `exists` says whether a workflow is still kept.
    pub fn durable(
        &mut self,
        batch: &BatchSeen,
        given: Vec<Given>,
        rows: &[Arc<Row>],
        exists: impl Fn(WorkflowId) -> bool,
    ) -> Fine {
        self.latest = self.latest.max(batch.now);
        self.grace.durable(batch.now);
        for given in &given {
            if let Given::Routes(names) = given {
                self.rerouted(batch, names);
            }
        }
        let waited = self.waiting.clone();
        let mut causes: HashMap<WorkflowId, Causes> = HashMap::new();
        let mut records = HashMap::new();
        let (mut watermarks, mut messages) = (Vec::new(), Vec::new());
        for given in given {
            match given {
                // Routes go first, whatever else a batch was given.
                Given::Routes(_) => {}
                Given::Create(record) => {
                    records.insert(record.id, record);
                }
                Given::Cancel { tenant, id } => {
                    let is_theirs = self.cases.get(&id).is_some_and(|c| c.record.tenant == tenant);
                    causes.entry(id).or_default().is_canceled |= is_theirs;
                }
                Given::Erase { id } => {
                    let causes = causes.entry(id).or_default();
                    (causes.is_erased, causes.is_canceled) = (true, true);
                }
                Given::SendResult { attempt, call, answer, entered, .. } => {
                    messages.extend(entered.map(|entered| (attempt, entered)));
                    let causes = causes.entry(WorkflowId(attempt.workflow)).or_default();
                    causes.answers.insert(attempt.number, (call, answer));
                }
                Given::Recall { attempt, result } => {
                    if let RecallResult::TooLate(Some(status)) = result {
                        // Heard if the recall is still waited for; see `heard`.
                        let (part, report) = (None, Report::Reached(status));
                        hear(&mut causes, attempt, News { part, report, must: false, by: HEARD });
                    }
                    let causes = causes.entry(WorkflowId(attempt.workflow)).or_default();
                    causes.recalls.insert(attempt.number, result);
                }
                Given::Receipt(told) => self.receipt(told, batch, &mut causes),
                Given::Watermark(told) => watermarks.push(told),
            }
        }
        self.conversations.given(batch, watermarks, messages, &mut causes);
        for row in rows {
            self.row(batch, row, &mut causes, &mut records)?;
        }
        let past = self.past();
        for (id, causes) in &causes {
            if let Some(case) = self.cases.get_mut(id) {
                case.forgotten = case.forgotten || !exists(*id);
                let may_be = !case.forgotten || case.is_past(past);
                want(may_be, DURABLE, *id, || "it is gone".to_owned())?;
                if !case.forgotten {
                    heard(case, *id, causes)?;
                    if !case.is_erased {
                        self.named(*id, causes)?;
                    }
                }
            }
        }
        for row in rows {
            let Some(case) = self.cases.get(&row.workflow) else { continue };
            let met = case.should_have_ended().filter(|_| case.ended.is_none());
            want(met.is_none(), MET, row.workflow, || format!("step {:?} has reached it", met))?;
            want(!case.is_lost(), AT_ONCE, row.workflow, || format!("{:?}", case.tries))?;
            self.reckon(row.workflow, batch);
        }
        self.order(batch, &waited, rows)?;
        // What was held when the service died may be held for as long again: nobody could come meanwhile.
        self.early.retain(|early| early.at.max(batch.started_at) + 2 * PARK_MS > batch.now);
        Ok(())
    }

    pub(super) fn attempt_of(&self, told: &Told) -> Option<AttemptId> {
        match (&told.attempt, &told.provider_id) {
            (Some(attempt), _) => Some(*attempt),
            (None, Some(id)) => self.named_by(told.scope, id).map(|(attempt, _)| attempt),
            (None, None) => None,
        }
    }

    /// Whether the attempt goes by this account, as far as is known.
    fn is_of(&self, attempt: AttemptId, scope: (&str, &str)) -> bool {
        let case = self.cases.get(&WorkflowId(attempt.workflow));
        let tried = case.and_then(|case| case.at(attempt.number));
        tried.is_none_or(|tried| {
            let route = &self.routes[tried.route];
            (route.provider, route.account) == scope
        })
    }

    /// The workflow that a receipt is for, if that is known yet.
    pub fn whose(&self, told: &Told) -> Option<WorkflowId> {
        self.attempt_of(told).map(|attempt| WorkflowId(attempt.workflow))
    }

    /// Whatever an answer called a message, that is what it is known by.
    fn named(&self, id: WorkflowId, causes: &Causes) -> Fine {
        for (number, (call, answer)) in &causes.answers {
            let (SendResult::Accepted { provider_ids }, Some(tried)) =
                (answer, self.cases.get(&id).and_then(|case| case.at(*number)))
            else {
                continue;
            };
            let route = &self.routes[tried.route];
            let attempt = AttemptId { workflow: id.0, number: *number };
            let first = u16::from(provider_ids.len() > 1);
            for (part, provider_id) in (first..).zip(provider_ids) {
                let known = self.named_by((route.provider, route.account), provider_id);
                let is_known = known == Some((attempt, part));
                want(is_known || tried.calls != *call, NAMED, id, || {
                    format!("attempt {number} is {provider_id}, and nothing says so")
                })?;
            }
        }
        Ok(())
    }

    fn named_by(
        &self,
        scope: (&'static str, &'static str),
        provider_id: &str,
    ) -> Option<(AttemptId, u16)> {
        self.messages.get(&(scope, provider_id.to_owned())).copied()
    }

    fn receipt(&mut self, told: Told, batch: &BatchSeen, causes: &mut HashMap<WorkflowId, Causes>) {
        let report = told.report;
        let early = |told| Early { at: batch.now, names: Arc::clone(&self.names), told };
        let Some(attempt) = self.attempt_of(&told) else { return self.early.push(early(told)) };
        if !self.is_of(attempt, told.scope) {
            // Whatever another account says of it changes nothing.
            return;
        }
        let named = told.provider_id.as_ref().and_then(|id| self.named_by(told.scope, id));
        if named.is_none() && self.awaits_its_parts(attempt, &told) {
            // Nobody knows yet which part it is; only that the message is there.
            let (part, report) = (None, Report::Reached(Status::Submitted));
            self.early.push(early(told));
            return hear(causes, attempt, News { part, report, must: false, by: HEARD });
        }
        let part =
            named.filter(|(of, _)| *of == attempt).and_then(|(_, part)| part_of(part, report));
        hear(causes, attempt, News { part, report, must: true, by: HEARD });
    }

    /// Whether only the answer will tell which part of its message this is about. A message has failed when a part
    /// has, and whoever answers, answers all of it.
    fn awaits_its_parts(&self, attempt: AttemptId, told: &Told) -> bool {
        let case = self.cases.get(&WorkflowId(attempt.workflow));
        let tried = case.and_then(|case| case.at(attempt.number));
        tried.is_some_and(|tried| self.routes[tried.route].in_parts)
            && told.provider_id.is_some()
            && matches!(told.report, Report::Reached(status) if status < Status::Replied)
    }

    fn row(
        &mut self,
        batch: &BatchSeen,
        row: &Arc<Row>,
        causes: &mut HashMap<WorkflowId, Causes>,
        records: &mut HashMap<WorkflowId, Arc<dispatch::store::Record>>,
    ) -> Fine {
        let id = row.workflow;
        let last = self.journal.last();
        let grows =
            last.is_none_or(|last| last.cursor < row.cursor && last.at.engine <= row.at.engine);
        let is_now = (row.at.engine.0, row.at.wall.0) == (batch.now, batch.wall);
        want(grows && is_now, JOURNAL, id, || format!("{row:?} after {last:?}"))?;
        self.journal.push(Arc::clone(row));

        if row.facts.first() == Some(&Fact::Created) {
            let Some(record) = records.remove(&id) else {
                return want(false, TRUE, id, || "nobody asked for it".to_owned());
            };
            if let Some(request_id) = record.request_id() {
                let key = (Arc::clone(&record.tenant), request_id.to_owned());
                let before = self.requests.insert(key, id).and_then(|id| self.cases.get(&id));
                let past = self.past();
                want(before.is_none_or(|before| before.is_past(past)), REQUESTS, id, || {
                    "its request id belongs to another workflow already".to_owned()
                })?;
            }
            let steps = vec![StepSeen::default(); record.plan.steps.len()];
            let case = Case {
                record,
                told: Vec::new(),
                steps,
                tries: Vec::new(),
                running: None,
                ended: None,
                forgotten: false,
                is_erased: false,
                is_destroyed: false,
                timer: None,
                appointment: None,
                waits_on: None,
            };
            let known = self.cases.insert(id, case);
            want(known.is_none(), OVER, id, || "it is created again".to_owned())?;
        }
        let Some(case) = self.cases.get_mut(&id) else {
            return want(false, TRUE, id, || "it was never created".to_owned());
        };
        let is_next = row.sequence as usize == case.told.len() + 1;
        want(is_next, JOURNAL, id, || {
            format!("sequence {} after {}", row.sequence, case.told.len())
        })?;

        for fact in &row.facts {
            // Whose a provider's id is becomes known, and with it what was told of it before.
            let (Fact::AttemptAccepted { attempt, provider_ids, .. }
            | Fact::LateSendResult { attempt, provider_ids: Some(provider_ids), .. }) = fact
            else {
                continue;
            };
            let route = match case.at(*attempt) {
                Some(tried) => tried.route,
                None => continue,
            };
            let scope = (self.routes[route].provider, self.routes[route].account);
            let name = AttemptId { workflow: id.0, number: *attempt };
            let first = u16::from(provider_ids.len() > 1);
            for (part, provider_id) in (first..).zip(provider_ids) {
                self.messages.insert((scope, provider_id.clone()), (name, part));
                let is_it = |early: &Early| {
                    early.told.scope == scope
                        && early.told.provider_id.as_ref() == Some(provider_id)
                };
                for early in self.early.extract_if(.., |early| is_it(early)) {
                    let must = early.at + PARK_MS >= batch.now && early.names.of(route).is_some();
                    let report = early.told.report;
                    let part = part_of(part, report);
                    hear(causes, name, News { part, report, must, by: HEARD });
                }
            }
        }
        let none = Causes::default();
        let causes = causes.get(&id).unwrap_or(&none);
        let names = &*self.names;
        let mut here = Here { case, routes: &self.routes, names, batch, causes, id };
        for fact in &row.facts {
            here.fact(fact)?;
        }
        Ok(())
    }

    /// Recovery is over.
    pub fn recovered(&self, life: u32) -> Fine {
        for (id, case) in &self.cases {
            let waits = |state| matches!(state, TryState::Out { life: of } if of < life);
            let lost = case.tries.iter().position(|tried| waits(tried.state));
            want(lost.is_none(), RECOVERED, *id, || {
                format!("attempt {:?}", lost.map(|at| at + 1))
            })?;
        }
        Ok(())
    }
}

pub(super) fn hear(causes: &mut HashMap<WorkflowId, Causes>, attempt: AttemptId, news: News) {
    let causes = causes.entry(WorkflowId(attempt.workflow)).or_default();
    causes.news.entry(attempt.number).or_default().push(news);
}

/// Which part of a message a report is about, of what is known by an id of its `part`th.
fn part_of(part: u16, report: Report) -> Option<u16> {
    (part > 0 && report != Report::Reached(Status::Replied)).then_some(part)
}

/// Whatever was handed in and says something new has left a trace.
fn heard(case: &Case, id: WorkflowId, causes: &Causes) -> Result<(), Broken> {
    want(!causes.is_canceled || case.ended.is_some(), HEARD, id, || "a cancel".to_owned())?;
    want(!causes.is_erased || case.is_erased, HEARD, id, || "an erasure".to_owned())?;
    for (number, (call, answer)) in &causes.answers {
        let still = case.at(*number).is_some_and(|tried| {
            tried.calls == *call && matches!(tried.state, TryState::Out { .. })
        });
        want(!still, HEARD, id, || format!("the answer to attempt {number}: {answer:?}"))?;
        if let (SendResult::Accepted { .. }, Some(tried)) = (answer, case.at(*number)) {
            want(tried.calls != *call || tried.state == TryState::Taken, HEARD, id, || {
                format!("attempt {number} was accepted")
            })?;
        }
    }
    for (number, result) in &causes.recalls {
        let Some(of) = case.at(*number) else { continue };
        let still = case.ended.is_none() && matches!(of.recall, RecallSeen::Marked { .. });
        want(!still && of.status >= of.recall_told, HEARD, id, || {
            format!("the recall of attempt {number}: {result:?}")
        })?;
    }
    if case.is_erased {
        return Ok(());
    }
    for (number, reports) in &causes.news {
        let Some(tried) = case.at(*number).filter(|tried| tried.calls > 0) else { continue };
        for News { part, report, must, by } in reports {
            let of_part = part.and_then(|part| tried.parts.get(usize::from(part) - 1));
            let reached = of_part.copied().unwrap_or(tried.status);
            let is_there = match report {
                Report::Reached(status) => reached >= *status,
                Report::Failed(_) => {
                    tried.has_failed || reached.max(tried.status) >= Status::Delivered
                }
            };
            want(is_there || !must, *by, id, || {
                format!("attempt {number} is {report:?}, {part:?}")
            })?;
        }
        let last = tried.parts.iter().min();
        want(last.is_none_or(|last| *last == tried.status), PARTS, id, || {
            format!("attempt {number} is {}: {:?}", tried.status, tried.parts)
        })?;
    }
    Ok(())
}
