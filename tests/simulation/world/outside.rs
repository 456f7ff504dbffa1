//! The others' side: callers, providers, and the network between.

use dispatch::{
    contents::DayKeys,
    engine::{InboundReport, Made, answer_of},
};
use dispatch_contract::{
    AdapterError, ErrorKind, Fault, Receipt, Report, Retry, Status, UnixMillis,
};

use super::*;
use crate::{judge::Told, shared::plans};

impl World<'_> {
    pub(super) fn happen(&mut self, happening: Happening) -> Fine {
        let is_ours = matches!(
            happening,
            Happening::Start
                | Happening::Back { .. }
                | Happening::BackRecall { .. }
                | Happening::Impatient { .. }
        );
        if is_ours && self.now < self.asleep_until {
            self.arrange(self.asleep_until, happening);
            return Ok(());
        }
        match happening {
            Happening::Reload { number } => self.reload(number),
            Happening::Suspend { for_ms } => self.suspend(for_ms),
            Happening::Start => self.start()?,
            Happening::Create { caller, round } => self.create(caller, round),
            Happening::Cancel { id, tenant, round } => self.cancel(id, tenant, round),
            Happening::Erase { id, round } => self.erase(id, round),
            Happening::Wish { wish, round } => self.wish(wish, round)?,
            Happening::Leave { call } => self.leave(call)?,
            Happening::Reach { call } => self.reach(call)?,
            Happening::Back { call } => self.back(call)?,
            Happening::ReachRecall { recall } => self.reach_recall(recall),
            Happening::BackRecall { recall } => self.back_recall(recall),
            Happening::Tell { report, route } => self.tell(report, route),
            Happening::Flush { route } => {
                let items = std::mem::take(&mut self.gathered[route]);
                self.hook(route, items);
            }
            Happening::Knock { hook } => self.knock(hook),
            Happening::SetWall { by_ms } => {
                self.note(None, || format!("the wall clock is set by {by_ms} ms"));
                self.machine.set_wall(by_ms);
                self.wakes_soon();
            }
            Happening::Impatient { life } => {
                if life == self.life {
                    self.stop();
                }
            }
        }
        Ok(())
    }

    fn create(&mut self, index: usize, round: u32) {
        if self.is_content[index] {
            return;
        }
        let caller = &self.callers[index];
        let mut dice =
            Dice::of(self.scenario.seed, &[8, u64::from(caller.index), u64::from(round)]);
        let gives_up = caller.request_id.is_none() && dice.percent(60);
        if round > 0 && gives_up || round > 30 {
            return;
        }
        let again_at = self.now + dice.span(200, 120_000) + (100 << round.min(16));
        let plan = if round > 0 && dice.percent(20) { &caller.other_plan } else { &caller.plan };
        let request = caller.request(plan);
        let (tenant, request_id) = (Arc::clone(&caller.tenant), caller.request_id.clone());
        let number = caller.index;
        self.arrange(again_at, Happening::Create { caller: index, round: round + 1 });
        let Some(service) = self.service.as_ref().filter(|service| !service.is_draining) else {
            return;
        };
        if self.now < self.asleep_until {
            return;
        }
        let created_at = service.clock.moment();
        let random = Dice::of(self.scenario.seed, &[9, u64::from(number), u64::from(round)]).any();
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&random.to_be_bytes());
        let uuid =
            uuid::Builder::from_unix_timestamp_millis(created_at.engine.0, &bytes).into_uuid();
        let id = WorkflowId::new(uuid, &tenant, request_id.as_deref());
        let digest = request.digest();
        let keeper = Arc::clone(&self.judge.contents);
        let record = plans::sealed(&keeper, id, created_at, request, request_id.as_deref());
        let requester = self.requester(number, &tenant);
        let record = Record { tenant, requester, policy: self.scenario.policy, ..record };
        self.names.insert(id, number);
        let given = Arc::new(record.clone());
        let asked = Arc::clone(&given);
        let acks = Arc::clone(&self.acks);
        let reply = Box::new(move |made: Result<Made, EngineError>| {
            let answer = made.and_then(|it| it.answer(&keeper, Some(&digest)));
            lock(&acks).push(Ack::Created { caller: index, round, record: asked, answer });
        });
        let input = Command::Create { record: Box::new(record), reply };
        self.hand_in(input, vec![Given::Create(given)]);
        self.note(Some(id), || format!("caller {number} asks for it, round {round}"));
    }

    pub(super) fn told_created(
        &mut self,
        index: usize,
        round: u32,
        answer: &Result<Created, EngineError>,
        at: u64,
    ) {
        let caller = &self.callers[index];
        let mut dice =
            Dice::of(self.scenario.seed, &[10, u64::from(caller.index), u64::from(round)]);
        if dice.percent(20) {
            // The answer is lost on its way; the caller will ask again.
            return;
        }
        match answer {
            Ok(Created { id, .. }) => {
                let (id, tenant) = (*id, Arc::clone(&caller.tenant));
                let erases = caller.erases.clone();
                for after in caller.cancels.clone() {
                    let tenant = Arc::clone(&tenant);
                    self.arrange(at + after, Happening::Cancel { id, tenant, round: 0 });
                }
                for after in erases {
                    self.arrange(at + after, Happening::Erase { id, round: 0 });
                }
                if dice.percent(3) {
                    // A stranger tries.
                    let tenant = Arc::from("a stranger");
                    self.arrange(at + 1, Happening::Cancel { id, tenant, round: 0 });
                }
                self.is_content[index] = true;
            }
            Err(EngineError::RouteSaturated { .. } | EngineError::Unavailable) => {}
            Err(_) => self.is_content[index] = true,
        }
    }

    fn cancel(&mut self, id: WorkflowId, tenant: Arc<str>, round: u32) {
        let acks = Arc::clone(&self.acks);
        let whose = Arc::clone(&tenant);
        let reply = Box::new(move |answer| {
            lock(&acks).push(Ack::Canceled { id, tenant: whose, answer });
        });
        let again = Happening::Cancel { id, tenant: Arc::clone(&tenant), round: round + 1 };
        let given = Given::Cancel { tenant: Arc::clone(&tenant), id };
        if self.hand_in(Command::Cancel { tenant, id, reply }, vec![given]) {
            self.note(Some(id), || "a cancel arrives".to_owned());
        } else if round < 20 {
            self.arrange(self.now + 10_000, again);
        }
    }

    /// A call's bytes arrive, and the provider takes the message.
    fn reach(&mut self, index: usize) -> Fine {
        let Call { order, route, life, left_at, .. } = &self.calls[index];
        let left_at = *left_at;
        let (attempt, number, route, life) = (order.attempt, order.call, *route, *life);
        let id = WorkflowId(attempt.workflow);
        let mut dice = self.dice(11, id, u64::from(attempt.number) << 16 | u64::from(number));
        let is_cut = life != self.life || self.service.is_none();
        if is_cut && dice.percent(50) {
            // The service died before all of it had left.
            return Ok(());
        }
        let leeway_ms = self.scenario.commit_ms + self.most_delay_ms();
        let spec = &self.scenario.routes[route];
        let more = u64::from(attempt.number) << 16 | u64::from(number);
        // The same for each call of it: the provider cuts up what it is given.
        let mut parts = self.dice(25, id, u64::from(attempt.number));
        let parts = if spec.in_parts { parts.one(&[1, 2, 2, 3]) } else { 1 };
        let times = (left_at, leeway_ms);
        let (provider_ids, is_new) = self.providers.take(spec, attempt, parts, times);
        self.note(Some(id), || {
            let known = if is_new { "takes" } else { "already has" };
            format!("the provider {known} attempt {} as {provider_ids:?}", attempt.number)
        });
        self.calls[index].provider_ids.clone_from(&provider_ids);
        self.calls[index].taken_at = self.now;
        if !is_new {
            return Ok(());
        }
        self.figures.messages += 1;
        self.judge.sent(attempt)?;
        let step = usize::from(self.calls[index].order.step);
        let plan = self.judge.cases.get(&id).map(|case| &case.record.plan);
        let rule = plan.and_then(|plan| plan.steps[step].failover);
        // A provider that echoes our id leaves it out now and then.
        let mut names = self.dice(13, id, more);
        let expiry_ms = rule.and_then(|failover| failover.expiry_ms);
        for (part, provider_id) in (0..).zip(&provider_ids) {
            // Each part has luck of its own; that of the first is the message's.
            let mut of_part = self.dice(26, id, more << 16 | part);
            let dice = if part == 0 { &mut dice } else { &mut of_part };
            for (after, report) in crate::provider::fate(dice, expiry_ms) {
                let names_it = (spec.echoes && !names.percent(15)).then_some(attempt);
                let says_id = names_it.is_none() || dice.percent(70) || provider_ids.len() > 1;
                let told = Told {
                    scope: (spec.provider, spec.account),
                    attempt: names_it,
                    provider_id: says_id.then(|| provider_id.clone()),
                    report,
                };
                self.will_tell(told, after, index, part);
            }
        }
        if dice.percent(5) {
            // Somebody else's message, by the same account or by an id that looks like ours.
            let told = Told {
                scope: (spec.provider, spec.account),
                attempt: dice.percent(50).then(|| AttemptId {
                    workflow: if dice.percent(50) { attempt.workflow } else { Uuid::max() },
                    number: 999,
                }),
                provider_id: Some("a stranger's".to_owned()),
                report: Report::Reached(Status::Read),
            };
            self.arrange(self.now, Happening::Tell { report: Given::Receipt(told), route });
        }
        let other = names.below(self.scenario.routes.len() as u64) as usize;
        let scope = (self.scenario.routes[other].provider, self.scenario.routes[other].account);
        if scope != (spec.provider, spec.account) && names.percent(10) {
            // Another account speaks of our message: it is none of its business.
            let (attempt, provider_id) = (Some(attempt), provider_ids.first().cloned());
            let told = Told { scope, attempt, provider_id, report: Report::Reached(Status::Read) };
            let route = other;
            self.arrange(self.now + 1, Happening::Tell { report: Given::Receipt(told), route });
        }
        Ok(())
    }

    /// What came of a call comes back, if the service that made it still lives.
    fn back(&mut self, index: usize) -> Fine {
        self.learn(index)?;
        let call = &self.calls[index];
        let life = call.life;
        let spec = &self.scenario.routes[call.route];
        let took_ms = self.now.saturating_sub(call.made_at);
        let answer = match (&call.held_back, &call.course.answer) {
            (Some(answer), _) => answer.clone(),
            (None, Some((after, error))) if *after < spec.timeout_ms => match error {
                Some(error) => answer_of(error.clone(), None),
                None => SendResult::Accepted { provider_ids: call.provider_ids.clone() },
            },
            _ => {
                let (kind, fault) = (ErrorKind::Timeout, Fault::Provider);
                answer_of(AdapterError::new(kind, fault, Retry::Unknown, "no answer in time"), None)
            }
        };
        let SendOrder { attempt, call: number, route, .. } = call.order.clone();
        if life != self.life {
            return Ok(());
        }
        let is_accepted = matches!(answer, SendResult::Accepted { .. });
        let entered = self.entered(index).filter(|_| is_accepted);
        let given = Given::SendResult {
            attempt,
            call: number,
            route: Arc::clone(&route),
            answer: answer.clone(),
            entered: entered.clone(),
        };
        let note = format!("call {number} of attempt {} is back: {answer:?}", attempt.number);
        let days = self.service.as_ref().map(|service| &service.days);
        let sent = entered.zip(days);
        let sent = sent.map(|(it, days)| watermarks::conversation_send(&it, days));
        let conversation = sent.map(Box::new);
        let input =
            Command::SendResult { attempt, call: number, route, answer, took_ms, conversation };
        self.hand_in(input, vec![given]);
        self.note(Some(WorkflowId(attempt.workflow)), || note);
        Ok(())
    }

    /// Other routes, or the same under other names.
    fn reload(&mut self, number: u64) {
        let mut dice = Dice::of(self.scenario.seed, &[17, number]);
        let specs = &self.scenario.routes;
        let names = Names::all(specs).without_one(&mut dice).renamed(&mut dice, 1000 + number);
        let table = routes::table(specs, &names);
        let note = format!("other routes: {names:?}");
        let for_webhooks = (names.clone(), Arc::new(table.clone()));
        let input = Command::Routes { table, reply: Box::new(|_| {}) };
        if self.hand_in(input, vec![Given::Routes(Arc::new(names))]) {
            if let Some(service) = &mut self.service {
                service.edge = for_webhooks;
            }
            self.note(None, || note);
        }
    }

    /// Nothing runs for a while, and whoever knocks finds nobody; the clocks go on.
    fn suspend(&mut self, for_ms: u64) {
        self.note(None, || format!("the machine sleeps for {for_ms} ms"));
        self.asleep_until = self.asleep_until.max(self.now + for_ms);
        if let Some(service) = &mut self.service {
            service.free_at = service.free_at.max(self.asleep_until);
        }
        self.wakes_soon();
    }

    /// A nap is over within a second, and then the writer finds the clocks otherwise.
    fn wakes_soon(&mut self) {
        let mut dice = Dice::of(self.scenario.seed, &[15, self.arranged]);
        let Some(service) = &mut self.service else { return };
        let soon = self.now.max(self.asleep_until) + dice.below(1001);
        service.wakes_at = Some(service.wakes_at.map_or(soon, |at| at.min(soon)));
    }

    fn tell(&mut self, report: Given, route: usize) {
        if !self.route(route).bundles_receipts {
            return self.hook(route, vec![report]);
        }
        if self.gathered[route].is_empty() {
            self.arrange(self.now + 700, Happening::Flush { route });
        }
        self.gathered[route].push(report);
    }

    fn hook(&mut self, route: usize, items: Vec<Given>) {
        self.hooks.push(Hook { route, items, rounds: 0, is_answered: false });
        self.arrange(self.now, Happening::Knock { hook: self.hooks.len() - 1 });
    }

    /// A provider calls our webhook, and again until it has an answer.
    fn knock(&mut self, index: usize) {
        let hook = &mut self.hooks[index];
        if hook.is_answered {
            return;
        }
        hook.rounds += 1;
        let (rounds, route) = (hook.rounds, hook.route);
        let wait = 5000 << rounds.min(9);
        self.arrange(self.now + wait, Happening::Knock { hook: index });
        let spec = &self.scenario.routes[route];
        let hook = &self.hooks[index];
        let Some(service) = &self.service else { return };
        let edge = (&service.days, service.clock.moment().engine);
        let inbound = hook.items.iter().filter_map(|given| inbound(given, edge)).collect();
        let acks = Arc::clone(&self.acks);
        let input = Command::Inbound {
            provider: Arc::from(spec.provider),
            account: Arc::from(spec.account),
            scope: None,
            items: inbound,
            reply: Box::new(move |answer| {
                if answer.is_ok() {
                    lock(&acks).push(Ack::Taken { hook: index });
                }
            }),
        };
        let items = hook.items.clone();
        if !self.hand_in(input, items.clone()) {
            return;
        }
        self.figures.receipts += items.len() as u64;
        for given in items {
            match given {
                Given::Receipt(told) => {
                    let id = self.judge.whose(&told).unwrap_or(WorkflowId(Uuid::nil()));
                    self.note(Some(id), || format!("a receipt arrives: {told:?}"));
                }
                told => self.note(None, || format!("it is told: {told:?}")),
            }
        }
    }
}

/// As the edge hands it to the writer.
fn inbound(given: &Given, edge: (&DayKeys, UnixMillis)) -> Option<InboundReport> {
    if let Given::Watermark(told) = given {
        return Some(watermarks::inbound(told, edge));
    }
    let Given::Receipt(Told { attempt, provider_id, report, .. }) = given else { return None };
    let (attempt, provider_id) = (*attempt, provider_id.clone());
    // Who quotes a message of ours is told to the writer so, too.
    Some(InboundReport::Receipt(Receipt {
        attempt,
        provider_id,
        report: *report,
        provider_time: None,
        code: None,
        detail: None,
        usage: None,
    }))
}
