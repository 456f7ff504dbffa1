//! Erasures: what is personal of workflows is found, and its keys are destroyed.
//!
//! In this order, each step durable before the next: what is to be erased is written down; the writer cancels what is
//! open of it and marks it all, so that nothing is kept of it from then on; its keys are overwritten. That it is done is
//! written down by whoever asked for it, together with who that was. To do any of it again is no harm, so what a death
//! cut off the next start ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dispatch_contract::{AttemptId, UnixMillis};
use uuid::Uuid;

use super::{Command, Engine, EngineError, MarkedErased};
use crate::{
    contents::{
        AllUntil, Contents, ErasedSlot, Erasure, ErasureExtent, Family, NoteError, PersonTraces,
        SlotError, Unopened, Unreadable, forget_erasures, keep_erasure, newest_row_slot,
        normal_form,
    },
    machine::{ProgressState, Workflow, WorkflowId},
    store::{Filter, KeySlot, Page, Record, StoreError},
};

/// How many workflows of a person one erasure takes.
pub const MOST_ERASED_AT_ONCE: usize = 20_000;
/// How many attempts whose messages may still arrive are named.
pub const MOST_MAY_ARRIVE: usize = 1_000;
/// How many workflows the writer marks in one batch, and how many are read for it.
const MARKED_AT_ONCE: usize = 500;
/// How often it is looked for what is past retention.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Whose contents are meant.
#[derive(Clone, PartialEq, Eq)]
pub enum ErasureSubject {
    /// Those of workflows in which somebody has one of these addresses, in whatever form they are written.
    Person(Vec<String>),
    /// Those of these workflows.
    Named(Vec<WorkflowId>),
    /// All, and what persons wrote, and who stands on the list of opt-outs.
    All,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundContents {
    /// The slots, and of a person what else there is; nothing where all are meant: that is looked for page by page.
    pub traces: PersonTraces,
    /// How many messages that persons wrote.
    pub messages: usize,
    /// In how many rows on the list of opt-outs it is known who stands there.
    pub opt_outs: usize,
    /// Where all are meant, up to where.
    pub until: AllUntil,
    /// What could not be looked at.
    pub unreadable: Unreadable,
    /// How many workflows there are, by state.
    pub by_state: BTreeMap<&'static str, usize>,
    /// How many of them are open.
    pub open: usize,
    /// How many other addresses of a person's workflows are erased with them.
    pub other_addresses: usize,
    /// There are more than one erasure takes.
    pub has_more: bool,
}

/// What became of an erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasedContents {
    /// Of how many workflows the contents were erased.
    pub workflows: usize,
    /// How many of them were open, and are canceled.
    pub canceled: usize,
    /// How many messages that a person wrote.
    pub messages: usize,
    /// In how many rows on the list of opt-outs it is forgotten who stands there.
    pub opt_outs: usize,
    /// What could not be looked at.
    pub unreadable: Unreadable,
    /// The first of the attempts whose messages may still arrive.
    pub may_arrive: Vec<AttemptId>,
    /// How many of those there are.
    pub may_arrive_count: usize,
}

/// What was done to some rows of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasedSome<After> {
    /// How many were erased, or would be.
    pub count: usize,
    /// How many could not be looked at.
    pub unreadable: usize,
    /// Behind which to go on; `None` at the end.
    pub next: Option<After>,
}

/// Why an erasure did not come to its end. What was begun is ended by the next start, or by asking again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErasureError {
    /// The engine did not do it.
    Engine(EngineError),
    /// The store could not be read or written.
    Store(StoreError),
    /// The keys could not be found or destroyed.
    Keys(SlotError),
}

/// What erasures share.
#[derive(Debug, Default)]
pub(super) struct Erasing {
    /// One at a time: each may hold much.
    one: tokio::sync::Mutex<()>,
    /// How often keys were destroyed.
    times: AtomicU64,
    /// How long an ended workflow is kept, and as long what is written down of an erasure.
    retention: Duration,
    /// When it is next looked for what is older, in engine time.
    forget_at: AtomicU64,
}

impl Erasing {
    pub(super) fn new(retention: Duration) -> Erasing {
        Erasing { retention, ..Erasing::default() }
    }
}

impl FoundContents {
    /// How many workflows were found.
    pub fn workflows(&self) -> usize {
        self.by_state.values().sum()
    }

    /// Whether there is nothing to be erased.
    pub fn is_empty(&self) -> bool {
        self.workflows() == 0 && self.messages == 0 && self.opt_outs == 0
    }

    fn add(&mut self, workflow: &Workflow) {
        *self.by_state.entry(ProgressState::from(workflow.phase).as_str()).or_default() += 1;
        self.open += usize::from(!workflow.has_ended());
    }
}

impl ErasedContents {
    fn add(&mut self, workflows: usize, marked: MarkedErased) {
        let MarkedErased { canceled, may_arrive } = marked;
        self.workflows += workflows;
        self.canceled += canceled;
        self.may_arrive_count += may_arrive.len();
        let room = MOST_MAY_ARRIVE.saturating_sub(self.may_arrive.len());
        self.may_arrive.extend(may_arrive.into_iter().take(room));
    }
}

/// Finding. Waits for the disk.
impl Engine {
    /// What would be erased of a tenant's, or of everybody's.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if a workflow is named that is not there or another tenant's, or if the store or the keys
    /// cannot be read.
    pub fn find_contents(
        &self,
        whose: Option<&str>,
        subject: &ErasureSubject,
    ) -> Result<FoundContents, ErasureError> {
        match subject {
            ErasureSubject::Person(addresses) => self.find_person(whose, addresses),
            ErasureSubject::Named(ids) => self.find_named(whose, ids),
            ErasureSubject::All => self.find_all(whose),
        }
    }

    fn find_all(&self, whose: Option<&str>) -> Result<FoundContents, ErasureError> {
        let (mut found, mut after) = (FoundContents::default(), None);
        loop {
            let page = self.all_contents(whose, after)?;
            for (_, workflow) in page.workflows.iter().filter(|(_, it)| !it.is_erased) {
                found.add(workflow);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let until = AllUntil {
            time: self.clock().now(),
            opt_out: newest_row_slot(&**self.settings(), Family::OptOut)?,
        };
        let (messages, opt_outs) = (self.inbound_messages(), self.opt_outs());
        let mut after = Some(0);
        while let Some(from) = after {
            let some = messages.count_some(whose, until.time, from)?;
            found.messages += some.count;
            found.unreadable.items += some.unreadable;
            after = some.next;
        }
        let mut goes_on = until.opt_out.map(|newest| (newest, None));
        while let Some((newest, after)) = goes_on {
            let some = opt_outs.count_some(whose, newest, after)?;
            found.opt_outs += some.count;
            found.unreadable.items += some.unreadable;
            goes_on = some.next.map(|next| (newest, Some(next)));
        }
        found.until = until;
        Ok(found)
    }

    /// By tags, which are short: each find is opened and compared.
    fn find_person(
        &self,
        whose: Option<&str>,
        addresses: &[String],
    ) -> Result<FoundContents, ErasureError> {
        let asked: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let forms: BTreeSet<_> = asked.iter().map(|address| normal_form(address)).collect();
        let owners = self.0.contents.find(&*self.0.reader, &asked)?;
        let (mut found, mut others) = (FoundContents::default(), BTreeSet::new());
        let mut unreadable = owners.unreadable;
        // Of another tenant's nothing is told.
        unreadable.retain(|id| !matches!(self.record_of(whose, *id), Ok(None)));
        let candidates: BTreeMap<_, _> = owners.candidates.into_iter().collect();
        for (slot, id) in candidates {
            let candidate = self.candidate(whose, id, &mut unreadable)?;
            let Some((record, workflow)) = candidate else { continue };
            if record.contents.slot != slot {
                continue;
            }
            let contents = self.opened_to_compare(&record, &mut unreadable);
            let Some(contents) = contents else { continue };
            let recipients = recipients(&contents);
            if recipients.is_disjoint(&forms) {
                continue;
            }
            if found.traces.slots.len() == MOST_ERASED_AT_ONCE {
                found.has_more = true;
                break;
            }
            found.add(&workflow);
            found.traces.slots.push(ErasedSlot { slot, workflow: id });
            others.extend(recipients.difference(&forms).map(|form| form.to_string()));
        }
        found.other_addresses = others.len();
        let opt_outs = self.opt_outs().of_person(whose, &asked)?;
        found.traces.opt_outs = self.opt_outs().not_forgotten(opt_outs)?;
        let wrote = self.inbound_messages().of_person(whose, &asked)?;
        found.traces.messages = wrote.ids;
        found.has_more |= found.traces.messages.len() > MOST_ERASED_AT_ONCE;
        found.traces.messages.truncate(MOST_ERASED_AT_ONCE);
        found.messages = found.traces.messages.len();
        found.opt_outs = found.traces.opt_outs.len();
        found.unreadable = Unreadable {
            items: unreadable.len() + owners.more_unreadable + wrote.unreadable.items,
            key_files: owners.unreadable_files + wrote.unreadable.key_files,
        };
        found.traces.unreadable = found.unreadable;
        Ok(found)
    }

    /// A workflow that may be of a person, if it is the tenant's. One that is damaged is told, and counted.
    fn candidate(
        &self,
        whose: Option<&str>,
        id: WorkflowId,
        unreadable: &mut BTreeSet<WorkflowId>,
    ) -> Result<Option<(Arc<Record>, Workflow)>, StoreError> {
        let read = || match self.record_of(whose, id)? {
            Some(record) => Ok(self.0.reader.workflow(id)?.map(|workflow| (record, workflow))),
            None => Ok(None),
        };
        match read() {
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(workflow = %id, %error, "whose this workflow is cannot be read");
                unreadable.insert(id);
                Ok(None)
            }
            read => read,
        }
    }

    fn find_named(
        &self,
        whose: Option<&str>,
        ids: &[WorkflowId],
    ) -> Result<FoundContents, ErasureError> {
        let mut found = FoundContents::default();
        for id in ids.iter().copied().collect::<BTreeSet<_>>() {
            let not_found = || ErasureError::Engine(EngineError::NotFound(id));
            let record = self.record_of(whose, id)?.ok_or_else(not_found)?;
            let workflow = self.0.reader.workflow(id)?.ok_or_else(not_found)?;
            let slot = record.contents.slot;
            if workflow.is_erased && self.is_destroyed(slot) {
                continue;
            }
            found.add(&workflow);
            found.traces.slots.push(ErasedSlot { slot, workflow: id });
        }
        Ok(found)
    }

    /// A record of a tenant's, or of anybody's.
    fn record_of(
        &self,
        whose: Option<&str>,
        id: WorkflowId,
    ) -> Result<Option<Arc<Record>>, StoreError> {
        let record = self.0.reader.record(id)?;
        Ok(record.filter(|record| whose.is_none_or(|tenant| *record.tenant == *tenant)))
    }

    /// What cannot be opened is told, and counted.
    fn opened_to_compare(
        &self,
        record: &Record,
        unreadable: &mut BTreeSet<WorkflowId>,
    ) -> Option<Contents> {
        match self.0.contents.open(record) {
            Ok(contents) => Some(contents),
            Err(Unopened::Gone) => None,
            Err(Unopened::Unreadable(why)) => {
                tracing::error!(workflow = %record.id, why, "whose contents these are cannot be read");
                unreadable.insert(record.id);
                None
            }
        }
    }

    /// Whether nothing can be opened with the key of a slot any more.
    pub fn is_destroyed(&self, slot: KeySlot) -> bool {
        let key = self.0.contents.keys().key(Family::Workflow, slot);
        matches!(key, Ok(None) | Err(SlotError::Lost(..)))
    }

    /// A page of all workflows of a tenant's, or of everybody's, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn all_contents(
        &self,
        whose: Option<&str>,
        after: Option<WorkflowId>,
    ) -> Result<Page, StoreError> {
        let filter = Filter { tenant: whose.map(Arc::from), ..Filter::default() };
        self.0.reader.list(&filter, after, MARKED_AT_ONCE)
    }
}

/// Erasing. The steps stand by themselves, so that it can be tried what a death between two of them leaves.
impl Engine {
    /// Erases: writes down what, marks it, and destroys its keys. That it is done is left to be written down.
    ///
    /// # Errors
    /// If it did not come to its end.
    pub async fn erase(&self, erasure: Arc<Erasure>) -> Result<ErasedContents, ErasureError> {
        let _one = self.0.erasing.one.lock().await;
        if self.is_read_only() {
            return Err(ErasureError::Engine(EngineError::ReadOnly));
        }
        self.forget_old(erasure.kept_since).await;
        self.write_down(Arc::clone(&erasure)).await?;
        self.carry_out(&erasure).await
    }

    /// Does once more what was begun before, by this life or an earlier one.
    ///
    /// # Errors
    /// As [`Engine::erase`].
    pub async fn finish_erasure(&self, erasure: &Erasure) -> Result<ErasedContents, ErasureError> {
        let _one = self.0.erasing.one.lock().await;
        self.carry_out(erasure).await
    }

    /// Destroys once more the keys of what is marked as erased.
    ///
    /// # Errors
    /// If they could not be destroyed.
    pub async fn destroy_again(&self, slots: &[ErasedSlot]) -> Result<(), ErasureError> {
        let _one = self.0.erasing.one.lock().await;
        if slots.is_empty() { Ok(()) } else { self.destroy(slots).await }
    }

    /// How often keys were destroyed: whoever holds what was opened with them, drops it when this changes.
    pub fn erasure_times(&self) -> u64 {
        self.0.erasing.times.load(Ordering::Acquire)
    }

    /// The first step: writes down what is about to be erased, durably.
    ///
    /// # Errors
    /// If the store could not be written.
    pub async fn write_down(&self, erasure: Arc<Erasure>) -> Result<(), ErasureError> {
        let settings = Arc::clone(self.settings());
        beside(move || Ok(keep_erasure(&*settings, &erasure)?)).await
    }

    /// Takes away what is written down of erasures whose workflows are past retention, now and then.
    async fn forget_old(&self, now: UnixMillis) {
        let Erasing { retention, forget_at, .. } = &self.0.erasing;
        if now.0 < forget_at.load(Ordering::Relaxed) {
            return;
        }
        forget_at.store(now.plus(FORGET_EVERY).0, Ordering::Relaxed);
        let (settings, before) = (Arc::clone(self.settings()), now.minus(*retention));
        let forgotten = beside(move || Ok(forget_erasures(&*settings, before)?)).await;
        if let Err(error) = forgotten {
            tracing::error!(%error, "what is written down of old erasures could not be taken away");
        }
    }

    async fn carry_out(&self, erasure: &Erasure) -> Result<ErasedContents, ErasureError> {
        if let ErasureExtent::All(until) = erasure.extent {
            let mut erased = self.carry_out_for_all(erasure, until.time).await?;
            self.forget_beside_for_all(erasure, until, &mut erased).await?;
            return Ok(erased);
        }
        let mut erased = ErasedContents::default();
        for some in erasure.slots().chunks(MARKED_AT_ONCE) {
            let marked = self.mark_erased(erasure.id, some).await?;
            erased.add(some.len(), marked);
        }
        self.destroy(erasure.slots()).await?;
        self.0.metrics.contents_erased(erased.workflows);
        if let ErasureExtent::Person(traces) = &erasure.extent {
            let PersonTraces { messages, opt_outs, unreadable, .. } = traces;
            (erased.messages, erased.opt_outs) = self.forget_beside(messages, opt_outs).await?;
            erased.unreadable = *unreadable;
        }
        Ok(erased)
    }

    /// Erases what a person wrote, and who it is that wants no messages.
    async fn forget_beside(
        &self,
        messages: &[Uuid],
        opt_outs: &[Vec<u8>],
    ) -> Result<(usize, usize), ErasureError> {
        let (this, messages, opt_outs) = (self.clone(), messages.to_vec(), opt_outs.to_vec());
        beside(move || {
            let erased = this.inbound_messages().erase(&messages)?;
            this.opt_outs().forget(&opt_outs)?;
            Ok((erased, opt_outs.len()))
        })
        .await
    }

    /// Page by page. What is created meanwhile is not meant.
    async fn carry_out_for_all(
        &self,
        erasure: &Erasure,
        until: UnixMillis,
    ) -> Result<ErasedContents, ErasureError> {
        let (mut erased, mut after) = (ErasedContents::default(), None);
        loop {
            let (this, whose) = (self.clone(), erasure.tenant.clone());
            let page = beside(move || Ok(this.all_contents(whose.as_deref(), after)?)).await?;
            let meant = page.workflows.iter().filter(|(it, _)| it.created_at.engine <= until);
            let slot =
                |record: &Record| ErasedSlot { slot: record.contents.slot, workflow: record.id };
            let new: Vec<_> = meant.clone().filter(|(_, it)| !it.is_erased).collect();
            let new: Vec<_> = new.into_iter().map(|(record, _)| slot(record)).collect();
            let marked = self.mark_erased(erasure.id, &new).await?;
            erased.add(new.len(), marked);
            // Of those that were marked before a death the keys may still be there.
            let slots: Vec<_> = meant.map(|(record, _)| slot(record)).collect();
            self.destroy(&slots).await?;
            self.0.metrics.contents_erased(new.len());
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(erased),
            }
        }
    }

    /// What persons wrote to a tenant, or to everybody, and who stands on the list of opt-outs, some at a time.
    async fn forget_beside_for_all(
        &self,
        erasure: &Erasure,
        until: AllUntil,
        erased: &mut ErasedContents,
    ) -> Result<(), ErasureError> {
        let mut after = Some(0);
        while let Some(from) = after {
            let (this, whose) = (self.clone(), erasure.tenant.clone());
            let messages = move || {
                Ok(this.inbound_messages().erase_some(whose.as_deref(), until.time, from)?)
            };
            let some = beside(messages).await?;
            erased.messages += some.count;
            erased.unreadable.items += some.unreadable;
            after = some.next;
        }
        let mut goes_on = until.opt_out.map(|newest| (newest, None));
        while let Some((newest, from)) = goes_on {
            let (this, whose) = (self.clone(), erasure.tenant.clone());
            let opt_outs =
                move || Ok(this.opt_outs().forget_some(whose.as_deref(), newest, from)?);
            let some = beside(opt_outs).await?;
            erased.opt_outs += some.count;
            erased.unreadable.items += some.unreadable;
            goes_on = some.next.map(|next| (newest, Some(next)));
        }
        Ok(())
    }

    /// The second step: cancels those that are open, and marks all; durable when this returns.
    ///
    /// # Errors
    /// If the engine did not do it.
    pub async fn mark_erased(
        &self,
        erasure: Uuid,
        slots: &[ErasedSlot],
    ) -> Result<MarkedErased, ErasureError> {
        if slots.is_empty() {
            return Ok(MarkedErased::default());
        }
        let workflows = slots.iter().map(|slot| slot.workflow).collect();
        let marked = self.submit(|reply| Command::Erase { erasure, workflows, reply }).await;
        Ok(marked.and_then(|marked| marked)?)
    }

    /// The third step: destroys their keys, durably, and what was noted with them.
    ///
    /// # Errors
    /// If the disk failed.
    pub async fn destroy(&self, slots: &[ErasedSlot]) -> Result<(), ErasureError> {
        let keys = Arc::clone(self.0.contents.keys());
        let slots: Vec<_> = slots.iter().map(|slot| slot.slot).collect();
        let destroyed = beside(move || Ok(keys.destroy(Family::Workflow, &slots)?)).await;
        self.0.erasing.times.fetch_add(1, Ordering::AcqRel);
        destroyed
    }
}

/// Who is reached, as addresses are compared.
fn recipients(contents: &Contents) -> BTreeSet<std::borrow::Cow<'_, str>> {
    contents.steps.iter().map(|step| normal_form(step.recipient.value())).collect()
}

/// Beside the runtime: it waits for the disk.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ErasureError> + Send + 'static,
) -> Result<T, ErasureError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(ErasureError::Engine(EngineError::Unavailable)),
    }
}

impl From<EngineError> for ErasureError {
    fn from(error: EngineError) -> Self {
        ErasureError::Engine(error)
    }
}

impl From<StoreError> for ErasureError {
    fn from(error: StoreError) -> Self {
        ErasureError::Store(error)
    }
}

impl From<SlotError> for ErasureError {
    fn from(error: SlotError) -> Self {
        ErasureError::Keys(error)
    }
}

impl From<NoteError> for ErasureError {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::Store(error) => ErasureError::Store(error),
            NoteError::Keys(error) => ErasureError::Keys(error),
        }
    }
}

impl fmt::Display for ErasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErasureError::Engine(error) => error.fmt(f),
            ErasureError::Store(error) => error.fmt(f),
            ErasureError::Keys(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ErasureError {}

impl fmt::Debug for ErasureSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErasureSubject::Person(addresses) => write!(f, "Person({} addresses)", addresses.len()),
            ErasureSubject::Named(ids) => f.debug_tuple("Named").field(ids).finish(),
            ErasureSubject::All => f.write_str("All"),
        }
    }
}
