//! Streams of statuses: the production follower, stepped between two batches of the writer, for readers that are quick
//! or slow, are cut off at any moment, and come back with the last token that they were given.

use dispatch::{
    engine::Feed,
    grpc::{JournalRead, Position, StatusFollower, StatusTarget, StreamStep},
    store::{Reader, StoreError},
};

use super::*;
use crate::judge::{Following, STREAMS};

/// How many follow one workflow at the same time.
const MOST: usize = 4;
/// How many steps are enough for all that there is.
const ALL: u64 = 1_000_000;

/// Who follows what happens.
pub(super) struct Watcher {
    dice: Dice,
    seen: Following,
    /// It asks for what is kept, or for what comes from now on.
    from_beginning: bool,
    /// How much is done for it between two batches at the most.
    pace: u64,
    /// How often it is cut off, in per cent of the batches.
    cuts: u64,
    /// How many rows are read for it at once.
    rows: usize,
    /// Where the last event or bookmark was that it was told.
    token: Option<Position>,
    stream: Option<Stream>,
    is_done: bool,
}

/// A stream on its way to it.
struct Stream {
    follower: StatusFollower,
    doing: Doing,
}

/// What is done next. Between any two anything else may happen.
enum Doing {
    Asks,
    Reads(JournalRead),
    HasRead(Result<Vec<Arc<Row>>, StoreError>),
    Renders(Arc<Row>),
    HasRendered(Arc<Row>, Option<Arc<Record>>),
    Tells(Arc<Row>, VecDeque<(usize, Position)>),
    Waits,
}

/// What a stream is stepped over.
struct Around<'a> {
    reader: &'a Arc<dyn Reader>,
    feed: &'a Feed,
    judge: &'a Judge,
    figures: &'a mut Figures,
}

impl Watcher {
    pub(super) fn new(mut dice: Dice, target: StatusTarget) -> Watcher {
        let is_one = matches!(target, StatusTarget::Workflow { .. });
        Watcher {
            seen: Following::of(target),
            from_beginning: dice.percent(if is_one { 80 } else { 50 }),
            pace: dice.one(&[1, 2, 5, 20, 200]),
            cuts: dice.one(&[0, 1, 5, 30]),
            rows: dice.one(&[1, 3, 20, 256]),
            token: None,
            stream: None,
            is_done: false,
            dice,
        }
    }

    /// Its connection is lost, and with it whatever was not told.
    fn cut(&mut self) {
        self.stream = None;
    }

    /// Some steps, or `all` until it waits or has ended.
    fn go_on(&mut self, all: bool, around: &mut Around<'_>) -> Fine {
        let is_cut = !all && self.dice.percent(self.cuts);
        let steps = if all { ALL } else { self.dice.between(1, self.pace) };
        for _ in 0..steps {
            if self.is_done || self.stream.is_none() && !all && !self.dice.percent(20) {
                break;
            }
            if !self.step(around)? {
                break;
            }
        }
        if is_cut {
            self.cut();
        }
        let Some(Stream { follower, doing: Doing::Waits }) = &mut self.stream else {
            return match all && !self.is_done {
                true => Err(broken(STREAMS, &"a stream gets nowhere")),
                false => Ok(()),
            };
        };
        if has_news(follower)? {
            return Ok(());
        }
        around.judge.waits(&mut self.seen, follower.position(), &**around.reader)
    }

    /// Whether there was anything to do.
    fn step(&mut self, around: &mut Around<'_>) -> Result<bool, Broken> {
        let Some(Stream { follower, doing }) = &mut self.stream else {
            self.comes(around)?;
            return Ok(true);
        };
        match std::mem::replace(doing, Doing::Asks) {
            Doing::Asks => match follower.next_step() {
                StreamStep::Read(read) => *doing = Doing::Reads(read),
                StreamStep::Tell(row) => *doing = Doing::Renders(row),
                StreamStep::Pause { is_all } => {
                    if is_all {
                        *doing = Doing::Waits;
                    }
                    if self.token.is_none() || self.dice.percent(20) {
                        return self.bookmark(around).map(|()| true);
                    }
                }
                StreamStep::Complete => {
                    self.is_done = true;
                    around.judge.complete(&mut self.seen, &**around.reader)?;
                }
                StreamStep::NotFound(id) => {
                    self.is_done = true;
                    around.judge.not_found(&self.seen, id)?;
                }
                StreamStep::TooOld(oldest) => {
                    let position = follower.position();
                    self.cut();
                    self.is_too_old(position, oldest, around)?;
                }
            },
            Doing::Reads(read) => *doing = Doing::HasRead(read.of(&**around.reader)),
            Doing::HasRead(read) => {
                follower.found(read).map_err(|error| broken(STREAMS, &error))?;
            }
            Doing::Renders(row) => {
                let record = around.reader.record(row.workflow);
                let record = record.map_err(|error| broken(STREAMS, &error))?;
                *doing = Doing::HasRendered(row, record);
            }
            Doing::HasRendered(_, None) => follower.missed(),
            Doing::HasRendered(row, Some(record)) => {
                let unseen = follower.unseen(&row, &record.plan.labels).collect();
                *doing = Doing::Tells(row, unseen);
            }
            Doing::Tells(row, mut unseen) => {
                if let Some((index, position)) = unseen.pop_front() {
                    around.judge.streamed(&mut self.seen, &row, index)?;
                    self.token = Some(position);
                    around.figures.streamed += 1;
                    *doing = Doing::Tells(row, unseen);
                }
            }
            Doing::Waits => {
                if !has_news(follower)? {
                    *doing = Doing::Waits;
                    if self.dice.percent(2) {
                        self.bookmark(around)?;
                    }
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// It comes, or comes back.
    fn comes(&mut self, around: &mut Around<'_>) -> Fine {
        let reader = &**around.reader;
        let target = self.seen.target.clone();
        let position = match (self.token, self.from_beginning, &target) {
            (Some(token), ..) => {
                around.figures.resumed += 1;
                if token.cursor > reader.newest() {
                    let detail = format!("a token is {token:?} of {:?}", reader.newest());
                    return Err(broken(STREAMS, &detail));
                }
                match StatusFollower::resume(reader, &target, token) {
                    Ok(position) => position,
                    Err(oldest) => return self.is_too_old(token, oldest, around),
                }
            }
            (None, true, StatusTarget::Workflow { .. }) => {
                let position = Position { cursor: Cursor(0), seen: 0 };
                around.judge.begins(&mut self.seen, position, true)?;
                position
            }
            (None, from_beginning, _) => {
                let cursor = if from_beginning { reader.oldest() } else { reader.newest() };
                around.judge.begins(&mut self.seen, Position::behind(cursor), from_beginning)?;
                Position::behind(cursor)
            }
        };
        let reader = Arc::clone(around.reader);
        let follower = StatusFollower::new(around.feed, reader, target, position, self.rows);
        self.stream = Some(Stream { follower, doing: Doing::Asks });
        Ok(())
    }

    fn bookmark(&mut self, around: &Around<'_>) -> Fine {
        let Some(Stream { follower, .. }) = &self.stream else { return Ok(()) };
        let position = follower.position();
        around.judge.bookmarked(&mut self.seen, position)?;
        self.token = Some(position);
        Ok(())
    }

    /// It goes on where it can.
    fn is_too_old(&mut self, at: Position, oldest: Position, around: &mut Around<'_>) -> Fine {
        around.figures.too_old += 1;
        around.judge.too_old(&mut self.seen, at, oldest, &**around.reader)?;
        self.token = Some(oldest);
        self.is_done = self.seen.workflow().is_some();
        Ok(())
    }
}

fn has_news(follower: &mut StatusFollower) -> Result<bool, Broken> {
    follower.news().has_changed().map_err(|error| broken(STREAMS, &error))
}

impl World<'_> {
    /// Those who follow many workflows, from the first batch on.
    pub(super) fn watchers(scenario: &Scenario) -> Vec<Watcher> {
        let watchers = (0..u64::from(scenario.watchers)).map(|number| {
            let mut dice = Dice::of(scenario.seed, &[39, number]);
            let tenant = dice.one(&[None, Some("default"), Some("other")]).map(Arc::from);
            let labels: &[&[_]] = &[&[], &[("team", "a")], &[("team", "b"), ("kind", "code")]];
            let labels = dice.one(labels).iter();
            let labels = labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let target = StatusTarget::Many { tenant, labels: labels.collect() };
            Watcher::new(dice, target)
        });
        watchers.collect()
    }

    /// Somebody follows a workflow: one that was just created, mostly.
    pub(super) fn follow_some(&mut self, rows: &[Arc<Row>]) {
        if self.scenario.watchers == 0 {
            return;
        }
        let mut dice = Dice::of(self.scenario.seed, &[40, self.figures.batches]);
        let journal = &self.judge.journal;
        let any = journal.get(dice.below(journal.len() as u64) as usize);
        let any = any.filter(|_| dice.percent(1)).into_iter();
        let new = rows.iter().filter(|row| row.facts.first() == Some(&Fact::Created));
        let ids: Vec<_> = any.chain(new).map(|row| row.workflow).collect();
        for id in ids {
            let mut dice = self.dice(41, id, self.figures.batches);
            let room = MOST + self.scenario.watchers as usize - self.watchers.len();
            if room > 0 && dice.percent(30) {
                let follow_late = dice.percent(50);
                let target = StatusTarget::Workflow { id, follow_late };
                self.watchers.push(Watcher::new(dice, target));
            }
        }
    }

    /// Whoever follows is told some of what happened, or `all` of it.
    pub(super) fn watch(&mut self, all: bool) -> Fine {
        let (Some(store), Some(service)) = (&self.store, &self.service) else { return Ok(()) };
        let reader = mortal::kept(store).reader();
        let (feed, judge, figures) = (service.writer.feed(), &self.judge, &mut self.figures);
        let mut around = Around { reader: &reader, feed, judge, figures };
        for watcher in &mut self.watchers {
            watcher.go_on(all, &mut around)?;
        }
        self.watchers.retain(|watcher| !watcher.is_done);
        Ok(())
    }

    /// The service died, and with it all connections.
    pub(super) fn cut_streams(&mut self) {
        self.watchers.iter_mut().for_each(Watcher::cut);
    }
}
