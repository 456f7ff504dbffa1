//! What waits for the writer, in lanes.
//!
//! Cancels, receipts and answers are never starved by creates. Within a lane tenants take turns, of
//! receipts the accounts, and creates go by priority ([`fair`](super::fair)). Every lane is bounded:
//! full means a refusal before any promise is made. One of them alone takes half of a lane, and what
//! others have narrows that further, so that nobody's flood turns away somebody else.

use std::{
    collections::VecDeque,
    iter::from_fn,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dispatch_contract::Busy;

use super::{
    Command,
    fair::{FairQueue, RoundRobin},
};
use crate::{
    machine::Priority,
    store::{BATCH_BYTES, weight},
};

/// How many commands may wait, by lane: one tenant's, or one account's, at most half of them. Answers are
/// bounded by the permits of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Creates.
    pub creates: usize,
    /// Cancels.
    pub cancels: usize,
    /// Receipts.
    pub receipts: usize,
}

impl Default for LaneLimits {
    fn default() -> Self {
        LaneLimits { creates: 8192, cancels: 8192, receipts: 32_768 }
    }
}

/// How many creates one batch takes, unless they are large: enough to share a sync, few enough to keep answers
/// quick.
const MAX_CREATES_PER_BATCH: usize = 512;
const MAX_OTHERS_PER_BATCH: usize = 4096;
/// Tenants weigh the same in the inbox: commands wait there for one commit at most.
const EQUAL_WEIGHT: u32 = 1;

/// The lanes.
pub struct Inbox {
    lanes: Mutex<Lanes>,
    changed: Condvar,
    limits: LaneLimits,
}

#[derive(Default)]
struct Lanes {
    control: VecDeque<QueuedCommand>,
    /// By tenant.
    cancels: RoundRobin<Arc<str>, VecDeque<QueuedCommand>>,
    /// By provider and account.
    receipts: RoundRobin<(Arc<str>, Arc<str>), VecDeque<QueuedCommand>>,
    answers: VecDeque<QueuedCommand>,
    /// By priority and tenant.
    creates: FairQueue<Arc<str>, VecDeque<QueuedCommand>>,
    is_closed: bool,
    /// The writer sleeps until something comes. Waking it when it does not is a call of the system
    /// for nothing, several for each workflow.
    is_awaited: bool,
}

/// A command, and the sign that it is under way.
pub(super) type QueuedCommand = (Command, Busy);

/// Why a command was not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// Its lane is full.
    Full,
    /// The engine has stopped.
    Closed,
}

impl Inbox {
    /// Empty ones.
    pub fn new(limits: LaneLimits) -> Self {
        Inbox { lanes: Mutex::default(), changed: Condvar::new(), limits }
    }

    /// Puts a command into its lane. `busy` is held until the batch that takes it is over.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing was promised, and nothing comes of it.
    pub fn push(&self, command: Command, busy: Busy) -> Result<(), NotTaken> {
        let mut lanes = self.lanes();
        lanes.add((command, busy), self.limits)?;
        self.wake(lanes);
        Ok(())
    }

    /// Puts commands into their lanes at once, and tells which of them were not taken, and why: nothing was
    /// promised of those, and nothing comes of them.
    pub(super) fn push_all(&self, commands: Vec<QueuedCommand>) -> Vec<(usize, NotTaken)> {
        let mut lanes = self.lanes();
        let add = |(index, command)| Some((index, lanes.add(command, self.limits).err()?));
        let refused = commands.into_iter().enumerate().filter_map(add).collect();
        self.wake(lanes);
        refused
    }

    /// Wakes the writer if it sleeps.
    fn wake(&self, mut lanes: MutexGuard<'_, Lanes>) {
        let is_awaited = std::mem::take(&mut lanes.is_awaited);
        drop(lanes);
        if is_awaited {
            self.changed.notify_one();
        }
    }

    /// Whether a tenant's create would be refused, whatever its priority.
    pub(super) fn is_full_of_creates(&self, tenant: &Arc<str>) -> bool {
        let lanes = self.lanes();
        let (all, most) = (lanes.creates.len(), self.limits.creates);
        let has = |priority| lanes.creates.len_of(priority, tenant);
        Priority::ALL.into_iter().all(|priority| room(has(priority), all, most).is_err())
    }

    /// Whether it takes nothing any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lanes().is_closed
    }

    /// Waits for commands, at most for `wait`; then takes what waits, in the order of the lanes.
    pub(super) fn take(&self, wait: Option<Duration>) -> Vec<QueuedCommand> {
        let mut lanes = self.lanes();
        match wait {
            Some(time) => {
                let waited = self.changed.wait_timeout_while(lanes, time, Lanes::start_waiting);
                lanes = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            None => {
                let waited = self.changed.wait_while(lanes, Lanes::start_waiting);
                lanes = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        lanes.is_awaited = false;
        let Lanes { control, cancels, receipts, answers, creates, .. } = &mut *lanes;
        let mut taken: Vec<_> = control.drain(..).collect();
        taken.extend(from_fn(|| cancels.take()).take(MAX_OTHERS_PER_BATCH));
        taken.extend(from_fn(|| receipts.take()).take(MAX_OTHERS_PER_BATCH));
        let count = answers.len().min(MAX_OTHERS_PER_BATCH);
        taken.extend(answers.drain(..count));
        let mut bytes = 0;
        let create = || {
            let create = (bytes < BATCH_BYTES).then(|| creates.take()).flatten()?;
            if let Command::Create { record, .. } = &create.0 {
                bytes += weight(record);
            }
            Some(create)
        };
        taken.extend(from_fn(create).take(MAX_CREATES_PER_BATCH));
        taken
    }

    /// Takes nothing any more; what waits is dropped, and its callers are told.
    pub(super) fn close(&self) {
        let mut lanes = self.lanes();
        *lanes = Lanes { is_closed: true, ..Lanes::default() };
        drop(lanes);
        self.changed.notify_all();
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    /// Puts a command into its lane, if there is room.
    fn add(&mut self, (command, busy): QueuedCommand, limits: LaneLimits) -> Result<(), NotTaken> {
        if self.is_closed {
            return Err(NotTaken::Closed);
        }
        let Lanes { control, cancels, receipts, answers, creates, .. } = self;
        match &command {
            Command::Create { record, .. } => {
                let (priority, tenant) = (record.plan.priority, Arc::clone(&record.tenant));
                let has = creates.len_of(priority, &tenant);
                room(has, creates.len(), limits.creates)?;
                creates.add(priority, &tenant, EQUAL_WEIGHT, (command, busy));
            }
            Command::Cancel { tenant, .. } => {
                let tenant = Arc::clone(tenant);
                room(cancels.len_of(&tenant), cancels.len(), limits.cancels)?;
                cancels.add(&tenant, EQUAL_WEIGHT, (command, busy));
            }
            Command::Inbound { provider, account, .. } => {
                let account = (Arc::clone(provider), Arc::clone(account));
                room(receipts.len_of(&account), receipts.len(), limits.receipts)?;
                receipts.add(&account, EQUAL_WEIGHT, (command, busy));
            }
            Command::SendResult { .. } | Command::RecallResult { .. } => {
                answers.push_back((command, busy));
            }
            Command::Tick
            | Command::Resume { .. }
            | Command::Erase { .. }
            | Command::Routes { .. }
            | Command::Drain { .. }
            | Command::Stop => control.push_back((command, busy)),
        }
        Ok(())
    }

    /// Whether the writer, who asks, has to sleep.
    fn start_waiting(&mut self) -> bool {
        self.is_awaited = self.is_empty();
        self.is_awaited
    }

    fn is_empty(&self) -> bool {
        let Lanes { control, cancels, receipts, answers, creates, is_closed, .. } = self;
        let others = cancels.len() + receipts.len() + creates.len();
        !is_closed && control.is_empty() && answers.is_empty() && others == 0
    }
}

/// Whether whoever `has` so many in a lane of `all` may have one more: never more than there is room for
/// others. One alone comes to half of the lane, two to a third each, and a newcomer always finds room.
fn room(has: usize, all: usize, most: usize) -> Result<(), NotTaken> {
    let free = most.saturating_sub(all);
    if free > 0 && has <= free { Ok(()) } else { Err(NotTaken::Full) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        machine::{Moment, Plan, WorkflowId},
        shared::plans,
        store::Record,
    };

    #[test]
    fn what_waits_is_bounded_and_needs_no_room_among_the_creates() {
        let inbox = Inbox::new(LaneLimits { creates: 0, cancels: 2, receipts: 1 });
        let cancel = || Command::Cancel {
            tenant: Arc::from("default"),
            id: WorkflowId(Uuid::nil()),
            reply: Box::new(|_| {}),
        };
        let receipt = || Command::Inbound {
            provider: Arc::from("p"),
            account: Arc::from("a"),
            scope: None,
            items: Vec::new(),
            reply: Box::new(|_| {}),
        };
        let push = |command| inbox.push(command, Busy::untracked()).is_ok();
        assert!(push(receipt()) && !push(receipt()), "the lane of receipts has one place");
        assert!(push(cancel()) && push(cancel()) && !push(cancel()), "that of cancels two");
        let taken = inbox.take(None);
        let is_cancel = |(command, _): &QueuedCommand| matches!(command, Command::Cancel { .. });
        assert!(taken[..2].iter().all(is_cancel), "cancels first");
        assert!(!is_cancel(&taken[2]));
    }

    fn create(tenant: &str, priority: Priority) -> Command {
        let plan = Plan { priority, ..plans::plan(Vec::new()) };
        let record = Record {
            tenant: Arc::from(tenant),
            ..plans::record(WorkflowId(Uuid::nil()), Moment::default(), plan)
        };
        Command::Create { record: Box::new(record), reply: Box::new(|_| {}) }
    }

    #[test]
    fn a_turn_takes_few_creates_where_they_are_large() {
        const MANY: usize = 50;
        let inbox = Inbox::new(LaneLimits::default());
        for _ in 0..MANY {
            let mut large = create("a", Priority::Normal);
            if let Command::Create { record, .. } = &mut large {
                record.plan.client_ref = Some("x".repeat(BATCH_BYTES / 10));
            }
            inbox.push(large, Busy::untracked()).unwrap();
        }
        let mut taken = Vec::new();
        while taken.iter().sum::<usize>() < MANY {
            taken.push(inbox.take(None).len());
        }
        assert_eq!(taken, [10; MANY / 10]);
    }

    #[test]
    fn one_tenant_s_flood_turns_nobody_else_away_and_goes_behind_them() {
        const MOST: usize = 4000;
        let inbox = Inbox::new(LaneLimits { creates: MOST, cancels: MOST, receipts: MOST });
        let push = |command| inbox.push(command, Busy::untracked()).is_ok();
        let flood = |tenant, priority| (0..MOST).filter(|_| push(create(tenant, priority))).count();
        assert_eq!(flood("a", Priority::Low), MOST / 2 + 1, "one alone has half of the lane");
        assert!(!inbox.is_full_of_creates(&Arc::from("a")), "its urgent ones have room");
        assert!(flood("b", Priority::Low) > MOST / 5);
        assert!(push(create("c", Priority::Low)) && push(create("a", Priority::High)));
        let order: Vec<_> = inbox
            .take(None)
            .into_iter()
            .take(4)
            .map(|(command, _)| match command {
                Command::Create { record, .. } => (record.tenant.to_string(), record.plan.priority),
                _ => panic!("there are only creates"),
            })
            .collect();
        let of = |tenant: &str, priority| (tenant.to_owned(), priority);
        let (low, high) = (Priority::Low, Priority::High);
        assert_eq!(order, [of("a", high), of("a", low), of("b", low), of("c", low)]);
    }

    #[test]
    fn a_flood_of_cancels_or_receipts_turns_no_other_tenant_or_account_away() {
        const MOST: usize = 1000;
        let inbox = Inbox::new(LaneLimits { creates: MOST, cancels: MOST, receipts: MOST });
        let push = |command| inbox.push(command, Busy::untracked()).is_ok();
        let cancel = |tenant| Command::Cancel {
            tenant: Arc::from(tenant),
            id: WorkflowId(Uuid::nil()),
            reply: Box::new(|_| {}),
        };
        let receipt = |account| Command::Inbound {
            provider: Arc::from("p"),
            account: Arc::from(account),
            scope: None,
            items: Vec::new(),
            reply: Box::new(|_| {}),
        };
        (0..MOST).for_each(|_| {
            push(cancel("a"));
            push(receipt("a"));
        });
        assert!(!push(cancel("a")) && !push(receipt("a")));
        assert!(push(cancel("b")) && push(receipt("b")));
        let at = |is_it: fn(&Command) -> bool| {
            let taken = inbox.take(None);
            taken.iter().position(|(command, _)| is_it(command))
        };
        let is_b = |command: &Command| matches!(command, Command::Cancel { tenant, .. } if &**tenant == "b");
        assert_eq!(at(is_b), Some(1), "behind one of the others");
    }
}
