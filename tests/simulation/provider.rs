//! Providers that fail in every way a provider can, and honestly: one that says "not processed" did
//! not send. They remember what they really did, which is what doubles are counted by.

use std::collections::HashMap;

use dispatch_contract::{
    AdapterError, AttemptId, ErrorKind, Failure, Fault, Report, Retry, Status,
};

use crate::{dice::Dice, scenario::RouteSpec};

/// What will become of one call, counted from the moment it is made.
#[derive(Clone, Debug)]
pub struct Course {
    /// When the provider takes the message, if it does.
    pub acts_after: Option<u64>,
    /// What comes back; nothing may.
    pub answer: Option<(u64, Option<AdapterError>)>,
}

/// How a provider is at the moment.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    Throttling,
    Down,
    Broken,
    Slow,
    Refusing,
    Flapping,
}

/// What providers remember.
#[derive(Default)]
pub struct Providers {
    /// Messages by the id that we gave: where our id is honoured, a repeat finds its message here.
    /// They are its account's, by whichever route they came.
    taken: HashMap<(&'static str, &'static str, AttemptId), (Vec<String>, u64)>,
    /// The last number given to a message, for each provider's account.
    numbers: HashMap<(&'static str, &'static str), u64>,
}

impl Providers {
    /// A call arrives. The message's ids there, one a part of `parts`, and whether a message was made.
    ///
    /// What a provider declares is counted from the first call to the repeat, each when it leaves
    /// and by the engine's clock; the disk may keep a call that is STARTED for `leeway_ms`.
    pub fn take(
        &mut self,
        route: &RouteSpec,
        attempt: AttemptId,
        parts: u64,
        (left_at, leeway_ms): (u64, u64),
    ) -> (Vec<String>, bool) {
        let name = (route.provider, route.account, attempt);
        if let Some(honours_ms) = route.idempotent_ms
            && let Some((ids, at)) = self.taken.get(&name)
            && left_at <= at + honours_ms + leeway_ms
        {
            return (ids.clone(), false);
        }
        // Two providers, and two accounts of one, use the same ids.
        let number = self.numbers.entry((route.provider, route.account)).or_default();
        *number += 1;
        let ids: Vec<_> = match parts {
            1 => vec![format!("m{number}")],
            several => (1..=several).map(|part| format!("m{number}.{part}")).collect(),
        };
        self.taken.insert(name, (ids.clone(), left_at));
        (ids, true)
    }
}

/// What becomes of a call made at `now`.
pub fn course(
    seed: u64,
    index: usize,
    route: &RouteSpec,
    trouble: u64,
    now: u64,
    dice: &mut Dice,
) -> Course {
    let mood = mood(seed, index, trouble, now);
    let net = dice.span(1, 300);
    let think = dice.span(1, 1000);
    let fails = |error| Course { acts_after: None, answer: Some((net + think, Some(error))) };
    let mood = match mood {
        Mood::Flapping => dice.one(&[
            Mood::Well,
            Mood::Throttling,
            Mood::Down,
            Mood::Broken,
            Mood::Slow,
            Mood::Refusing,
        ]),
        other => other,
    };
    let luck = dice.below(100);
    match mood {
        Mood::Throttling if luck < 80 => fails(throttled(dice)),
        Mood::Down if luck < 90 => {
            fails(error(ErrorKind::Unreachable, Fault::Provider, not_done(None)))
        }
        Mood::Broken if luck < 40 => {
            fails(error(ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown))
        }
        Mood::Broken if luck < 80 => Course {
            acts_after: Some(net),
            answer: Some((
                net + think,
                Some(error(ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown)),
            )),
        },
        Mood::Broken => Course { acts_after: Some(net), answer: None },
        Mood::Slow => {
            // Around the timeout, and the message itself at once or only in the end.
            let back = dice.between(route.timeout_ms / 2, 2 * route.timeout_ms);
            let acts = if dice.percent(50) { net.min(back) } else { back };
            Course { acts_after: Some(acts), answer: Some((back + 1, None)) }
        }
        Mood::Refusing if luck < 80 => fails(rejection(dice)),
        _ if luck < 2 && trouble > 0 => Course { acts_after: Some(net), answer: None },
        _ => Course { acts_after: Some(net), answer: Some((net + think, None)) },
    }
}

fn mood(seed: u64, index: usize, trouble: u64, now: u64) -> Mood {
    // Each route has spells of its own length.
    let length = Dice::of(seed, &[3, index as u64]).span(2000, 3_600_000);
    let mut dice = Dice::of(seed, &[4, index as u64, now / length]);
    if !dice.percent(trouble) {
        return Mood::Well;
    }
    dice.one(&[
        Mood::Throttling,
        Mood::Down,
        Mood::Broken,
        Mood::Slow,
        Mood::Refusing,
        Mood::Flapping,
    ])
}

fn throttled(dice: &mut Dice) -> AdapterError {
    let after = dice.percent(50).then(|| dice.span(1, 120) * 1000);
    error(ErrorKind::Throttled, Fault::Provider, not_done(after))
}

fn rejection(dice: &mut Dice) -> AdapterError {
    let (kind, fault) = dice.one(&[
        (ErrorKind::InvalidRecipient, Fault::Recipient),
        (ErrorKind::Unreached, Fault::Recipient),
        (ErrorKind::OptedOut, Fault::Recipient),
        (ErrorKind::OutsideWindow, Fault::Recipient),
        (ErrorKind::ContentRejected, Fault::Content),
        (ErrorKind::InvalidRequest, Fault::Content),
        (ErrorKind::Unauthorized, Fault::Account),
        (ErrorKind::InsufficientFunds, Fault::Account),
        (ErrorKind::Forbidden, Fault::Provider),
        (ErrorKind::ProviderFailure, Fault::Provider),
        (ErrorKind::ProviderFailure, Fault::Provider),
    ]);
    error(kind, fault, Retry::Permanent)
}

fn error(kind: ErrorKind, fault: Fault, retry: Retry) -> AdapterError {
    AdapterError::new(kind, fault, retry, format!("{kind}")).with_code("17")
}

fn not_done(after_ms: Option<u64>) -> Retry {
    Retry::Temporary { after: after_ms.map(std::time::Duration::from_millis) }
}

/// What the provider will tell of a message that it took: how long after, and what. `expiry_ms` is
/// when it becomes interesting.
pub fn fate(dice: &mut Dice, expiry_ms: Option<u64>) -> Vec<(u64, Report)> {
    use Report::{Failed, Reached};
    let mut when = || match expiry_ms {
        // Just before, just at, just after the time is over; the answer itself takes a while.
        Some(expiry) if dice.percent(30) => expiry.saturating_sub(700) + dice.below(1500),
        _ => dice.span(1, 2 * 3_600_000),
    };
    let (a, b, c) = (when(), when(), when());
    let (soon, late) = (a.min(b), a.max(b));
    let delivered = Reached(Status::Delivered);
    let read = Reached(Status::Read);
    let failed = Failed(if dice.percent(70) { Failure::Undeliverable } else { Failure::Rejected });
    let mut told = match dice.below(14) {
        0 | 1 => vec![],
        2 | 3 => vec![(soon, delivered)],
        4 => vec![(1, Reached(Status::Submitted)), (soon, delivered)],
        5 | 6 => vec![(soon, delivered), (late, read)],
        7 => vec![(soon, read), (late, delivered)],
        8 => vec![(soon, read)],
        9 => vec![(soon, failed)],
        10 => vec![(soon, failed), (late, delivered), (late + c, read)],
        11 => vec![(soon, delivered), (late, failed)],
        12 => vec![(soon, delivered), (late, read), (late + c, Reached(Status::Replied))],
        _ => vec![(1, delivered)],
    };
    if dice.percent(20)
        && let Some((at, report)) = told.last().copied()
    {
        told.push((at + dice.span(1, 60_000), report));
    }
    told
}
