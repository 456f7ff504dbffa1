//! What one small world is made of, all of it drawn from its seed: routes, callers, plans, and when
//! the service dies. A scenario can be thinned out, which is how a failure is made short.

use std::sync::Arc;

use dispatch::{
    contents::WorkflowRequest,
    engine::LaneLimits,
    machine::{
        FailoverCondition, OnLateSuccess, OnUnknown, Plan, PolicySnapshot, Priority, StepPlan,
    },
};
use dispatch_contract::{Channel, ContentKind, Endpoint, Status, UnixMillis};

use crate::{dice::Dice, shared::plans};

/// When every world begins, in milliseconds of the wall clock.
pub const START: u64 = 1_800_000_000_000;

/// From whom all messages are.
pub const SENDER: &str = "us";

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A world before it begins.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    /// Which of the world's callers take part.
    pub callers: Vec<u32>,
    pub deaths: Vec<Death>,
    /// When somebody sets the wall clock while the service runs or not, and by how many milliseconds.
    pub wall_sets: Vec<(u64, i64)>,
    /// When the machine is put to sleep, whether the service runs or not, and for how many milliseconds:
    /// its clocks go on, and nothing else does.
    pub suspends: Vec<(u64, u64)>,
    /// When the configuration is read anew.
    pub reloads: Vec<u64>,
    /// What persons and callers say about who wants messages; in many worlds nobody does, and no list is kept.
    pub wishes: Vec<Wish>,
    /// After how many batches callbacks are made; in many worlds nobody wants any: 0.
    pub callbacks_every: u64,
    /// How many follow what happens to many workflows; where somebody does, some follow single ones.
    pub watchers: u32,
    /// Whether some have erased what is personal of theirs.
    pub erases: bool,
    /// How much of the time providers are not well, in per cent.
    pub trouble: u64,
    pub policy: PolicySnapshot,
    pub grace_ms: u64,
    pub retention_ms: u64,
    /// In what time all callers come.
    pub spread_ms: u64,
    /// How long the disk may take for a commit.
    pub commit_ms: u64,
    pub routes: Vec<RouteSpec>,
    /// On files, reopened at each death.
    pub on_sled: bool,
    /// How many inputs may wait for the writer.
    pub lanes: LaneLimits,
}

/// Who wants no messages, or wants them again, and says so.
#[derive(Clone, Debug)]
pub struct Wish {
    pub at: u64,
    pub of: Wisher,
    /// The caller whose person it is.
    pub person: u32,
    /// Messages are wanted again.
    pub is_lifted: bool,
}

/// By whom it is heard, and so for whose messages it counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wisher {
    /// The person wrote to the sender that all write from, under an account.
    Person { scope: (&'static str, &'static str), channel: Channel },
    /// A tenant knows of it: for messages from one sender, or from every one.
    Caller { tenant: Arc<str>, channel: Channel, sender: Option<String> },
}

/// How one life of the service ends.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// With which of its commits, counted from 1.
    pub commit: u32,
    pub point: Point,
    pub down_ms: u64,
    /// By how much the wall clock is set meanwhile.
    pub wall_step_ms: i64,
    /// The machine starts anew too, and its clocks with it.
    pub reboots: bool,
    /// The machine is put back to what it was so long before: its clock since the boot goes back, and the
    /// store does not.
    pub rewinds_ms: u64,
}

/// Where in a batch it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Nothing of the batch is kept.
    BeforeCommit,
    /// All of it is kept, and nobody is told.
    AfterCommit,
    /// Callers are told, and no call leaves.
    AfterAcks,
    /// One call leaves, and no further one.
    AfterOneCall,
    /// A stop as it should be.
    Drain,
}

/// A route, and what stands behind it.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    pub name: Arc<str>,
    pub channel: Channel,
    pub tells: Vec<Status>,
    pub provider: &'static str,
    pub account: &'static str,
    pub concurrency: u32,
    pub timeout_ms: u64,
    pub idempotent_ms: Option<u64>,
    pub echoes: bool,
    /// It takes messages back.
    pub recalls: bool,
    /// Several receipts in one webhook.
    pub bundles_receipts: bool,
    /// Some messages go out in parts, each with an id and receipts of its own.
    pub in_parts: bool,
    /// It tells of conversations, by a clock of its own.
    pub watermarks: Option<ProviderClock>,
}

/// What a provider's account takes for the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderClock {
    /// By how many milliseconds it is ahead of the true time.
    pub ahead_ms: i64,
    /// Its answers say what it shows.
    pub is_told: bool,
}

/// Who wants something of the service.
#[derive(Clone, Debug)]
pub struct Caller {
    pub index: u32,
    pub tenant: Arc<str>,
    pub request_id: Option<String>,
    pub plan: Plan,
    /// What a confused caller asks for under the same request id.
    pub other_plan: Plan,
    pub comes_at: u64,
    /// How long after it learned the id it cancels, each time.
    pub cancels: Vec<u64>,
    /// How long after that somebody has it erased, each time.
    pub erases: Vec<u64>,
}

impl Scenario {
    pub fn new(seed: u64) -> Scenario {
        let mut dice = Dice::of(seed, &[1]);
        let size = dice.one(&[4, 16, 50, 50, 130]);
        let deaths = dice.one(&[0, 1, 3, 3, 10]);
        // Few callers mostly: what is tried there is time. In a crowd the order must survive it too.
        let is_small_loop = dice.percent(50) && size == 4;
        let sets = dice.one(&[0, 0, 1, 3]);
        let mut routes = routes(&mut dice);
        let mut recalls = Dice::of(seed, &[18]);
        for route in &mut routes {
            route.recalls = recalls.percent(40);
        }
        let mut parts = Dice::of(seed, &[24]);
        for route in &mut routes {
            route.in_parts = parts.percent(30);
        }
        let mut watermarks = Dice::of(seed, &[27]);
        for route in &mut routes {
            let tells = watermarks.percent(50) && route.tells.contains(&Status::Delivered);
            route.watermarks = tells.then(|| provider_clock(seed, route));
        }
        // Dice of their own, so that the worlds of old seeds stay what they were.
        let mut more = Dice::of(seed, &[14]);
        let is_loop = is_small_loop || Dice::of(seed, &[17]).percent(10);
        let narrow = LaneLimits { creates: 4, cancels: 2, receipts: 2 };
        let policy = PolicySnapshot {
            send_within_ms: dice.one(&[10 * SECOND, 5 * MINUTE, 15 * MINUTE]),
            last_send_within_ms: dice.one(&[10 * SECOND, 15 * MINUTE]),
            unknown_wait_ms: dice.one(&[0, 5 * SECOND, 30 * SECOND]),
            unconfirmed_after_ms: dice.one(&[MINUTE, HOUR, 72 * HOUR]),
            retry_base_ms: dice.one(&[100, SECOND]),
            retry_max_ms: dice.one(&[5 * SECOND, MINUTE]),
        };
        let sleeps = more.one(&[0, 0, 0, 1, 4]);
        let mut scenario = Scenario {
            seed,
            callers: (0..size).collect(),
            deaths: if is_loop {
                (0..60).map(|_| death_in_a_loop(&mut dice)).collect()
            } else {
                (0..deaths).map(|_| death(&mut dice)).collect()
            },
            wall_sets: (0..sets).map(|_| wall_set(&mut dice)).collect(),
            suspends: (0..sleeps).map(|_| suspend(&mut more)).collect(),
            reloads: Vec::new(),
            wishes: Vec::new(),
            erases: Dice::of(seed, &[36]).percent(50),
            callbacks_every: Dice::of(seed, &[31]).one(&[0, 0, 1, 3, 20, 100]),
            watchers: Dice::of(seed, &[37]).one(&[0, 0, 1, 3]),
            trouble: dice.one(&[0, 10, 40, 80]),
            policy,
            grace_ms: dice.one(&[0, 20 * SECOND, MINUTE, 10 * MINUTE]),
            retention_ms: dice.one(&[MINUTE, MINUTE, HOUR, DAY, 30 * DAY]),
            spread_ms: dice.one(&[1, SECOND, MINUTE, HOUR]),
            commit_ms: dice.one(&[0, 3, 50, 2 * SECOND]),
            routes,
            on_sled: dice.below(100) == 0,
            lanes: if more.percent(20) { narrow } else { LaneLimits::default() },
        };
        let reloads = more.one(&[0, 0, 1, 4]);
        scenario.reloads = (0..reloads).map(|_| START + more.span(1, 2 * HOUR)).collect();
        for death in &mut scenario.deaths {
            if more.percent(5) {
                death.rewinds_ms = more.span(1, MINUTE);
            }
        }
        scenario.wishes = scenario.drawn_wishes();
        scenario
    }

    /// The same world, as it was when nobody in it could say that no messages are wanted or wanted callbacks, all went
    /// out whole, and whatever was told named its message.
    pub fn made_plain(mut self) -> Scenario {
        self.wishes.clear();
        self.callbacks_every = 0;
        self.watchers = 0;
        self.erases = false;
        for route in &mut self.routes {
            (route.in_parts, route.watermarks) = (false, None);
        }
        self
    }

    fn drawn_wishes(&self) -> Vec<Wish> {
        let mut dice = Dice::of(self.seed, &[21]);
        let count = if dice.percent(40) { self.callers.len() } else { 0 };
        let wishes = (0..count).map(|_| {
            let person = dice.below(self.callers.len() as u64) as u32;
            let caller = self.caller(person);
            let steps = &caller.plan.steps;
            let channel = steps[dice.below(steps.len() as u64) as usize].channel.clone();
            let routes: Vec<_> = self.routes.iter().filter(|it| it.channel == channel).collect();
            let route = routes[dice.below(routes.len() as u64) as usize];
            let of = if dice.percent(50) {
                Wisher::Person { scope: (route.provider, route.account), channel }
            } else {
                let tenant = if dice.percent(80) { caller.tenant } else { Arc::from("a stranger") };
                let sender = dice.percent(50).then(|| SENDER.to_owned());
                Wisher::Caller { tenant, channel, sender }
            };
            // Around the first call; between retries and steps; any time.
            let after = dice.one(&[SECOND, MINUTE, HOUR]);
            let at = caller.comes_at + dice.below(after);
            Wish { at, of, person, is_lifted: dice.percent(30) }
        });
        wishes.collect()
    }

    pub fn caller(&self, index: u32) -> Caller {
        let mut dice = Dice::of(self.seed, &[2, u64::from(index)]);
        let comes_at = START + dice.below(self.spread_ms);
        let mut plan = self.plan(&mut dice, comes_at);
        let mut labels = Dice::of(self.seed, &[38, u64::from(index)]);
        for (key, value) in [("team", labels.one(&["a", "b"])), ("kind", "code")] {
            if labels.percent(60) {
                plan.labels.insert(key.to_owned(), value.to_owned());
            }
        }
        let mut other_plan = plan.clone();
        other_plan.client_ref = Some("something else".to_owned());
        let cancels = dice.one(&[0, 0, 0, 0, 1, 2]);
        let mut erasures = Dice::of(self.seed, &[35, u64::from(index)]);
        let is_erased = self.erases && erasures.percent(15);
        let erases = if is_erased { erasures.one(&[1, 1, 1, 2]) } else { 0 };
        let erases = (0..erases).map(|_| {
            // Around the first call; between retries and steps; any time.
            let within = erasures.one(&[SECOND, MINUTE, 2 * HOUR]);
            erasures.below(within)
        });
        let erases = erases.collect();
        // Two callers of two tenants may well use the same request id.
        let request_id = format!("request {}", index / 2);
        Caller {
            index,
            tenant: Arc::from(if index.is_multiple_of(2) { "default" } else { "other" }),
            request_id: dice.percent(70).then_some(request_id),
            plan,
            other_plan,
            comes_at,
            cancels: (0..cancels).map(|_| dice.span(1, 2 * HOUR)).collect(),
            erases,
        }
    }

    fn plan(&self, dice: &mut Dice, comes_at: u64) -> Plan {
        let count = dice.one(&[1, 1, 2, 2, 3, 5]);
        let steps = (1..=count).map(|number| {
            let route = &self.routes[dice.below(self.routes.len() as u64) as usize];
            let has_rule = number < count || dice.percent(40);
            let rule = has_rule.then(|| FailoverCondition {
                condition: dice.one(&route.tells),
                expiry_ms: (!dice.percent(6)).then(|| {
                    dice.one(&[SECOND, 5 * SECOND, MINUTE, 10 * MINUTE, HOUR]) + dice.below(50)
                }),
            });
            text_step(route.channel.clone(), rule)
        });
        let steps = steps.collect();
        let ahead = |ms: u64| UnixMillis(comes_at + ms);
        let send_at = dice.percent(15).then(|| ahead(dice.span(SECOND, HOUR)));
        Plan {
            send_at,
            valid_until: dice.percent(20).then(|| ahead(dice.span(SECOND, 2 * HOUR))),
            send_within_ms: dice.percent(20).then(|| dice.span(SECOND, 5 * MINUTE)),
            on_late_success: dice.one(&[OnLateSuccess::Stop, OnLateSuccess::Continue]),
            on_unknown: dice.one(&[OnUnknown::WaitReceipt, OnUnknown::Resend, OnUnknown::FailOver]),
            priority: dice.one(&[Priority::High, Priority::Normal, Priority::Low]),
            ..plans::plan(steps)
        }
    }
}

impl Caller {
    /// What it asks for by `plan`.
    pub fn request(&self, plan: &Plan) -> WorkflowRequest {
        let mut request = plans::request(plan.clone(), "x");
        for step in &mut request.contents.steps {
            step.recipient = person(self.index);
        }
        request
    }
}

/// A text from whom all messages are.
pub fn text_step(channel: Channel, failover: Option<FailoverCondition>) -> StepPlan {
    let sender = Endpoint::Id(SENDER.to_owned());
    StepPlan { channel, sender, content: ContentKind::Text, failover }
}

/// To whom a caller writes. Some share a person, so that a conversation has messages of several tenants.
pub fn person(caller: u32) -> Endpoint {
    Endpoint::Id(format!("person {}", caller / 3))
}

/// Mostly right, to the second, or quite wrong.
fn provider_clock(seed: u64, of: &RouteSpec) -> ProviderClock {
    let name = of.provider.bytes().chain(of.account.bytes()).map(u64::from);
    let purpose: Vec<u64> = std::iter::once(28).chain(name).collect();
    let mut dice = Dice::of(seed, &purpose);
    let most = dice.one(&[0, 0, SECOND, HOUR, 5 * DAY]) as i64;
    let ahead_ms = dice.between(0, 2 * most as u64) as i64 - most;
    ProviderClock { ahead_ms, is_told: dice.percent(70) }
}

fn death(dice: &mut Dice) -> Death {
    let points = [
        Point::BeforeCommit,
        Point::BeforeCommit,
        Point::AfterCommit,
        Point::AfterCommit,
        Point::AfterAcks,
        Point::AfterOneCall,
        Point::Drain,
    ];
    Death {
        commit: dice.span(1, 128) as u32,
        point: dice.one(&points),
        down_ms: dice.span(1, 8 * HOUR),
        wall_step_ms: if dice.percent(33) { step(dice) } else { 0 },
        reboots: dice.percent(30),
        rewinds_ms: 0,
    }
}

/// A service that does not get far: it dies within moments, and is started again.
fn death_in_a_loop(dice: &mut Dice) -> Death {
    Death {
        commit: dice.span(1, 4) as u32,
        point: dice.one(&[Point::BeforeCommit, Point::AfterCommit]),
        down_ms: dice.span(1, 20 * SECOND),
        wall_step_ms: 0,
        reboots: false,
        rewinds_ms: 0,
    }
}

/// By seconds, hours or days, forward or back.
fn step(dice: &mut Dice) -> i64 {
    let most = dice.one(&[10 * SECOND, 3 * HOUR, 5 * DAY]);
    let by_ms = dice.span(1, most) as i64;
    if dice.percent(50) { by_ms } else { -by_ms }
}

fn wall_set(dice: &mut Dice) -> (u64, i64) {
    (START + dice.span(1, 6 * HOUR), step(dice))
}

fn suspend(dice: &mut Dice) -> (u64, u64) {
    (START + dice.span(1, 6 * HOUR), dice.span(SECOND, 3 * HOUR))
}

fn routes(dice: &mut Dice) -> Vec<RouteSpec> {
    use Status::{Delivered, Read, Replied, Submitted};
    let pager = "pager".parse().expect("a channel's name");
    let channels: [(Channel, &[Status]); 5] = [
        (Channel::SMS, &[Submitted, Delivered]),
        (Channel::MESSENGER, &[Submitted, Delivered, Read]),
        (Channel::WHATSAPP, &[Submitted, Delivered, Read, Replied]),
        (Channel::VIBER, &[Submitted, Delivered, Read]),
        (pager, &[Submitted]),
    ];
    let mut routes = Vec::new();
    for (channel, tells) in channels {
        for number in 0..dice.between(1, 2) {
            routes.push(RouteSpec {
                name: Arc::from(format!("{channel}-{number}")),
                channel: channel.clone(),
                tells: tells.to_vec(),
                provider: dice.one(&["alpha", "beta"]),
                account: dice.one(&["main", "spare"]),
                concurrency: dice.one(&[1, 2, 8, 100]),
                timeout_ms: dice.one(&[2 * SECOND, 10 * SECOND, 100 * SECOND]),
                idempotent_ms: dice.one(&[None, None, Some(20 * SECOND), Some(DAY)]),
                echoes: dice.percent(60),
                recalls: false,
                bundles_receipts: dice.percent(30),
                in_parts: false,
                watermarks: None,
            });
        }
    }
    routes
}
