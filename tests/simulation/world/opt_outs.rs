//! Who wants messages, as persons, callers and providers say it, and the look at that right before each call.

use dispatch::engine::{Addressed, LastCheck, NewOptOut, OptOutFilter, OptOutSource};
use dispatch_contract::{ChannelSender, ErrorKind, OptOut};

use super::*;
use crate::{
    scenario::{SENDER, Wish, Wisher, person},
    shared::engines::NoSenders,
};

/// The longest that a call which was ordered waits for its turn.
const MOST_DELAY_MS: u64 = 200;

impl World<'_> {
    /// How much longer than its mark a call may take to leave.
    pub(super) fn most_delay_ms(&self) -> u64 {
        if self.scenario.wishes.is_empty() { 0 } else { MOST_DELAY_MS }
    }

    /// Leaves, or will: threads are busy, and its record may have to be read.
    pub(super) fn gets_ready(&mut self, call: usize) -> Fine {
        if self.most_delay_ms() == 0 {
            return self.leave(call);
        }
        let Call { order, made_at, .. } = &self.calls[call];
        let (id, at) = (WorkflowId(order.attempt.workflow), *made_at);
        let mut dice =
            self.dice(22, id, u64::from(order.attempt.number) << 16 | u64::from(order.call));
        let delay = if dice.percent(50) { 0 } else { dice.span(1, MOST_DELAY_MS) };
        let call_of = &mut self.calls[call];
        call_of.made_at += delay;
        call_of.left_at += delay;
        self.arrange(at + delay, Happening::Leave { call });
        Ok(())
    }

    /// A call leaves, unless its service is gone or something stands against it now.
    pub(super) fn leave(&mut self, index: usize) -> Fine {
        let call = &self.calls[index];
        let (Some(service), Some(store)) = (&self.service, &self.store) else { return Ok(()) };
        if call.life != self.life {
            return Ok(());
        }
        let (mut order, route, at) = (call.order.clone(), call.route, call.made_at);
        let id = WorkflowId(order.attempt.workflow);
        if order.record.is_none() {
            order.record = mortal::kept(store).reader().record(id).ok().flatten();
        }
        let now = service.clock.moment().wall;
        let check = LastCheck {
            routes: &call.routes,
            senders: &NoSenders,
            contents: &self.judge.contents,
            opt_outs: &service.opt_outs,
        };
        let asked = check.ready(&order, now);
        let (number, attempt) = (order.call, order.attempt.number);
        if let Err(answer) = asked.map(drop) {
            self.judge.held_back(&order, route, &answer)?;
            self.note(Some(id), || {
                format!("call {number} of attempt {attempt} is held back: {answer:?}")
            });
            self.figures.held_back += 1;
            self.calls[index].held_back = Some(answer);
            self.arrange(at, Happening::Back { call: index });
            return Ok(());
        }
        self.judge.leaves(&order, route)?;
        self.note(Some(id), || {
            format!("call {number} of attempt {attempt} leaves by {}", order.route)
        });
        self.figures.calls += 1;
        let (course, timeout) = (&self.calls[index].course, self.route(route).timeout_ms);
        let back = course.answer.as_ref().map_or(timeout, |(after, _)| timeout.min(*after));
        if let Some(after) = course.acts_after {
            self.arrange(at + after, Happening::Reach { call: index });
        }
        self.arrange(at + back, Happening::Back { call: index });
        Ok(())
    }

    /// Somebody says who wants messages, and again until that is answered.
    pub(super) fn wish(&mut self, index: usize, round: u32) -> Fine {
        let wish = &self.scenario.wishes[index];
        let again = Happening::Wish { wish: index, round: round + 1 };
        let again_at = self.now + (5000 << round.min(9));
        let mut dice = Dice::of(self.scenario.seed, &[23, index as u64, u64::from(round)]);
        if round > 20 {
            return Ok(());
        }
        let free_at = self.service.as_ref().map(|service| service.free_at);
        let Some(free_at) = free_at.filter(|_| self.now >= self.asleep_until) else {
            self.arrange(again_at, again);
            return Ok(());
        };
        if free_at > self.now {
            // In the middle of a batch nothing here happens, as nobody dies there but in its commit.
            self.arrange(free_at, Happening::Wish { wish: index, round });
            return Ok(());
        }
        let luck = dice.below(100);
        if luck < 4 {
            self.arrange(again_at, again);
            self.die(between(&mut dice));
            return Ok(());
        }
        self.keep(wish)?;
        self.figures.wishes += 1;
        match luck {
            4..8 => {
                self.arrange(again_at, again);
                self.die(between(&mut dice));
            }
            // Our answer is lost.
            8..18 => self.arrange(again_at, again),
            _ => self.judge.wish_answered(wish),
        }
        Ok(())
    }

    fn keep(&mut self, wish: &Wish) -> Fine {
        let Some(service) = &self.service else { return Ok(()) };
        let (now, recipient) = (service.clock.moment().wall, person(wish.person));
        let opt_outs = &service.opt_outs;
        let kept = match &wish.of {
            Wisher::Person { scope, channel } => {
                let (names, routes) = &service.edge;
                let is_there = self.scenario.routes.iter().enumerate().any(|(at, route)| {
                    names.of(at).is_some()
                        && (route.provider, route.account) == *scope
                        && route.channel == *channel
                });
                if !is_there {
                    // Nobody sends from there: it is about nothing.
                    return Ok(());
                }
                let sender = ChannelSender { channel: channel.clone(), id: SENDER.to_owned() };
                let told = OptOut { sender, recipient, is_lifted: wish.is_lifted };
                let account = Arc::from(format!("{}/{}", scope.0, scope.1));
                opt_outs.told(&account, None, routes, &[told], now).map(drop)
            }
            Wisher::Caller { tenant, channel, sender } if wish.is_lifted => {
                let filter = OptOutFilter {
                    tenant: Some(Arc::clone(tenant)),
                    channel: Some(channel.clone()),
                    sender: sender.clone(),
                    recipient: Some(recipient),
                };
                opt_outs.lift(&filter).map(drop)
            }
            Wisher::Caller { tenant, channel, sender } => {
                let row = NewOptOut {
                    tenant: Arc::clone(tenant),
                    channel: channel.clone(),
                    sender: sender.clone(),
                    recipient,
                    account: None,
                    source: OptOutSource::Caller,
                    create_time: now,
                };
                opt_outs.add(vec![row], 0).map(drop)
            }
        };
        kept.map_err(|error| broken(STORE, &error))?;
        self.judge.wished(wish);
        self.note(None, || format!("it is said: {wish:?}"));
        Ok(())
    }

    /// A provider that refuses a message because its recipient wants none is believed.
    pub(super) fn learn(&mut self, index: usize) -> Fine {
        let call = &self.calls[index];
        let spec = self.route(call.route);
        let is_refused = call.course.answer.as_ref().is_some_and(|(after, error)| {
            *after < spec.timeout_ms
                && error.as_ref().is_some_and(|error| error.kind == ErrorKind::OptedOut)
        });
        let is_heard = call.life == self.life && call.held_back.is_none();
        if self.scenario.wishes.is_empty() || !is_refused || !is_heard {
            return Ok(());
        }
        let id = WorkflowId(call.order.attempt.workflow);
        let (Some(service), Some(case)) = (&self.service, self.judge.cases.get(&id)) else {
            return Ok(());
        };
        let step = &case.record.plan.steps[usize::from(call.order.step)];
        // The adapter's call has it from before; here it is too late to ask whom it was about.
        if case.is_destroyed {
            return Ok(());
        }
        let contents = self.judge.contents.open(&case.record);
        let contents = contents.map_err(|error| broken(STORE, &error))?;
        let Some(recipient) = contents.recipient(call.order.step) else { return Ok(()) };
        let account = format!("{}/{}", spec.provider, spec.account);
        let addressed = Addressed {
            tenant: &case.record.tenant,
            channel: &step.channel,
            sender: &step.sender,
            recipient,
            account: &account,
        };
        let now = service.clock.moment().wall;
        service.opt_outs.refused(addressed, false, now).map_err(|error| broken(STORE, &error))?;
        let (order, route) = (call.order.clone(), call.route);
        self.judge.refused_for_it(&order, route);
        Ok(())
    }
}

/// The service dies between two batches.
fn between(dice: &mut Dice) -> Death {
    Death {
        commit: 0,
        point: Point::AfterAcks,
        down_ms: dice.span(1, 60_000),
        wall_step_ms: 0,
        reboots: false,
        rewinds_ms: 0,
    }
}
