//! What providers told of conversations, and what was accepted in those.

use std::collections::HashMap;

use dispatch::machine::WorkflowId;
use dispatch_contract::{AttemptId, Channel, Report, Status};

use super::{BatchSeen, COVERED, Judge, Scope, batches::hear, facts::Causes, facts::News};

/// For how long what was told is remembered for messages whose answers are still to come, in milliseconds.
const RECENT_MS: u64 = 310_000;
/// Of how many messages one is sure to tell: the newest of its conversation.
const MOST: usize = 50;

/// A sender's conversation with a person, as a provider's account has it. All have one sender.
pub type Conversation = (Scope, Channel, String);

/// How everything fared there that was sent until a certain time.
#[derive(Clone, Debug)]
pub struct Watermark {
    pub of: Conversation,
    pub status: Status,
    /// By the provider's clock.
    pub until: u64,
}

/// A message came into a conversation.
#[derive(Clone, Debug)]
pub struct Entered {
    pub into: Conversation,
    /// When its call began and was answered, in engine time.
    pub began: u64,
    pub answered: u64,
    /// What the provider's clock showed then, to the second, if it said so.
    pub provider_time: Option<u64>,
}

/// What is known of conversations.
#[derive(Default)]
pub(super) struct Conversations {
    /// What was accepted in each, and when its call began.
    messages: HashMap<Conversation, Vec<(u64, AttemptId)>>,
    /// What was told in this life.
    told: Vec<Reach>,
    clocks: HashMap<Scope, Ahead>,
    /// How often something told counted for a message: and how often before that was known to be accepted.
    pub(super) covered: u64,
    pub(super) early: u64,
}

/// A watermark in engine time: until when it reaches for sure, and until when it may.
#[derive(Clone, Debug)]
struct Reach {
    at: u64,
    of: Conversation,
    status: Status,
    least: u64,
    most: u64,
}

impl Reach {
    fn news(&self, began: u64, is_sure: bool) -> Option<News> {
        let must = is_sure && began <= self.least;
        let report = Report::Reached(self.status);
        (began <= self.most).then_some(News { part: None, report, must, by: COVERED })
    }
}

/// By how many milliseconds a provider's clock is ahead of engine time, at least and at most.
#[derive(Clone, Copy)]
struct Ahead(i64, i64);

impl Ahead {
    /// What an answer tells: the clock showed that second at some time while the call was out.
    fn told(entered: &Entered) -> Option<Ahead> {
        let told = entered.provider_time? as i64;
        Some(Ahead(told - entered.answered as i64, told + 999 - entered.began as i64))
    }

    fn or(self, other: Ahead) -> Ahead {
        Ahead(self.0.min(other.0), self.1.max(other.1))
    }

    /// As long as no answer told, it is taken to be right if our wall clock is.
    fn like_ours(batch: &BatchSeen) -> Ahead {
        let ahead = batch.wall as i64 - batch.now as i64;
        Ahead(ahead, ahead)
    }
}

impl Conversations {
    /// Nothing of it is kept but what was accepted.
    pub(super) fn died(&mut self) {
        self.told.clear();
        self.clocks.clear();
    }

    /// What a batch was given of conversations.
    pub(super) fn given(
        &mut self,
        batch: &BatchSeen,
        told: Vec<Watermark>,
        entered: Vec<(AttemptId, Entered)>,
        causes: &mut HashMap<WorkflowId, Causes>,
    ) {
        let before = self.clocks.clone();
        let mut compared: HashMap<Scope, Ahead> = HashMap::new();
        for (_, message) in &entered {
            if let Some(ahead) = Ahead::told(message) {
                let known = compared.entry(message.into.0).or_insert(ahead);
                *known = known.or(ahead);
            }
        }
        self.clocks.extend(compared.iter().map(|(scope, ahead)| (*scope, *ahead)));
        for (attempt, message) in &entered {
            for reach in self.told.iter().filter(|reach| reach.of == message.into) {
                let is_recent = reach.at + RECENT_MS >= batch.now;
                if let Some(news) = reach.news(message.began, is_recent) {
                    self.early += u64::from(news.must);
                    hear(causes, *attempt, news);
                }
            }
            let known = self.messages.entry(message.into.clone()).or_default();
            known.push((message.began, *attempt));
            known.sort_unstable_by_key(|(began, _)| *began);
        }
        for Watermark { of, status, until } in told {
            // Whichever of them was taken first.
            let known = before.get(&of.0).copied().unwrap_or(Ahead::like_ours(batch));
            let ahead = compared.get(&of.0).map_or(known, |ahead| known.or(*ahead));
            // Of what is still to begin it tells nothing.
            let at = |ahead: i64| until.saturating_add_signed(-ahead).min(batch.now);
            let (least, most) = (at(ahead.1), at(ahead.0));
            let reach = Reach { at: batch.now, of, status, least, most };
            let messages = self.messages.get(&reach.of).map_or(&[][..], Vec::as_slice);
            let is_before = messages.partition_point(|(began, _)| *began <= most);
            for (place, (began, attempt)) in messages[..is_before].iter().enumerate() {
                let is_new = place + MOST >= is_before;
                if let Some(news) = reach.news(*began, is_new) {
                    self.covered += u64::from(news.must);
                    hear(causes, *attempt, news);
                }
            }
            self.told.push(reach);
        }
    }
}

impl Judge {
    /// How often something told of a conversation counted for a message, and how often before that was known to be
    /// accepted.
    pub fn covered(&self) -> (u64, u64) {
        (self.conversations.covered, self.conversations.early)
    }
}
