//! A workflow and what surrounds it: the time, the journal, and what the providers really did.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use dispatch::machine::{
    self, Attempt, AttemptState, Deadline, Event, Fact, Moment, OnLateSuccess, Phase,
    RECALL_WAIT_MS, RecallResult, StepStatus, Workflow,
};
use dispatch_contract::{Report, Status, UnixMillis};

use super::{
    model::RECALL_ANSWERS,
    promise::{Broken, Promise},
    setting::{START, Setting},
};

/// One state of the model. Everything that can bear on what follows is in its hash; see there.
#[derive(Clone, Debug)]
pub struct World {
    pub setting: Arc<Setting>,
    pub workflow: Workflow,
    pub now: UnixMillis,
    /// What is durable. A batch's facts are committed together before anything of them is acted on,
    /// so that a death falls between two rows and never inside one.
    pub journal: Option<Arc<Row>>,
    /// What became of each attempt in truth.
    pub sent: Vec<Sent>,
    /// How often the service may still die.
    pub deaths: u8,
    /// How often time may still run past something that is due: once, while the service is down.
    pub delays: u8,
    /// How many receipts may still come after the end.
    pub late_receipts: u8,
    /// The service died: waits may be held.
    pub is_recovered: bool,
    /// While the workflow was open, a step was told to have reached its condition.
    pub told_success: bool,
    /// When the first acceptance or unknown outcome of each step became known, from the facts.
    clocks: Vec<Option<UnixMillis>>,
    pub broken: Broken,
}

/// A journal row, and the one before it.
#[derive(Debug)]
pub struct Row {
    pub before: Option<Arc<Row>>,
    pub at: UnixMillis,
    pub facts: Vec<Fact>,
}

/// An attempt in truth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sent {
    /// The call that is on the network.
    pub out: Option<Call>,
    /// Calls whose outcome nobody learned and that have not reached the provider: `[those that fall
    /// under an earlier message's id, those that do not]`. They may still reach it.
    pub astray: [u8; 2],
    /// Messages that the provider made of it.
    pub messages: u8,
    pub recall: Recall,
}

/// How far a message's recall is in truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Recall {
    /// Nobody asked for it.
    #[default]
    None,
    /// Its provider is asked, and an answer waited for until then.
    Asked {
        until: UnixMillis,
        /// An answer may still come.
        is_out: bool,
    },
    /// It was answered, or waited for.
    Over,
}

/// A call in truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub number: u16,
    /// The provider makes no second message of it.
    pub is_honoured: bool,
    /// The provider has it.
    pub has_landed: bool,
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.setting.number == other.setting.number && self.workflow == other.workflow
    }
}

/// Life.
impl World {
    pub fn new(setting: Arc<Setting>, deaths: u8) -> World {
        let mut world = World {
            workflow: setting.workflow(),
            now: START,
            journal: None,
            sent: Vec::new(),
            deaths,
            delays: 0,
            late_receipts: 1,
            is_recovered: false,
            told_success: false,
            clocks: vec![None; setting.plan.steps.len()],
            broken: Broken::default(),
            setting,
        };
        let before = world.workflow.clone();
        let now = world.moment();
        let facts = machine::create(&mut world.workflow, now, &world.setting.routes);
        world.commit(before, facts);
        world
    }

    /// Tells the machine, and makes durable what follows. False if nothing does.
    pub fn tell(&mut self, event: Event) -> bool {
        let before = self.workflow.clone();
        let now = self.moment();
        let facts = machine::handle(&mut self.workflow, now, event, &self.setting.routes);
        if facts.is_empty() {
            // What decides nothing changes nothing.
            self.broken.add_unless(before == self.workflow, Promise::ReplayIsTheState);
            return false;
        }
        self.commit(before, facts);
        true
    }

    /// The service dies and starts again: the state is what the journal says, and what was out is
    /// lost.
    pub fn die(&mut self) {
        let mut replayed = self.setting.workflow();
        for row in self.rows() {
            for fact in &row.facts {
                replayed.apply(Moment::both(row.at), fact);
            }
        }
        self.broken.add_unless(replayed == self.workflow, Promise::ReplayIsTheState);
        self.workflow = replayed;
        for sent in &mut self.sent {
            sent.lose(self.workflow.steps.len() == 1);
            sent.is_answered();
        }
        self.deaths = self.deaths.saturating_sub(1);
        self.delays = 1;
        self.is_recovered = true;
        for attempt in self.workflow.unanswered() {
            self.tell(Event::Lost { attempt });
        }
    }

    /// The journal, oldest row first.
    pub fn rows(&self) -> Vec<Arc<Row>> {
        let next = |row: &Arc<Row>| row.before.clone();
        let mut rows: Vec<_> = std::iter::successors(self.journal.clone(), next).collect();
        rows.reverse();
        rows
    }

    /// Notes that a provider told this much of an attempt, before the machine hears it.
    pub fn note_told(&mut self, attempt: u16, status: Status) {
        let Some(step) = self.workflow.attempt(attempt).map(|attempt| attempt.step) else { return };
        self.told_success |= !self.workflow.has_ended() && status >= self.setting.target(step);
    }

    /// Here both clocks show the same.
    pub fn moment(&self) -> Moment {
        Moment::both(self.now)
    }

    /// What the workflow must be woken for next.
    pub fn deadline(&self) -> Option<Deadline> {
        self.workflow.deadlines().next(self.moment())
    }

    /// When something next depends on time: what the machine wants to be woken for, and what only
    /// bounds it.
    pub fn next_moment(&self) -> Option<UnixMillis> {
        let workflow = &self.workflow;
        let mut moments: Vec<_> = self.deadline().map(|deadline| deadline.at).into_iter().collect();
        moments.extend(workflow.valid_until.map(|until| UnixMillis(until.0 + 1)));
        if let Some(index) = workflow.active_step() {
            let step = &workflow.steps[usize::from(index)];
            if let (None, Some(from), true) =
                (step.clock_at, step.active_at, self.setting.routes.are_several())
            {
                // From here no other route is tried.
                moments.push(UnixMillis(from.engine.0 + workflow.send_within(index) * 3 / 4 + 1));
            }
            for (_, attempt) in workflow.attempts_of(index) {
                moments.extend(honoured_until(attempt).map(|until| UnixMillis(until.0 + 1)));
            }
        }
        moments.into_iter().filter(|at| *at > self.now).min()
    }
}

/// Promises.
impl World {
    fn commit(&mut self, before: Workflow, facts: Vec<Fact>) {
        let (phase, ended_at) = (before.phase, before.ended_at);
        let had_ended = before.has_ended();
        let was_erased = before.is_erased;
        let decided: Vec<_> = before.steps.iter().map(|step| step.status).collect();
        let planned = before.attempts.len();
        let mut replayed = before;
        for fact in &facts {
            self.judge(&replayed, fact, had_ended);
            replayed.apply(self.moment(), fact);
        }
        let mut broken = self.broken;
        broken.add_unless(replayed == self.workflow, Promise::ReplayIsTheState);
        let is_nameless = |fact: &Fact| match fact {
            Fact::LateSendResult { provider_ids, .. } => {
                provider_ids.as_ref().is_none_or(Vec::is_empty)
            }
            _ => false,
        };
        let is_kept = !was_erased || facts.iter().all(is_nameless);
        broken.add_unless(is_kept, Promise::NothingKeptOfTheErased);
        for found in machine::check(&self.workflow) {
            let number = found.id.trim_start_matches('M').parse::<usize>().unwrap_or(1);
            broken.add_unless(false, super::promise::PROMISES[number - 1].0);
        }
        if had_ended {
            let is_same = phase == self.workflow.phase
                && ended_at == self.workflow.ended_at
                && decided.iter().eq(self.workflow.steps.iter().map(|step| &step.status))
                && planned == self.workflow.attempts.len();
            broken.add_unless(is_same, Promise::EndIsFinal);
        }
        self.broken = broken;
        let row = Row { before: self.journal.take(), at: self.now, facts };
        self.journal = Some(Arc::new(row));
        self.judge_state();
    }

    /// `fact` was decided on `state`; the world's own workflow is further already.
    fn judge(&mut self, state: &Workflow, fact: &Fact, had_ended: bool) {
        match fact {
            Fact::AttemptPlanned { .. } => {
                self.sent.push(Sent::default());
                self.broken.add_unless(!had_ended, Promise::NoStartAfterTheEnd);
            }
            Fact::AttemptStarted { attempt, call, .. } => {
                let is_valid = state.valid_until.is_none_or(|until| self.now <= until);
                self.broken.add_unless(is_valid, Promise::NoStartAfterValidUntil);
                self.broken.add_unless(!state.has_ended(), Promise::NoStartAfterTheEnd);
                let step = state.attempt(*attempt).map(|attempt| attempt.step);
                let is_running = step == state.active_step();
                self.broken.add_unless(is_running, Promise::OnlyTheRunningStepSends);
                let is_asking = self.asked_back(state).next().is_some();
                self.broken.add_unless(!is_asking, Promise::NextWaitsForTheRecall);
                let number = usize::from(*attempt) - 1;
                let is_honoured = state.attempt(*attempt).is_some_and(|attempt| {
                    let is_first = attempt.started_at.is_none();
                    let until = honoured_until(attempt);
                    attempt.properties.idempotent_for_ms.is_some()
                        && (is_first || until.is_some_and(|until| self.now <= until))
                });
                self.sent[number].out =
                    Some(Call { number: *call, is_honoured, has_landed: false });
            }
            Fact::AttemptAccepted { attempt, .. } | Fact::AttemptUnknown { attempt, .. } => {
                let step = state.attempt(*attempt).map_or(0, |attempt| attempt.step);
                self.clocks[usize::from(step)].get_or_insert(self.now);
            }
            Fact::StepStarted { step } if *step > 0 => {
                let before = state.steps[usize::from(*step) - 1].status;
                let is_left =
                    matches!(before, StepStatus::Failed | StepStatus::Expired | StepStatus::Met);
                self.broken.add_unless(is_left, Promise::StepsInOrder);
            }
            Fact::StepExpired { step, .. } => {
                let due = self.clocks[usize::from(*step)]
                    .map(|from| from.0 + self.setting.patience_ms(*step));
                let is_due = due.is_some_and(|due| self.now.0 >= due);
                self.broken.add_unless(is_due, Promise::NeverEarly);
                // What failed, as its provider told, is waited for no longer.
                let is_asking = self.asked_back(state).any(|attempt| attempt.failure.is_none());
                self.broken.add_unless(!is_asking, Promise::NextWaitsForTheRecall);
                let goes_on = usize::from(*step) + 1 < state.steps.len()
                    && state.valid_until.is_none_or(|until| self.now <= until);
                // What is accepted while another is asked back is left where it is.
                let is_asked = |(number, _): (u16, &Attempt)| {
                    self.sent[usize::from(number) - 1].recall != Recall::None
                };
                let is_there = |(_, attempt): (u16, &Attempt)| {
                    attempt.state == AttemptState::Accepted && attempt.failure.is_none()
                };
                let is_asked = !(self.setting.routes.recall() && goes_on)
                    || state.attempts_of(*step).any(is_asked)
                    || !state.attempts_of(*step).any(is_there);
                self.broken.add_unless(is_asked, Promise::AskedBackInTime);
            }
            Fact::RecallStarted { attempt, .. } => self.judge_recall(state, *attempt),
            Fact::RecallEnded { attempt, .. } => {
                self.sent[usize::from(*attempt) - 1].recall = Recall::Over;
            }
            // The others promise nothing of themselves.
            _ => {}
        }
    }

    /// The provider's answer to an attempt was heard: it took the message, and told what it calls it. `before` is
    /// how the workflow was.
    pub fn judge_answer(&mut self, before: &Workflow, number: u16) {
        let names_it = |fact: &Fact| match fact {
            Fact::AttemptAccepted { attempt, provider_ids, .. }
            | Fact::LateSendResult { attempt, provider_ids: Some(provider_ids), .. } => {
                *attempt == number && !provider_ids.is_empty()
            }
            _ => false,
        };
        let is_known = self.journal.iter().flat_map(|row| &row.facts).any(names_it);
        let was_accepted = before.attempt(number).is_some_and(Attempt::is_accepted);
        let mut expected = before.clone();
        if let Some(attempt) = expected.attempts.get_mut(usize::from(number) - 1) {
            attempt.is_answered = true;
        }
        expected.sequence += 1;
        expected.updated_at = self.moment();
        let is_kept = before.is_erased || is_known && (!was_accepted || expected == self.workflow);
        self.broken.add_unless(is_kept, Promise::AnswerIsKept);
    }

    /// A message is asked back.
    fn judge_recall(&mut self, state: &Workflow, number: u16) {
        let Some(attempt) = state.attempt(number) else { return };
        let step = attempt.step;
        let due =
            self.clocks[usize::from(step)].map(|from| from.0 + self.setting.patience_ms(step));
        let has_had_its_time = due.is_some_and(|due| self.now.0 >= due);
        let is_followed = usize::from(step) + 1 < state.steps.len();
        let is_valid = state.valid_until.is_none_or(|until| self.now <= until);
        let is_taken = attempt.state == AttemptState::Accepted && attempt.failure.is_none();
        let is_right = has_had_its_time && is_followed && is_valid && is_taken;
        self.broken.add_unless(is_right, Promise::AskedBackInTime);
        let sent = &mut self.sent[usize::from(number) - 1];
        self.broken.add_unless(sent.recall == Recall::None, Promise::AskedBackOnce);
        let until = UnixMillis(self.now.0 + RECALL_WAIT_MS);
        sent.recall = Recall::Asked { until, is_out: true };
    }

    /// The attempts of which the answer to a recall may still come. Of a step that was left it is waited for no
    /// longer, whatever its provider tells later: that it was left in its time is judged there.
    fn asked_back<'a>(&'a self, state: &'a Workflow) -> impl Iterator<Item = &'a Attempt> {
        let sent = self.sent.iter().zip(&state.attempts);
        let asked = sent.filter(|(sent, attempt)| {
            let is_active = state.steps[usize::from(attempt.step)].status == StepStatus::Active;
            is_active && sent.asked_until().is_some_and(|until| self.now < until)
        });
        asked.map(|(_, attempt)| attempt)
    }

    fn judge_state(&mut self) {
        let workflow = &self.workflow;
        let mut broken = self.broken;
        if let Some(step) = workflow.active_step()
            && let Some(from) = self.clocks[usize::from(step)]
        {
            // What is asked back is waited for beyond it.
            let asked = self.sent.iter().filter_map(Sent::asked_until).max();
            let end = from.0 + self.setting.patience_ms(step);
            let end = asked.map_or(end, |until| until.0.max(end));
            let is_bounded = self.deadline().is_some_and(|deadline| deadline.at.0 <= end);
            broken.add_unless(is_bounded, Promise::ClockNeverRestarts);
        }
        let succeeded = matches!(workflow.phase, Phase::Ended(machine::EndState::Succeeded, _));
        let canceled = matches!(workflow.phase, Phase::Ended(machine::EndState::Canceled, _));
        broken.add_unless(!succeeded || self.told_success, Promise::SuccessIsTold);
        let is_kept = match self.setting.plan.on_late_success {
            OnLateSuccess::Stop => succeeded,
            OnLateSuccess::Continue => succeeded || canceled || !workflow.has_ended(),
        };
        broken.add_unless(!self.told_success || is_kept, Promise::SuccessIsKept);
        self.broken = broken;
    }

    /// The provider takes a call. What it makes of it is counted.
    pub fn land(&mut self, attempt: usize, is_honoured: bool) {
        let sent = &mut self.sent[attempt];
        if !(is_honoured && sent.messages > 0) {
            sent.messages += 1;
        }
        self.broken.add_unless(self.sent[attempt].messages <= 1, Promise::OneIdOneMessage);
        let step = self.workflow.attempts[attempt].step;
        let of_step =
            || self.sent.iter().zip(&self.workflow.attempts).filter(|(_, a)| a.step == step);
        let messages: u8 = of_step().map(|(sent, _)| sent.messages).sum();
        let counted = of_step().filter(|(_, attempt)| attempt.possible_duplicate).count();
        let is_counted = usize::from(messages) <= 1 + counted;
        self.broken.add_unless(is_counted, Promise::DoublesAreCounted);
    }

    /// Stale and repeated events: each was true once, and none may decide anything now.
    pub fn is_deaf_to_the_past(&self) -> bool {
        let mut workflow = self.workflow.clone();
        let mut stale = vec![
            Event::PermitGranted { attempt: 0 },
            Event::PermitGranted { attempt: 99 },
            Event::Rerouted,
        ];
        if self.deadline().is_none_or(|deadline| deadline.at > self.now) {
            stale.push(Event::Wake { up_since: START, hold: false });
        }
        if workflow.is_erased {
            stale.push(super::model::erase());
        }
        for (number, (attempt, sent)) in (1..).zip(workflow.attempts.iter().zip(&self.sent)) {
            if workflow.is_erased {
                // Whatever it says.
                for status in Status::ALL {
                    let update = super::model::update(Report::Reached(status));
                    stale.push(Event::Update { attempt: number, update, up_since: START });
                }
            }
            if workflow.has_ended() || workflow.wants_permit() != Some(number) {
                stale.push(Event::PermitGranted { attempt: number });
            }
            if attempt.state != AttemptState::Started {
                stale.push(Event::Lost { attempt: number });
            }
            if workflow.has_ended() || !matches!(attempt.state, AttemptState::Recalling { .. }) {
                for result in RECALL_ANSWERS.map(RecallResult::from) {
                    stale.push(Event::RecallResult { attempt: number, result, up_since: START });
                }
            }
            for call in 1..=attempt.calls {
                // What was accepted, and whose answer was lost, would be told something new by it.
                let is_news = attempt.is_accepted() && !attempt.is_answered;
                if sent.out.is_none_or(|out| out.number != call) && !is_news {
                    for answer in super::model::some_answers() {
                        stale.push(Event::SendResult { attempt: number, call, result: answer });
                    }
                }
            }
            let lower = Status::ALL.into_iter().filter(|rung| *rung <= attempt.status);
            let lower = lower.filter(|rung| attempt.calls == 0 || *rung > Status::Pending);
            let failed = attempt.failure.filter(|_| attempt.calls > 0).map(Report::Failed);
            for report in lower.map(Report::Reached).chain(failed) {
                let update = super::model::update(report);
                stale.push(Event::Update { attempt: number, update, up_since: START });
            }
        }
        let routes = &self.setting.routes;
        let told = |event| machine::handle(&mut workflow, self.moment(), event, routes);
        stale.into_iter().map(told).all(|facts| facts.is_empty()) && workflow == self.workflow
    }
}

impl Sent {
    /// Nobody will learn how its call went.
    pub fn lose(&mut self, may_land_late: bool) {
        if let Some(call) = self.out.take()
            && !call.has_landed
            && may_land_late
        {
            self.astray[usize::from(!call.is_honoured)] += 1;
        }
    }

    /// The answer to a recall came, or will not come any more.
    pub fn is_answered(&mut self) {
        if let Recall::Asked { is_out, .. } = &mut self.recall {
            *is_out = false;
        }
    }

    /// Until when its recall is waited for, if it is.
    pub fn asked_until(&self) -> Option<UnixMillis> {
        match self.recall {
            Recall::Asked { until, .. } => Some(until),
            Recall::None | Recall::Over => None,
        }
    }
}

/// Until when a repeated call of an attempt makes no second message.
fn honoured_until(attempt: &Attempt) -> Option<UnixMillis> {
    let (from, ms) = (attempt.started_at?, attempt.properties.idempotent_for_ms?);
    Some(UnixMillis(from.engine.0 + ms))
}

/// What decides. Times count from now on, because the machine knows no epoch, and only those that
/// are still looked at; texts, provider ids and how a message failed decide nothing.
///
/// Of several steps, those that were left are told apart only by what may still happen to them and by
/// whether they reached their condition, and ended workflows only by what may still be recorded. The
/// rules look at no more; for a single step nothing is taken to be so.
impl Hash for World {
    fn hash<H: Hasher>(&self, hash: &mut H) {
        (self.setting.number, self.broken).hash(hash);
        let workflow = &self.workflow;
        let active = workflow.active_step();
        let is_single = workflow.steps.len() == 1;
        for (attempt, sent) in workflow.attempts.iter().zip(&self.sent) {
            (attempt.step, sent.out).hash(hash);
            if let Recall::Asked { until, is_out } = sent.recall {
                (until.0.saturating_sub(self.now.0), is_out).hash(hash);
            }
            std::mem::discriminant(&sent.recall).hash(hash);
            if is_single || active == Some(attempt.step) {
                std::mem::discriminant(&attempt.state).hash(hash);
                (attempt.status, attempt.failure.is_some()).hash(hash);
            }
        }
        let from_now = |at: UnixMillis| at.0.saturating_sub(self.now.0);
        match workflow.phase {
            Phase::Scheduled => (0_u8, workflow.send_at.map(from_now)).hash(hash),
            Phase::Running(index) => self.hash_running(index, hash),
            Phase::Ended(state, reason) => {
                let has_message = |sent: &Sent| sent.messages > 0;
                let messages: Vec<_> = self.sent.iter().map(has_message).collect();
                (2_u8, state, reason, self.late_receipts, messages, workflow.is_erased).hash(hash);
            }
        }
    }
}

impl World {
    fn hash_running<H: Hasher>(&self, index: u8, hash: &mut H) {
        // What is due is due, however long.
        let from_now = |at: UnixMillis| at.0.saturating_sub(self.now.0);
        let since = |at: UnixMillis| self.now.0 - at.0;
        let workflow = &self.workflow;
        (1_u8, index, self.deaths, self.delays, self.told_success).hash(hash);
        for (attempt, sent) in workflow.attempts.iter().zip(&self.sent) {
            (sent.astray, sent.messages, attempt.possible_duplicate).hash(hash);
            if attempt.step == index {
                (&attempt.route, attempt.calls.min(1), attempt.is_uncertain).hash(hash);
            } else {
                (attempt.status >= self.setting.target(attempt.step)).hash(hash);
            }
        }
        for step in &workflow.steps {
            (step.status == StepStatus::Met).hash(hash);
        }
        let step = &workflow.steps[usize::from(index)];
        match step.clock_at {
            Some(at) => (true, since(at.engine)).hash(hash),
            None => (false, step.active_at.map(|at| since(at.engine))).hash(hash),
        }
        self.clocks[usize::from(index)].map(since).hash(hash);
        workflow.valid_until.map(|until| from_now(UnixMillis(until.0 + 1))).hash(hash);
        for (_, attempt) in workflow.attempts_of(index) {
            match attempt.state {
                AttemptState::RetryScheduled { retry_at } => from_now(retry_at).hash(hash),
                AttemptState::Planned | AttemptState::Started => {}
                AttemptState::Unknown { wait_until } => {
                    from_now(wait_until).hash(hash);
                    continue;
                }
                // Until when it is asked back is hashed with what became of it.
                AttemptState::Accepted
                | AttemptState::Recalling { .. }
                | AttemptState::Rejected => continue,
            }
            // The number of the call decides how long the next is put off.
            attempt.calls.hash(hash);
            let honoured = honoured_until(attempt).map(|until| from_now(UnixMillis(until.0 + 1)));
            honoured.hash(hash);
        }
    }
}
