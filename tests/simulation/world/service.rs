//! The service's lives: the production writer is stepped on virtual time, until it dies.

use std::ops::ControlFlow;

use dispatch::store::Settings;

use super::*;

/// How many batches a world may have: the busiest have some thousands.
const MOST_BATCHES: u64 = 200_000;
/// How long a drain is waited for.
const PATIENCE_MS: u64 = 15_000;
/// The longest sleep of the writer, and how often it notes how the clocks stand.
const NAP_MS: u64 = 1000;
const NOTE_MS: u64 = 10_000;

/// A life of the service.
pub(super) struct Service {
    pub(super) writer: Writer,
    pub(super) inbox: Arc<Inbox>,
    pub(super) clock: Arc<Watched>,
    pub(super) life: Life,
    /// Who wants no messages.
    pub(super) opt_outs: OptOuts,
    /// What conversations are called.
    pub(super) days: DayKeys,
    /// Destroys keys of what has ended long ago.
    pub(super) ages: AgePass,
    /// The routes as its edges know them.
    pub(super) edge: (Names, Arc<RouteTable>),
    /// Who makes callbacks, if anybody wants some.
    pub(super) followed: Option<callbacks::Followed>,
    news: watch::Receiver<Cursor>,
    started_at: u64,
    grace_until: u64,
    /// Whether something waits for the writer.
    pub(super) has_inputs: bool,
    /// When it wakes up by itself; never, while all that it would do is take naps.
    pub(super) wakes_at: Option<u64>,
    /// When the disk is done with the last batch.
    pub(super) free_at: u64,
    last_batch_at: u64,
    previous: Option<Moment>,
    pub(super) is_draining: bool,
    /// Whether it has taken that up.
    has_paused: bool,
    idle_batches: u32,
}

impl Service {
    /// When its writer will take its next batch, in true time.
    pub(super) fn next_batch(&self, now: u64) -> Option<u64> {
        let wants = if self.has_inputs { Some(now) } else { self.wakes_at };
        wants.map(|at| at.max(self.free_at))
    }

    pub(super) fn is_recovering(&self) -> bool {
        self.writer.processor().is_recovering()
    }

    /// Until when it sleeps, since `at`. Naps in which nothing can happen are leapt over, but for some.
    fn sleeps(&mut self, at: u64, wait: Option<Duration>, is_nap_taken: bool) -> Fine {
        let wait = wait.map_or(u64::MAX, |wait| wait.as_millis() as u64);
        if wait > NAP_MS {
            return Err(broken(NAPS, &format!("it sleeps for {wait} ms")));
        }
        let now = self.clock.moment();
        let due = self.clock.alarm().expected(now);
        let due = due.map(|due| at + due.0.saturating_sub(now.engine.0));
        if due.is_some_and(|due| due < at + wait) {
            return Err(broken(NAPS, &format!("it sleeps from {at} for {wait} ms, past {due:?}")));
        }
        let takes_it = wait < NAP_MS || is_nap_taken;
        self.wakes_at = if takes_it { Some(at + wait) } else { due };
        Ok(())
    }
}

impl World<'_> {
    pub(super) fn start(&mut self) -> Fine {
        let store = match self.store.take() {
            Some(store) => store,
            None => self.open()?,
        };
        let keeps = mortal::kept(&store);
        let machine = Box::new(self.machine.clone());
        let clock = SystemClock::of(machine, keeps.clock(), keeps.last_time());
        let clock = Arc::new(Watched::new(clock));
        let now = clock.moment();
        let started_at = now.engine.0;
        self.elapsed(now, keeps.last_time().engine.0)?;
        let grace_length = Duration::from_millis(self.scenario.grace_ms);
        let grace_until = Grace::new(now.engine, grace_length, keeps.grace_given_ms()).until.0;
        self.judge.reopened(&*keeps.reader())?;
        drop(keeps);
        self.life += 1;
        // Now and then somebody takes a route out of the configuration.
        let mut dice = Dice::of(self.scenario.seed, &[12, u64::from(self.life)]);
        let names = Names::all(&self.scenario.routes).without_one(&mut dice);
        let mut dice = Dice::of(self.scenario.seed, &[16, u64::from(self.life)]);
        let names = names.renamed(&mut dice, u64::from(self.life));
        let table = routes::table(&self.scenario.routes, &names);
        self.out.clear();
        self.note(None, || format!("the service starts, at engine time {}", started_at - START));
        let seen = BatchSeen {
            now: started_at,
            wall: now.wall.0,
            life: self.life,
            started_at,
            grace_until,
            previous: None,
        };
        let table = Arc::new(table);
        let edge = (names.clone(), Arc::clone(&table));
        let notes = Arc::clone(&self.notes);
        let settings: Arc<dyn Settings> =
            Arc::new(callbacks::Fading { kept: mortal::kept(&store).settings(), notes });
        let opt_outs =
            OptOuts::open(Arc::clone(&settings), self.judge.contents.rows(Family::OptOut))
                .map_err(|error| broken(STORE, &error))?;
        let days = DayKeys::open(Arc::clone(&settings), self.judge.contents.rows(Family::Day))
            .map_err(|error| broken(STORE, &error))?;
        self.judge.begun(&seen, names, self.scenario.grace_ms)?;
        let options = EngineOptions {
            policy: self.scenario.policy,
            recovery_grace: grace_length,
            retention: Duration::from_millis(self.scenario.retention_ms),
            space: SpaceLimits::default(),
            is_read_only: false,
            queue_warn: Duration::ZERO,
            lanes: self.scenario.lanes,
        };
        let acks = Arc::clone(&self.acks);
        let life = Life::new(self.deaths.pop_front(), acks, self.machine.clone());
        let inbox = Arc::new(Inbox::new(self.scenario.lanes));
        let mut writer = Writer::new(
            Box::new(Mortal {
                kept: Arc::clone(&store),
                life: life.clone(),
                notes: Arc::clone(&self.notes),
            }),
            table,
            Arc::clone(&inbox),
            Arc::clone(&clock) as Arc<dyn EngineClock>,
            Box::new(life.clone()),
            Arc::new(Metrics::new()),
            &options,
        );
        let reader = mortal::kept(&store).reader();
        let followed = self.follow(
            &settings,
            reader,
            Arc::clone(&clock) as Arc<dyn EngineClock>,
            Arc::clone(writer.feed()),
        )?;
        writer.wait();
        self.service = Some(Service {
            news: writer.feed().everything(),
            writer,
            inbox,
            clock,
            life,
            opt_outs,
            days,
            ages: AgePass::default(),
            edge,
            followed,
            started_at,
            grace_until,
            has_inputs: false,
            wakes_at: Some(self.now),
            free_at: self.now,
            last_batch_at: self.now,
            previous: None,
            is_draining: false,
            has_paused: false,
            idle_batches: 0,
        });
        self.store = Some(store);
        let looks_first = Dice::of(self.scenario.seed, &[34, u64::from(self.life)]).percent(50);
        if looks_first { self.tell_callers(true) } else { Ok(()) }
    }

    /// Engine time went on by what really passed, if that can be known: within a boot it can, and over
    /// one by a wall clock that nobody set. It never falls behind the journal.
    fn elapsed(&self, now: Moment, newest: u64) -> Fine {
        let engine = now.engine.0;
        if engine < newest {
            return Err(broken(ELAPSED, &format!("{engine}, and the journal is at {newest}")));
        }
        let Some((noted, then)) = &self.noted else { return Ok(()) };
        let told = engine.saturating_sub(*then);
        let Some((passed, leeway_ms)) = self.machine.passed(noted) else { return Ok(()) };
        if !(passed..=passed + leeway_ms).contains(&told) {
            return Err(broken(ELAPSED, &format!("{passed} ms passed, and {told} are told")));
        }
        Ok(())
    }

    fn open(&self) -> Result<Kept, Broken> {
        let store: Box<dyn Store> = match &self.folder {
            Some(folder) => {
                let options =
                    SledOptions { folder: folder.path().join("data"), cache_bytes: 16 << 20 };
                Box::new(options.open().map_err(|error| broken(STORE, &error))?)
            }
            None => Box::new(MemoryStore::new()),
        };
        Ok(Arc::new(Mutex::new(store)))
    }

    /// The service is gone, and with it all that was not durable.
    pub(super) fn die(&mut self, death: Death) {
        self.note(None, || format!("the service dies, {:?}", death.point));
        self.figures.deaths += 1;
        self.fade(death.point == Point::Drain).expect("what was noted can be kept");
        self.service = None;
        self.copier.stop();
        self.cut_streams();
        lock(&self.acks).clear();
        if self.folder.is_some() {
            self.store = None;
        }
        self.judge.died();
        self.machine.set_wall(death.wall_step_ms);
        self.machine.rewind(death.rewinds_ms);
        if death.reboots {
            self.machine.reboot();
        }
        // By then its last commit may have taken a while.
        self.arrange(self.machine.now() + death.down_ms, Happening::Start);
    }

    /// One step of the writer, and what comes of it.
    pub(super) fn one_batch(&mut self) -> Fine {
        let Some(service) = &mut self.service else { return Ok(()) };
        self.figures.batches += 1;
        let seed = self.scenario.seed;
        let mut dice = Dice::of(seed, &[5, self.figures.batches]);
        service.life.commits_take(dice.below(self.scenario.commit_ms + 1));
        let now = service.clock.moment();
        let was_recovering = service.is_recovering();
        let was_due = service.clock.alarm().is_due(now);
        service.has_inputs &= was_recovering;
        let seen = BatchSeen {
            now: now.engine.0,
            wall: now.wall.0,
            life: self.life,
            started_at: service.started_at,
            grace_until: service.grace_until,
            previous: service.previous,
        };
        let mut serve = || service.writer.serve(Some(Duration::ZERO));
        let kept = self.store.as_ref().filter(|_| self.folder.is_some());
        let served = match kept.map(|store| mortal::kept(store).reader()) {
            Some(reader) => self.judge.beside(&*reader, now.engine.0, serve)?,
            None => serve(),
        };
        let life = service.life.clone();
        let effects_at = self.machine.now();
        let mut ended = None;
        if life.is_dead() {
            // What it had taken is let go of with it, and what still waited is nobody's any more.
            ended = self.service.take().map(|service| (drop(service.writer), service.inbox));
        } else {
            let served = served.as_ref().map_err(|error| broken(STORE, error))?;
            let wait = service.writer.wait();
            if *served == ControlFlow::Continue(()) && !service.is_recovering() {
                service.sleeps(effects_at, wait, dice.percent(10))?;
            } else {
                service.wakes_at = Some(effects_at);
            }
            service.free_at = effects_at;
        }
        let BatchResult { given, has_committed, rows, orders, routes, recalls, broken: found } =
            life.take_result();
        let dead = ended.and_then(|_| life.end());
        if let Some(found) = found {
            return Err(found);
        }
        let point = dead.map(|death| death.point);
        if let (Some(Point::BeforeCommit), Some(death)) = (point, dead) {
            self.nothing_left(&orders, &recalls)?;
            self.die(death);
            return Ok(());
        }
        // In their batch routes go first, and a drain that came with them after that.
        let are_others = given.iter().any(|given| matches!(given, Given::Routes(_)));
        for given in &given {
            if let Given::SendResult { route, .. } = given {
                self.out.entry(Arc::clone(route)).and_modify(|out| *out -= 1);
            }
        }
        if let Some(service) = &mut self.service {
            let is_idle = given.is_empty() && !has_committed;
            let is_early = was_due || self.now < service.last_batch_at + NAP_MS;
            service.last_batch_at = self.now;
            service.idle_batches =
                if is_idle { service.idle_batches + u32::from(is_early) } else { 0 };
            if service.idle_batches > 100 || self.figures.batches > MOST_BATCHES {
                let alarm = service.clock.alarm();
                return Err(broken(SPIN, &format!("{alarm:?} is due at {now:?}")));
            }
        }
        if let Some(log) = &mut self.log {
            for row in &rows {
                for fact in &row.facts {
                    let text = format!("  [{}] {}", now.engine.0 - START, describe(fact));
                    log.push((self.now - START, Some(row.workflow), text));
                }
            }
        }
        if let Some(store) = &self.store {
            let reader = mortal::kept(store).reader();
            let exists = |id| reader.workflow(id).is_ok_and(|workflow| workflow.is_some());
            self.judge.durable(&seen, given, &rows, exists)?;
            if let Some(service) = self.service.as_ref().filter(|_| dice.percent(10)) {
                let trimmed = service.days.trim(&*reader, now.engine);
                trimmed.map_err(|error| broken(STORE, &error))?;
            }
        }
        if dice.percent(5) {
            self.age()?;
        }
        if let (Some(Point::AfterCommit), Some(death)) = (point, dead) {
            self.nothing_left(&orders, &recalls)?;
            self.die(death);
            return Ok(());
        }
        self.answered(effects_at)?;
        let routes = routes.unwrap_or_else(|| Arc::new(RouteTable::new(Vec::new())));
        for order in orders {
            let left_at = now.engine.0 + (effects_at - self.now);
            self.call(order, Arc::clone(&routes), (effects_at, left_at), are_others)?;
        }
        for order in recalls {
            self.recall(order, effects_at)?;
        }
        if let Some(service) = &mut self.service {
            service.has_paused |= service.is_draining;
        }
        if let Some(death) = dead {
            self.die(death);
            return Ok(());
        }
        self.settle(now, &rows, was_recovering)?;
        self.read(false)?;
        self.follow_some(&rows);
        self.watch(false)?;
        self.write_some()?;
        self.tell_callers(false)?;
        if served == Ok(ControlFlow::Break(())) {
            let stop = Death {
                commit: 0,
                point: Point::Drain,
                down_ms: 500,
                wall_step_ms: 0,
                reboots: false,
                rewinds_ms: 0,
            };
            self.die(stop);
        } else if let Some(death) = life.end() {
            self.drain(death);
        }
        Ok(())
    }

    /// Whoever died in its commit has said nothing.
    fn nothing_left(&self, orders: &[SendOrder], recalls: &[RecallOrder]) -> Fine {
        if lock(&self.acks).iter().any(Ack::is_promise) {
            return Err(broken(PROMISE, &"an answer left although the commit failed"));
        }
        if let Some(order) = recalls.first() {
            return Err(broken(RECALLS, &format!("{order:?} left")));
        }
        match orders.first() {
            Some(order) => Err(broken(STARTED_FIRST, &format!("{order:?} left"))),
            None => Ok(()),
        }
    }

    /// How the service is between two batches.
    fn settle(&mut self, now: Moment, rows: &[Arc<Row>], was_recovering: bool) -> Fine {
        let Some(service) = &mut self.service else { return Ok(()) };
        if let Some(noted) = service.life.take_noted() {
            self.noted = Some(noted);
        }
        let noted_at = self.noted.map_or(0, |(noted, _)| noted.at);
        if self.now >= noted_at + NOTE_MS {
            return Err(broken(NOTED, &format!("last at {noted_at}, and it is {}", self.now)));
        }
        let newest = *service.news.borrow();
        if rows.last().is_some_and(|last| last.cursor != newest) {
            return Err(broken(TOLD, &format!("of {newest:?}, and there is {:?}", rows.last())));
        }
        if service.is_recovering() {
            return Ok(());
        }
        service.previous = Some(now);
        if was_recovering {
            self.judge.recovered(self.life)?;
        }
        self.judge.sleeps(service.clock.alarm())?;
        if service.is_draining {
            return Ok(());
        }
        for (route, spec) in self.scenario.routes.iter().enumerate() {
            let Some(name) = self.judge.names().of(route) else { continue };
            if self.out.get(name).is_none_or(|out| *out < spec.concurrency) {
                self.judge.is_free(route)?;
            }
        }
        self.judge.all_on_their_way()
    }

    fn drain(&mut self, death: Death) {
        self.note(None, || "the service drains".to_owned());
        let Some(service) = &mut self.service else { return };
        service.is_draining = true;
        // The next life's death is as far away as this one's was.
        service.life.spare();
        self.machine.set_wall(death.wall_step_ms);
        let acks = Arc::clone(&self.acks);
        let reply = Box::new(move |()| lock(&acks).push(Ack::Drained));
        self.hand_in(Command::Drain { reply }, Vec::new());
        let life = self.life;
        self.arrange(self.now + PATIENCE_MS, Happening::Impatient { life });
    }

    pub(super) fn stop(&mut self) {
        self.hand_in(Command::Stop, Vec::new());
    }

    /// Hands an input to the service; whether it has room for it.
    pub(super) fn hand_in(&mut self, input: Command, given: Vec<Given>) -> bool {
        if self.now < self.asleep_until {
            return false;
        }
        let Some(service) = &mut self.service else { return false };
        let inbox = &service.inbox;
        let is_taken = service.life.offer(given, |busy| inbox.push(input, busy).is_ok());
        service.has_inputs |= is_taken;
        is_taken
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
                Ack::Erased { id, answer } => self.erased(id, &answer)?,
                Ack::Taken { hook } => {
                    let round = self.hooks[hook].rounds;
                    // Our answer may be lost, and then the provider tells it again.
                    let mut dice =
                        Dice::of(self.scenario.seed, &[6, hook as u64, u64::from(round)]);
                    self.hooks[hook].is_answered |= !dice.percent(10);
                }
                Ack::Drained => {
                    let out = self.service.as_ref();
                    let out = out.map_or(0, |service| service.writer.processor().calls_in_flight());
                    if out > 0 {
                        return Err(broken(DRAINED, &format!("{out} calls are out")));
                    }
                    self.stop();
                }
            }
        }
        Ok(())
    }

    /// A call is ordered, at a true time and the same in engine time.
    fn call(
        &mut self,
        order: SendOrder,
        routes: Arc<RouteTable>,
        (at, left_at): (u64, u64),
        are_others: bool,
    ) -> Fine {
        self.judge.ordered(&order, self.life)?;
        let id = WorkflowId(order.attempt.workflow);
        let drains = |service: &Service| service.has_paused || service.is_draining && !are_others;
        if self.service.as_ref().is_some_and(drains) {
            return Err(Broken {
                rule: DRAINED,
                detail: "a call leaves".to_owned(),
                workflow: Some(id),
            });
        }
        let Some(route) = self.judge.names().route(&order.route) else {
            return Err(broken(STORE, &"an order for a route that there is not"));
        };
        let reader = self.store.as_ref().map(|store| mortal::kept(store).reader());
        let kept = reader.and_then(|reader| reader.record(id).ok().flatten());
        if order.record.is_none() && kept.is_none() {
            let detail = "its record is gone".to_owned();
            return Err(Broken { rule: RECORDS, detail, workflow: Some(id) });
        }
        let most = self.route(route).concurrency;
        let out = self.out.entry(Arc::clone(&order.route)).or_default();
        *out += 1;
        if *out > most {
            return Err(Broken {
                rule: PLACES,
                detail: format!("{out} calls are out on {}", order.route),
                workflow: Some(id),
            });
        }
        let more = u64::from(order.attempt.number) << 16 | u64::from(order.call);
        let mut dice = self.dice(7, id, more);
        let spec = self.route(route);
        let trouble = self.scenario.trouble;
        let course =
            crate::provider::course(self.scenario.seed, route, spec, trouble, at, &mut dice);
        let (call, life) = (self.calls.len(), self.life);
        let (held_back, provider_ids, taken_at) = (None, Vec::new(), at);
        self.calls.push(Call {
            order,
            route,
            life,
            made_at: at,
            left_at,
            course,
            held_back,
            routes,
            provider_ids,
            taken_at,
        });
        self.gets_ready(call)
    }

    /// Readers look.
    pub(super) fn read(&mut self, all: bool) -> Fine {
        let Some(store) = &self.store else { return Ok(()) };
        let past = self.judge.past();
        let reader = mortal::kept(store).reader();
        for follower in &mut self.followers {
            follower.look(&*reader, &self.judge.journal, self.figures.batches, past, all)?;
        }
        let settings = mortal::kept(store).settings();
        self.copier.go_on(reader, settings, &self.judge, self.figures.batches)
    }
}
