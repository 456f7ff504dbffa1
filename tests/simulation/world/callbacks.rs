//! Callbacks: the production follower of the journal, stepped between two batches of the writer, over rows that are
//! durable only with what comes after them.

use std::collections::BTreeMap;

use dispatch::{
    access::{Application, MessagesCapability, PayloadVersion, Signing, Webhook},
    callbacks::{CallbackContext, CallbackFilter, CallbackOptions, SteppedCallbacks},
    engine::{Feed, InboundMessages, InboundOptions},
    store::{self, ApiDialect, KeyAndValue, Kind, Requester, SettingChange, Settings, StoreError},
    telemetry::LogLimit,
};

use super::*;
use crate::judge::CALLBACKS;

/// How many callbacks a workflow may have at the very most: more than it has facts.
const MOST: usize = 10_000;

/// What is kept beside workflows, as a disk keeps it: what was only noted may be lost in a death, the newest first.
pub(super) struct Fading {
    pub(super) kept: Arc<dyn Settings>,
    pub(super) notes: Notes,
}

/// What was noted and is not durable yet, the oldest first.
pub(super) type Notes = Arc<Mutex<Vec<Vec<SettingChange>>>>;

fn noted(notes: &Notes) -> MutexGuard<'_, Vec<Vec<SettingChange>>> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something is made durable, and the first so many of what was noted before it.
pub(super) fn settle(kept: &dyn Settings, notes: &Notes, first: usize) -> Result<(), StoreError> {
    let all = std::mem::take(&mut *noted(notes));
    all.into_iter().take(first).try_for_each(|changes| kept.note(changes))
}

impl Settings for Fading {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let notes = noted(&self.notes);
        let newest = notes.iter().rev().flatten().find(|it| it.kind == kind && it.key == key);
        match newest {
            Some(change) => Ok(change.value.clone()),
            None => self.kept.get(kind, key),
        }
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyAndValue>, StoreError> {
        let notes = noted(&self.notes);
        let changes = notes.iter().flatten().filter(|it| it.kind == kind);
        let changes = changes.filter(|it| after.is_none_or(|after| *it.key > *after));
        // What is taken away leaves room for others.
        let most = limit + changes.clone().filter(|it| it.value.is_none()).count();
        let mut rows: BTreeMap<_, _> = self.kept.list(kind, after, most)?.into_iter().collect();
        for change in changes {
            match &change.value {
                Some(value) => drop(rows.insert(change.key.clone(), value.clone())),
                None => drop(rows.remove(&change.key)),
            }
        }
        Ok(rows.into_iter().take(limit).collect())
    }

    fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        settle(&*self.kept, &self.notes, usize::MAX)?;
        self.kept.write(changes)
    }

    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        noted(&self.notes).push(changes);
        Ok(())
    }
}

/// The callbacks of one life.
pub(super) struct Followed {
    callbacks: SteppedCallbacks,
    inbound: Arc<InboundMessages>,
    /// Whether it has not looked yet.
    is_new: bool,
}

impl Followed {
    /// What persons wrote.
    pub(super) fn inbound(&self) -> &InboundMessages {
        &self.inbound
    }
}

impl World<'_> {
    /// Who asks, and in which words.
    pub(super) fn requester(&self, caller: u32, tenant: &str) -> Requester {
        if self.scenario.callbacks_every == 0 {
            return Requester::default();
        }
        let mut dice = Dice::of(self.scenario.seed, &[32, u64::from(caller)]);
        let application = dice.percent(80).then(|| application_of(tenant));
        let dialect =
            dice.one(&[ApiDialect::Grpc, ApiDialect::DispatchV01, ApiDialect::MessagesV1]);
        Requester { application, dialect }
    }

    /// Takes up what the last life made, if there are callbacks in this world.
    pub(super) fn follow(
        &self,
        settings: &Arc<dyn Settings>,
        reader: Arc<dyn store::Reader>,
        clock: Arc<dyn EngineClock>,
        feed: Arc<Feed>,
    ) -> Result<Option<Followed>, Broken> {
        if self.scenario.callbacks_every == 0 {
            return Ok(None);
        }
        let failed = |error: StoreError| broken(STORE, &error);
        let rows = ["default", "other"].map(application).map(|of| {
            let value = store::encode(&of)?;
            Ok(SettingChange::put(Kind::Application, of.id.as_bytes(), value))
        });
        let rows = rows.into_iter().collect::<Result<_, _>>().map_err(failed)?;
        settings.write(rows).map_err(failed)?;
        let (tenant, retention) = (Arc::from("default"), Duration::from_secs(3600));
        let inbound = InboundOptions { tenant, retention, most: inbound::MOST_KEPT };
        let keys = self.judge.contents.rows(Family::Inbound);
        let inbound = InboundMessages::open(Arc::clone(settings), keys, inbound).map_err(failed)?;
        let inbound = Arc::new(inbound);
        let context = CallbackContext {
            clock,
            reader,
            contents: Arc::clone(&self.judge.contents),
            settings: Arc::clone(settings),
            feed,
            inbound: Arc::clone(&inbound),
            metrics: Arc::new(Metrics::new()),
            log_limit: Arc::new(LogLimit::default()),
            is_read_only: false,
        };
        let callbacks = SteppedCallbacks::open(context, CallbackOptions::default());
        Ok(Some(Followed { callbacks: callbacks.map_err(failed)?, inbound, is_new: true }))
    }

    /// Whoever makes callbacks looks, if it is its turn or `all` is to be made.
    pub(super) fn tell_callers(&mut self, all: bool) -> Fine {
        let every = self.scenario.callbacks_every;
        let is_turn = all || every > 0 && self.figures.batches.is_multiple_of(every);
        let followed = self.service.as_mut().and_then(|service| service.followed.as_mut());
        let Some(followed) = followed.filter(|_| is_turn) else { return Ok(()) };
        followed.callbacks.step().map_err(|error| broken(CALLBACKS, &error))?;
        let anew = std::mem::take(&mut followed.is_new) || all;
        let queries = followed.callbacks.queries();
        let mut count = 0;
        let made = |id: WorkflowId| {
            let filter = CallbackFilter { about: Some(id.0), ..CallbackFilter::default() };
            let page = queries.list(None, filter, None, MOST).unwrap_or_default();
            let made = page.callbacks.into_iter().map(|(id, it)| (id.sequence, it.subject));
            let made: BTreeMap<_, _> = made.collect();
            count += made.len() as u64;
            made
        };
        self.judge.followed(anew, made)?;
        let kept = *followed.inbound.kept().borrow();
        let about = |id: Uuid| {
            let filter = CallbackFilter { about: Some(id), ..CallbackFilter::default() };
            let page = queries.list(None, filter, None, MOST).unwrap_or_default();
            page.callbacks.into_iter().map(|(_, it)| it.subject).collect()
        };
        self.judge.told_of_letters(anew, kept, about)?;
        if all {
            self.figures.callbacks = count;
        }
        Ok(())
    }

    /// A life is over: of what was only noted the newest is lost, unless it `stops` as it should.
    pub(super) fn fade(&mut self, stops: bool) -> Result<(), StoreError> {
        let followed = self.service.as_mut().and_then(|service| service.followed.take());
        let Some(store) = &self.store else { return Ok(()) };
        if let Some(followed) = followed.filter(|_| stops) {
            followed.callbacks.stop()?;
        }
        let count = noted(&self.notes).len() as u64;
        let mut dice = Dice::of(self.scenario.seed, &[33, u64::from(self.life)]);
        let kept = if stops { count } else { dice.below(count + 1) };
        settle(&*mortal::kept(store).settings(), &self.notes, kept as usize)
    }
}

pub(super) fn application_of(tenant: &str) -> Uuid {
    Uuid::from_u128(if tenant == "default" { 1 } else { 2 })
}

/// Whether a tenant's application is told of what persons write.
pub(super) fn is_told_of_letters(tenant: &str) -> bool {
    tenant == "default"
}

fn application(tenant: &str) -> Application {
    let status = Some(Webhook { address: "https://callers.example/status".to_owned() });
    let messages = MessagesCapability {
        inbound: is_told_of_letters(tenant)
            .then(|| Webhook { address: "https://callers.example/inbound".to_owned() }),
        status,
        payload_version: PayloadVersion::V1,
        signing: Signing::Jwt,
        secret: Vec::new(),
    };
    Application {
        id: application_of(tenant),
        tenant: tenant.to_owned(),
        name: tenant.to_owned(),
        public_key: None,
        messages: Some(messages),
        other_capabilities: String::new(),
        improve_ai: false,
        create_time_ms: START,
    }
}
