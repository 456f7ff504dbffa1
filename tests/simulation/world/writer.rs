//! The service's side: what the writer's thread does around a turn, and how it dies.

use super::*;

/// How often retention is seen to, and how much it takes at once, as the writer does it.
const SWEEP_MS: u64 = 10_000;
const SWEEP_ROWS: usize = 1000;
/// How many turns a world may have: the busiest have some thousands.
const MOST_TURNS: u64 = 200_000;
/// How long a drain is waited for.
const PATIENCE_MS: u64 = 15_000;

impl World<'_> {
    pub(super) fn start(&mut self) -> Fine {
        let store = match self.store.take() {
            Some(store) => store,
            None => self.open()?,
        };
        let readings = self.machine.readings(self.now);
        let keeper = Timekeeper::go_on(readings, store.clock(), store.last_time());
        let now = keeper.moment(readings);
        let started_at = now.engine.0;
        self.elapsed(now, store.last_time().engine.0)?;
        let grace_length = Duration::from_millis(self.scenario.grace_ms);
        let grace = Grace::new(now.engine, grace_length, store.grace_given_ms());
        let grace_until = grace.until.0;
        self.judge.reopened(&*store.reader())?;
        self.life += 1;
        // Now and then somebody takes a route out of the configuration.
        let mut dice = Dice::of(self.scenario.seed, &[12, u64::from(self.life)]);
        let gone = dice.percent(25).then(|| dice.below(self.scenario.routes.len() as u64) as usize);
        let turn = Turn::new(&*store, routes::table(&self.scenario.routes, gone), grace);
        self.out.fill(0);
        self.note(None, || format!("the service starts, at engine time {}", started_at - START));
        let seen = TurnSeen {
            now: started_at,
            wall: now.wall.0,
            life: self.life,
            started_at,
            grace_until,
            previous: None,
            gone,
        };
        self.judge.begun(&seen, self.scenario.grace_ms)?;
        self.service = Some(Service {
            gone,
            is_recovering: turn.is_recovering(),
            due: turn.next_due(&*store, now),
            turn,
            keeper,
            began: self.now,
            started_at,
            grace_until,
            inbox: Vec::new(),
            free_at: self.now,
            previous: None,
            next_sweep: started_at,
            death: self.deaths.pop_front(),
            is_draining: false,
            idle_turns: 0,
        });
        self.store = Some(store);
        Ok(())
    }

    /// Engine time went on by what really passed, if that can be known: within a boot it can, and over
    /// one by a wall clock that nobody set. It never falls behind the journal.
    fn elapsed(&self, now: Moment, newest: u64) -> Fine {
        let engine = now.engine.0;
        if engine < newest {
            return Err(broken(ELAPSED, &format!("{engine}, and the journal is at {newest}")));
        }
        let Some(noted) = &self.noted else { return Ok(()) };
        let is_known = noted.boot == self.machine.boot || noted.times_set == self.machine.times_set;
        let passed = (self.now - noted.at, engine.saturating_sub(noted.engine));
        // The journal's moments show the wall clock up to 3 ms late.
        let leeway_ms = if noted.boot == self.machine.boot { 0 } else { 3 };
        if is_known && !(passed.0..=passed.0 + leeway_ms).contains(&passed.1) {
            return Err(broken(
                ELAPSED,
                &format!("{} ms passed, and {} are told", passed.0, passed.1),
            ));
        }
        Ok(())
    }

    fn open(&self) -> Result<Box<dyn Store>, Broken> {
        match &self.folder {
            Some(folder) => {
                let options =
                    SledOptions { folder: folder.path().join("data"), cache_bytes: 16 << 20 };
                let store = SledStore::open(&options).map_err(|error| broken(STORE, &error))?;
                Ok(Box::new(store))
            }
            None => Ok(Box::new(MemoryStore::new())),
        }
    }

    /// The service is gone, and with it all that was not durable.
    fn die(&mut self, death: Death) {
        self.note(None, || format!("the service dies, {:?}", death.point));
        self.figures.deaths += 1;
        self.service = None;
        lock(&self.acks).clear();
        if self.folder.is_some() {
            self.store = None;
        }
        self.judge.died();
        self.machine.set_wall(death.wall_step_ms);
        if death.reboots {
            self.machine.boot += 1;
            self.machine.booted_at = self.now;
        }
        self.arrange(self.now + death.down_ms, Happening::Start);
    }

    /// One step of the writer: turn, commit, and only then let it happen.
    pub(super) fn turn(&mut self) -> Fine {
        let (Some(service), Some(store)) = (&mut self.service, &mut self.store) else {
            return Ok(());
        };
        self.figures.turns += 1;
        let now = service.moment(self.now, &self.machine);
        let mut waiting = std::mem::take(&mut service.inbox);
        waiting.sort_by_key(|waiting| waiting.lane);
        let stops = waiting.iter().any(|waiting| matches!(waiting.input, Input::Stop));
        let had_inputs = !waiting.is_empty();
        let mut given = Vec::new();
        let mut inputs = Vec::new();
        for Waiting { input, given: what, .. } in waiting {
            if let Input::Answer { route, .. } = &input
                && let Some(index) = self.scenario.routes.iter().position(|of| of.name == *route)
            {
                self.out[index] -= 1;
            }
            given.extend(what);
            inputs.push(input);
        }
        let seen = TurnSeen {
            now: now.engine.0,
            wall: now.wall.0,
            life: self.life,
            started_at: service.started_at,
            grace_until: service.grace_until,
            previous: service.previous,
            gone: service.gone,
        };
        let out = service.turn.run(&**store, now, inputs).map_err(|error| broken(STORE, &error))?;
        let Outbox { batch, acks, sends, broken: found, .. } = out;
        // A refusal promises nothing, and may be told at once.
        let promised = lock(&self.acks).iter().any(|ack| {
            !matches!(
                ack,
                Ack::Created {
                    answer: Err(EngineError::TooLate | EngineError::RouteSaturated { .. }),
                    ..
                }
            )
        });
        if promised {
            return Err(broken(PROMISE, &"an answer left in the middle of a turn"));
        }
        if let Some(found) = found.first() {
            return Err(broken(MACHINE, &format!("{}: {}", found.id, found.rule)));
        }

        let is_empty = batch.is_empty();
        service.idle_turns = if is_empty && !had_inputs { service.idle_turns + 1 } else { 0 };
        if service.idle_turns > 100 || self.figures.turns > MOST_TURNS {
            return Err(broken(SPIN, &format!("{:?} is due at {now:?}", service.due)));
        }
        let mut death = None;
        if !is_empty && let Some(next) = &mut service.death {
            next.commit = next.commit.saturating_sub(1);
            if next.commit == 0 {
                death = service.death.take();
            }
        }
        let point = death.map(|death| death.point);
        if let (Some(Point::BeforeCommit), Some(death)) = (point, death) {
            self.die(death);
            return Ok(());
        }
        let rows = if is_empty {
            Vec::new()
        } else {
            store.commit(batch).map_err(|error| broken(STORE, &error))?
        };
        if let Some(log) = &mut self.log {
            for row in &rows {
                for fact in &row.facts {
                    let text = format!("  [{}] {}", now.engine.0 - START, sentence(fact));
                    log.push((self.now - START, Some(row.workflow), text));
                }
            }
        }
        let reader = store.reader();
        let exists = |id| reader.workflow(id).is_ok_and(|workflow| workflow.is_some());
        self.judge.durable(&seen, given, &rows, exists)?;
        if let (Some(Point::AfterCommit), Some(death)) = (point, death) {
            self.die(death);
            return Ok(());
        }

        let commit_ms = if is_empty {
            0
        } else {
            Dice::of(self.scenario.seed, &[5, self.figures.turns])
                .below(self.scenario.commit_ms + 1)
        };
        let effects_at = self.now + commit_ms;
        for ack in acks {
            ack();
        }
        self.answered(effects_at)?;
        if let (Some(Point::AfterAcks), Some(death)) = (point, death) {
            self.die(death);
            return Ok(());
        }
        for order in sends {
            self.call(order, effects_at)?;
            if let (Some(Point::AfterOneCall), Some(death)) = (point, death) {
                self.die(death);
                return Ok(());
            }
        }
        if let (Some(Point::AfterOneCall), Some(death)) = (point, death) {
            self.die(death);
            return Ok(());
        }
        self.settle(now, effects_at)?;
        self.read(false)?;
        if stops {
            let stop = Death {
                commit: 0,
                point: Point::Drain,
                down_ms: 500,
                wall_step_ms: 0,
                reboots: false,
            };
            self.die(stop);
        } else if let Some(death) = death {
            self.drain(death);
        }
        Ok(())
    }

    /// What the writer does after a turn: retention, and looking for what is due.
    fn settle(&mut self, now: Moment, effects_at: u64) -> Fine {
        let (Some(service), Some(store)) = (&mut self.service, &mut self.store) else {
            return Ok(());
        };
        let engine = now.engine.0;
        if engine >= service.next_sweep {
            let note = service.keeper.note(self.machine.readings(self.now));
            store.note_clock(note).map_err(|error| broken(STORE, &error))?;
            let Machine { boot, times_set, .. } = self.machine;
            self.noted = Some(Noted { boot, times_set, at: self.now, engine });
            let before = UnixMillis(engine.saturating_sub(self.scenario.retention_ms));
            let swept = store
                .sweep(now.engine, before, SWEEP_ROWS)
                .map_err(|error| broken(STORE, &error))?;
            let is_more = swept.rows >= SWEEP_ROWS;
            service.next_sweep = if is_more { engine } else { engine + SWEEP_MS };
        }
        service.free_at = effects_at;
        service.due = service.turn.next_due(&**store, now);
        let was_recovering = service.is_recovering;
        service.is_recovering = service.turn.is_recovering();
        if service.is_recovering {
            return Ok(());
        }
        service.previous = Some(now);
        if was_recovering {
            self.judge.recovered(self.life)?;
        }
        self.judge.sleeps(service.due)?;
        if service.is_draining {
            return Ok(());
        }
        for (route, out) in self.out.iter().enumerate() {
            if *out < self.scenario.routes[route].concurrency && service.gone != Some(route) {
                self.judge.is_free(route)?;
            }
        }
        Ok(())
    }

    fn drain(&mut self, death: Death) {
        self.note(None, || "the service drains".to_owned());
        let Some(service) = &mut self.service else { return };
        service.is_draining = true;
        // The next life's death is as far away as this one's was.
        service.death = None;
        self.machine.set_wall(death.wall_step_ms);
        let acks = Arc::clone(&self.acks);
        let reply = Box::new(move |()| lock(&acks).push(Ack::Drained));
        service.inbox.push(Waiting { lane: 0, input: Input::Drain { reply }, given: None });
        let life = self.life;
        self.arrange(self.now + PATIENCE_MS, Happening::Impatient { life });
    }

    pub(super) fn stop(&mut self) {
        if let Some(service) = &mut self.service {
            service.inbox.push(Waiting { lane: 0, input: Input::Stop, given: None });
        }
    }

    /// What was promised goes out to who asked.
    fn answered(&mut self, at: u64) -> Fine {
        let acks = std::mem::take(&mut *lock(&self.acks));
        for ack in acks {
            match ack {
                Ack::Created { caller, round, record, answer } => {
                    self.judge.created(&record, &answer)?;
                    self.told_created(caller, round, &answer, at);
                }
                Ack::Canceled { id, tenant, answer } => {
                    self.judge.canceled(id, &tenant, &answer)?;
                }
                Ack::Taken { hook } => {
                    let round = self.hooks[hook].rounds;
                    // Our answer may be lost, and then the provider tells it again.
                    let mut dice =
                        Dice::of(self.scenario.seed, &[6, hook as u64, u64::from(round)]);
                    self.hooks[hook].is_answered |= !dice.percent(10);
                }
                Ack::Drained => {
                    let out = self.service.as_ref().map_or(0, |service| service.turn.calls_out());
                    if out > 0 {
                        return Err(broken(DRAINED, &format!("{out} calls are out")));
                    }
                    self.stop();
                }
            }
        }
        Ok(())
    }

    /// A call leaves.
    fn call(&mut self, order: SendOrder, at: u64) -> Fine {
        self.judge.ordered(&order, self.life)?;
        let id = WorkflowId(order.attempt.workflow);
        if self.service.as_ref().is_some_and(|service| service.is_draining) {
            return Err(Broken {
                rule: DRAINED,
                detail: "a call leaves".to_owned(),
                workflow: Some(id),
            });
        }
        let Some(route) = self.scenario.routes.iter().position(|of| of.name == order.route) else {
            return Err(broken(STORE, &"an order for a route that there is not"));
        };
        let reader = self.store.as_ref().map(|store| store.reader());
        let kept = reader.and_then(|reader| reader.record(id).ok().flatten());
        if order.record.is_none() && kept.is_none() {
            let detail = "its record is gone".to_owned();
            return Err(Broken { rule: RECORDS, detail, workflow: Some(id) });
        }
        self.out[route] += 1;
        if self.out[route] > self.route(route).concurrency {
            return Err(Broken {
                rule: PLACES,
                detail: format!("{} calls are out on {}", self.out[route], order.route),
                workflow: Some(id),
            });
        }
        let more = u64::from(order.attempt.number) << 16 | u64::from(order.call);
        let mut dice = self.dice(7, id, more);
        let trouble = self.scenario.trouble;
        let spec = self.route(route);
        let course =
            crate::provider::course(self.scenario.seed, route, spec, trouble, at, &mut dice);
        self.note(Some(id), || {
            format!(
                "call {} of attempt {} leaves by {}",
                order.call, order.attempt.number, order.route
            )
        });
        self.figures.calls += 1;
        let timeout = self.route(route).timeout_ms;
        let back = course.answer.as_ref().map_or(timeout, |(after, _)| timeout.min(*after));
        let call = self.calls.len();
        if let Some(after) = course.acts_after {
            self.arrange(at + after, Happening::Reach { call });
        }
        self.arrange(at + back, Happening::Back { call });
        let life = self.life;
        let left_at =
            self.service.as_ref().map_or(at, |service| service.moment(at, &self.machine).engine.0);
        self.calls.push(Call {
            order,
            route,
            life,
            made_at: at,
            left_at,
            course,
            provider_id: String::new(),
        });
        Ok(())
    }

    /// Readers look.
    pub(super) fn read(&mut self, all: bool) -> Fine {
        let Some(store) = &self.store else { return Ok(()) };
        let past = self.judge.past();
        let reader = store.reader();
        for follower in &mut self.followers {
            follower.look(&*reader, &self.judge.journal, self.figures.turns, past, all)?;
        }
        Ok(())
    }
}
