//! The judge: what Dispatch promises, told naively, against what really happened.
//!
//! It keeps plain lists: what callers and providers handed in, what was acknowledged, which calls
//! were made, what providers really did, and the facts that were durable. It never asks the machine
//! what follows; each of its rules is one sentence of the contract.

mod batches;
mod callbacks;
mod case;
mod ends;
mod erasures;
mod facts;
mod grace;
mod inbound;
mod opt_outs;
mod order;
mod reroute;
mod rules;
mod streams;
mod timers;
mod watermarks;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use dispatch::{
    contents::ContentsKeeper,
    engine::{Canceled, Created, EngineError, RecallOrder, SendOrder},
    machine::{EndState, Moment, RecallResult, SendResult, WorkflowId},
    store::{Reader, Record, RequirementInterner, Row, StoreError},
};
use dispatch_contract::{AttemptId, Report, UnixMillis};

pub use case::Case;
use case::{RecallSeen, StepSeen, Try, TryState};
use grace::Graces;
pub use rules::*;
pub use streams::Following;
pub use watermarks::{Conversation, Entered, Watermark};

use crate::{readers, routes::Names, scenario::RouteSpec};

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Broken {
    pub rule: Promise,
    pub detail: String,
    pub workflow: Option<WorkflowId>,
}

pub type Fine = Result<(), Broken>;

/// What a batch was given.
#[derive(Clone, Debug)]
pub enum Given {
    Create(Arc<Record>),
    Cancel {
        tenant: Arc<str>,
        id: WorkflowId,
    },
    /// What is personal of it is to be erased.
    Erase {
        id: WorkflowId,
    },
    Receipt(Told),
    /// A provider told of a conversation.
    Watermark(Watermark),
    SendResult {
        attempt: AttemptId,
        call: u16,
        route: Arc<str>,
        answer: SendResult,
        /// Where its message stands, where the provider tells of conversations.
        entered: Option<Entered>,
    },
    Recall {
        attempt: AttemptId,
        result: RecallResult,
    },
    /// Other routes are in force from this batch on.
    Routes(Arc<Names>),
}

/// Provider and account: ids are unique within.
pub type Scope = (&'static str, &'static str);

/// What a provider told.
#[derive(Clone, Debug)]
pub struct Told {
    /// By whom.
    pub scope: Scope,
    pub attempt: Option<AttemptId>,
    pub provider_id: Option<String>,
    pub report: Report,
}

/// One batch, from outside.
#[derive(Clone, Copy, Debug)]
pub struct BatchSeen {
    /// Engine time, and what the wall clock shows.
    pub now: u64,
    pub wall: u64,
    /// Which life of the service it belongs to, when that began, and until when it is lenient.
    pub life: u32,
    pub started_at: u64,
    pub grace_until: u64,
    /// When the batch before it was, unless that was still recovering.
    pub previous: Option<Moment>,
}

impl BatchSeen {
    pub fn moment(&self) -> Moment {
        Moment { engine: UnixMillis(self.now), wall: UnixMillis(self.wall) }
    }
}

/// A receipt whose message is not known yet.
struct Early {
    at: u64,
    /// What routes there were then: for a route that is not there nothing is expected.
    names: Arc<Names>,
    told: Told,
}

pub struct Judge {
    /// Opens what callers ask for: the world's, whose keys outlive each service.
    pub contents: Arc<ContentsKeeper>,
    routes: Vec<RouteSpec>,
    /// What they are called at present.
    names: Arc<Names>,
    retention_ms: u64,
    pub cases: HashMap<WorkflowId, Case>,
    requests: HashMap<(Arc<str>, String), WorkflowId>,
    /// Whose message a provider's id is, and which part of it, counted from 1; 0: the whole.
    messages: HashMap<(Scope, String), (AttemptId, u16)>,
    early: Vec<Early>,
    pub journal: Vec<Arc<Row>>,
    acked_cancels: HashSet<WorkflowId>,
    ordered: HashSet<(AttemptId, u16)>,
    /// The latest engine time of any batch.
    latest: u64,
    /// When something is due next, by our own reckoning.
    timers: BTreeSet<(u64, WorkflowId)>,
    /// The same by the wall clock.
    appointments: BTreeSet<(u64, WorkflowId)>,
    grace: Graces,
    /// Whose wait for a receipt was over before the service started.
    held: HashSet<WorkflowId>,
    /// Who wants no messages, as far as was said.
    words: opt_outs::Words,
    conversations: watermarks::Conversations,
    /// What persons wrote.
    letters: inbound::Letters,
    /// How much of the journal whoever makes callbacks has seen.
    followed_to: usize,
    /// Who waits for a place on which route.
    waiting: BTreeSet<(usize, WorkflowId)>,
    /// Who went before them meanwhile.
    passed: BTreeMap<(usize, WorkflowId), order::Passed>,
}

/// Fails with `rule` unless it `holds`.
pub fn want(holds: bool, rule: Promise, id: WorkflowId, detail: impl FnOnce() -> String) -> Fine {
    if holds { Ok(()) } else { Err(Broken { rule, detail: detail(), workflow: Some(id) }) }
}

impl Judge {
    pub fn new(routes: Vec<RouteSpec>, retention_ms: u64) -> Judge {
        Judge {
            contents: Arc::new(ContentsKeeper::in_memory([9; 32])),
            names: Arc::new(Names::all(&routes)),
            routes,
            retention_ms,
            cases: HashMap::new(),
            requests: HashMap::new(),
            messages: HashMap::new(),
            early: Vec::new(),
            journal: Vec::new(),
            acked_cancels: HashSet::new(),
            ordered: HashSet::new(),
            latest: 0,
            timers: BTreeSet::new(),
            appointments: BTreeSet::new(),
            grace: Graces::default(),
            held: HashSet::new(),
            words: opt_outs::Words::new(),
            conversations: watermarks::Conversations::default(),
            letters: inbound::Letters::default(),
            followed_to: 0,
            waiting: BTreeSet::new(),
            passed: BTreeMap::new(),
        }
    }

    /// A caller was answered.
    pub fn created(&mut self, asked: &Record, answer: &Result<Created, EngineError>) -> Fine {
        let key = asked.request_id().map(|request| (Arc::clone(&asked.tenant), request.to_owned()));
        let known = key.and_then(|key| self.requests.get(&key)).copied();
        match answer {
            Ok(created @ Created { id, .. }) => {
                let is_new = created.is_new();
                let case = self.cases.get(id);
                want(case.is_some(), ACKED, *id, || "created, and not in the journal".to_owned())?;
                want(is_new == (*id == asked.id), REQUESTS, *id, || {
                    format!("is_new is {is_new}, and the answer names another workflow")
                })?;
                if asked.request.is_some() {
                    want(known == Some(*id), REQUESTS, *id, || format!("known is {known:?}"))?;
                }
                let plan = case.map(|case| &case.record.plan);
                // What cannot be compared any more counts as the same.
                let is_same = plan == Some(&asked.plan) || self.is_destroyed(*id);
                want(is_same, REQUESTS, *id, || "another plan's".to_owned())
            }
            Err(EngineError::AlreadyExists(id)) => {
                let plan = self.cases.get(id).map(|case| &case.record.plan);
                want(
                    known == Some(*id) && plan.is_some_and(|plan| *plan != asked.plan),
                    REQUESTS,
                    *id,
                    || "refused as another plan's, and it is not".to_owned(),
                )
            }
            Err(EngineError::TooLate | EngineError::RouteSaturated { .. }) => {
                let past = self.past();
                let known = known.and_then(|id| self.cases.get(&id));
                want(known.is_none_or(|case| case.is_past(past)), REQUESTS, asked.id, || {
                    format!("a repeated request is refused: {answer:?}")
                })
            }
            Err(
                EngineError::NotFound(_)
                | EngineError::AlreadyEnded { .. }
                | EngineError::Overloaded { .. }
                | EngineError::DiskFull
                | EngineError::ReadOnly
                | EngineError::RestoreLocked
                | EngineError::NotRestoreLocked
                | EngineError::Unavailable,
            ) => want(false, REQUESTS, asked.id, || format!("a create is told {answer:?}")),
        }
    }

    /// Whoever canceled was answered.
    pub fn canceled(
        &mut self,
        id: WorkflowId,
        tenant: &str,
        answer: &Result<Canceled, EngineError>,
    ) -> Fine {
        let past = self.past();
        let case = self.cases.get(&id).filter(|case| *case.record.tenant == *tenant);
        let ended = case.and_then(|case| case.ended);
        match answer {
            Ok(Canceled { started, .. }) => {
                want(
                    ended.is_some_and(|(_, state, _)| state == EndState::Canceled),
                    ACKED,
                    id,
                    || format!("canceled, and the journal says {ended:?}"),
                )?;
                self.acked_cancels.insert(id);
                let Some(case) = case else { return Ok(()) };
                for (number, attempt) in (1..).zip(&case.tries) {
                    let may_be_out = match attempt.state {
                        TryState::Out { .. } | TryState::Taken | TryState::Unknown { .. } => true,
                        TryState::Planned | TryState::Later { .. } => attempt.is_uncertain,
                        TryState::Refused => false,
                    };
                    // What came back between the commit and the answer may stand there too.
                    let is_named = started.iter().any(|attempt| attempt.number == number);
                    want(is_named || !may_be_out, CANCELS, id, || {
                        format!("attempt {number} may be out, and the answer names {started:?}")
                    })?;
                }
                Ok(())
            }
            Err(EngineError::AlreadyEnded { state, reason, .. }) => want(
                ended.is_some_and(|(_, s, r)| (s, r) == (*state, *reason))
                    && *state != EndState::Canceled,
                CANCELS,
                id,
                || format!("told {state:?} {reason}, and the journal says {ended:?}"),
            ),
            Err(EngineError::NotFound(_)) => {
                let may_be_gone = case.is_none_or(|case| case.is_past(past));
                want(may_be_gone, ACKED, id, || "it is not found".to_owned())
            }
            Err(
                EngineError::AlreadyExists(_)
                | EngineError::TooLate
                | EngineError::Overloaded { .. }
                | EngineError::RouteSaturated { .. }
                | EngineError::DiskFull
                | EngineError::ReadOnly
                | EngineError::RestoreLocked
                | EngineError::NotRestoreLocked
                | EngineError::Unavailable,
            ) => want(false, CANCELS, id, || format!("a cancel is told {answer:?}")),
        }
    }

    /// A call is about to be made.
    pub fn ordered(&mut self, order: &SendOrder, life: u32) -> Fine {
        let id = WorkflowId(order.attempt.workflow);
        let attempt = self.cases.get(&id).and_then(|case| case.at(order.attempt.number));
        let is_started = attempt.is_some_and(|attempt| {
            attempt.calls == order.call && attempt.state == TryState::Out { life }
        });
        want(is_started, STARTED_FIRST, id, || {
            format!("call {} of attempt {} leaves: {attempt:?}", order.call, order.attempt.number)
        })?;
        let is_first = self.ordered.insert((order.attempt, order.call));
        want(is_first, STARTED_FIRST, id, || {
            format!("call {} of attempt {} leaves twice", order.call, order.attempt.number)
        })?;
        // Started in the batch that takes the cancel, before it: the answer names it.
        let was_before = attempt.is_some_and(|attempt| attempt.last_call == Some(self.latest));
        want(was_before || !self.acked_cancels.contains(&id), CANCELS, id, || {
            format!("call {} of attempt {} leaves", order.call, order.attempt.number)
        })
    }

    /// A provider is about to be asked for a message back.
    pub fn asked_back(&mut self, order: &RecallOrder) -> Fine {
        let id = WorkflowId(order.attempt.workflow);
        let case = self.cases.get_mut(&id);
        let of = case.and_then(|case| case.tries.get_mut(usize::from(order.attempt.number) - 1));
        let (is_first, account) = match of {
            Some(of) => {
                let route = &self.routes[of.route];
                let account = format!("{}/{}", route.provider, route.account);
                match &mut of.recall {
                    RecallSeen::Marked { is_asked, .. } => {
                        (!std::mem::replace(is_asked, true), account)
                    }
                    RecallSeen::None | RecallSeen::Over => (false, account),
                }
            }
            None => (false, String::new()),
        };
        want(is_first, RECALLS, id, || format!("{order:?} leaves, unmarked or again"))?;
        want(*order.account == *account, RECALLS, id, || {
            format!("{order:?}, and it went out under {account}")
        })
    }

    /// Whether a provider speaks of this attempt's message.
    pub fn is_about(&self, told: &Told, attempt: AttemptId) -> bool {
        self.attempt_of(told) == Some(attempt)
    }

    /// A provider took a message that it did not have.
    pub fn sent(&mut self, attempt: AttemptId) -> Fine {
        let id = WorkflowId(attempt.workflow);
        let Some(case) = self.cases.get_mut(&id) else { return Ok(()) };
        let Some(found) = case.tries.get_mut(usize::from(attempt.number) - 1) else {
            return Ok(());
        };
        found.messages += 1;
        let (step, messages) = (found.step, found.messages);
        let honours = self.routes[found.route].idempotent_ms.is_some();
        want(messages == 1 || !honours, HONOURED, id, || {
            format!("attempt {} is {messages} messages", attempt.number)
        })?;
        case.steps[usize::from(step)].messages += 1;
        let sent = case.steps[usize::from(step)].messages;
        let counted = case.tries.iter().filter(|of| of.step == step && of.is_double).count() as u32;
        want(sent <= 1 + counted, DOUBLES, id, || {
            format!("step {} went out {sent} times, and {counted} doubles are counted", step + 1)
        })
    }

    /// The service is up again: what is durable must be what was.
    pub fn reopened(&self, reader: &dyn Reader) -> Fine {
        for (id, case) in &self.cases {
            if case.forgotten {
                continue;
            }
            let failed = |error: StoreError| Broken {
                rule: DURABLE,
                detail: error.to_string(),
                workflow: Some(*id),
            };
            let Some(state) = reader.workflow(*id).map_err(failed)? else {
                let past = case.is_past(self.past());
                want(past, DURABLE, *id, || "it is gone".to_owned())?;
                continue;
            };
            let mut replayed = RequirementInterner::default().workflow(&case.record);
            for (at, fact) in &case.told {
                replayed.apply(*at, fact);
            }
            want(state == replayed, DURABLE, *id, || {
                format!("it is {state:?}, and its journal makes {replayed:?}")
            })?;
        }
        Ok(())
    }

    /// What ended before this may be forgotten.
    pub fn past(&self) -> u64 {
        self.latest.saturating_sub(self.retention_ms)
    }

    /// Whether a workflow may be forgotten by now.
    pub fn may_be_gone(&self, id: WorkflowId) -> bool {
        self.cases.get(&id).is_none_or(|case| case.forgotten || case.is_past(self.past()))
    }

    /// Does `work`, a batch at `now`, while somebody reads what was durable before it.
    pub fn beside<T>(
        &self,
        reader: &dyn Reader,
        now: u64,
        work: impl FnOnce() -> T,
    ) -> Result<T, Broken> {
        let past = now.saturating_sub(self.retention_ms);
        let ended: HashSet<_> =
            self.cases.iter().filter(|(_, case)| case.is_past(past)).map(|(id, _)| *id).collect();
        readers::beside(reader, &self.journal, |id| ended.contains(&id), work)
    }

    /// How many messages may have been sent twice, as the timelines count it.
    pub fn doubles(&self) -> u64 {
        let tries = self.cases.values().flat_map(|case| &case.tries);
        tries.filter(|attempt| attempt.is_double).count() as u64
    }

    /// Everything has come to rest.
    pub fn at_rest(&self) -> Fine {
        for (id, case) in &self.cases {
            want(case.ended.is_some(), ENDS, *id, || {
                format!("nothing is due any more, and it has not ended: {:?}", case.tries)
            })?;
            let out = case.tries.iter().any(|of| matches!(of.state, TryState::Out { .. }));
            want(!out, ENDS, *id, || "a call is still waited for".to_owned())?;
        }
        Ok(())
    }

    /// All timelines have passed retention.
    pub fn all_forgotten(&self, reader: &dyn Reader) -> Fine {
        for id in self.cases.keys() {
            let kept = reader.record(*id).ok().flatten();
            want(kept.is_none(), FORGOTTEN, *id, || "its record is still kept".to_owned())?;
            let kept = reader.timeline(*id).unwrap_or_default();
            want(kept.is_empty(), FORGOTTEN, *id, || "its timeline is still kept".to_owned())?;
        }
        Ok(())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.rule.0, self.rule.1, self.detail)
    }
}
