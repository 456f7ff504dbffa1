//! The simulated provider itself, whichever way it is reached.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dispatch_contract::{Channel, Clock, Endpoint, Recall, Report, Status, UnixMillis};

use crate::{
    plan::{ChannelTells, Planned, plan},
    record::{CallRecord, CallResult, RecallRecord, SentMessage},
    script::{Scene, Script, ScriptedAnswer, Throttle},
    seed::Seed,
};

/// A provider that sends nothing, and plays the [`Script`] of each recipient.
///
/// Shared by all its fronts, and safe to change while it runs. What it does is a function of its
/// configuration, the clock and the order of calls.
pub struct SimulatedProvider {
    clock: Arc<dyn Clock>,
    seed: Seed,
    idempotent_for: Option<Duration>,
    log_limit: usize,
    state: Mutex<ProviderState>,
}

/// How a provider is made. All of it has defaults: `ProviderConfig { seed: 7, ..Default::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderConfig {
    /// What ids and jitter are derived from; 0 by default.
    pub seed: u64,
    /// For how long a repeated call under the same client reference is answered like the first, and
    /// sends nothing. `None`, as by default and as with Vonage: every call is a new message.
    pub idempotent_for: Option<Duration>,
    /// The script of whoever has none of their own.
    pub default_script: Script,
    /// How many calls, recalls and sent messages, of each, are remembered; 65,536 by default.
    pub log_limit: usize,
}

/// A well-formed call.
#[derive(Clone, Debug)]
pub(crate) struct SendCall<'a> {
    pub(crate) channel: &'a Channel,
    pub(crate) recipient: &'a Endpoint,
    pub(crate) client_ref: Option<&'a str>,
    pub(crate) tells: ChannelTells,
}

/// What comes of a call.
#[derive(Clone, Debug)]
pub(crate) struct Reaction {
    pub(crate) answered: CallResult,
    /// What will be reported; nothing, unless a message was sent.
    pub(crate) receipts: Vec<Planned>,
}

#[derive(Default)]
struct ProviderState {
    default: Script,
    scripts: BTreeMap<String, Script>,
    /// How far a script with a memory has been played: by the key of the script, or by recipient
    /// where it is the default.
    played: BTreeMap<String, Played>,
    calls: VecDeque<CallRecord>,
    recalls: VecDeque<RecallRecord>,
    sent: VecDeque<SentMessage>,
    sent_count: u64,
    /// The references seen within `idempotent_for`, and the same in the order of their time.
    references: BTreeMap<String, String>,
    reference_ages: VecDeque<(UnixMillis, String)>,
}

#[derive(Clone, Copy, Default)]
struct Played {
    scenes: usize,
    /// Sends turned away in the present scene.
    throttled: u32,
}

impl SimulatedProvider {
    /// A provider that lives by `clock`.
    pub fn new(clock: Arc<dyn Clock>, config: ProviderConfig) -> Self {
        let ProviderConfig { seed, idempotent_for, default_script, log_limit } = config;
        let state = ProviderState { default: default_script, ..ProviderState::default() };
        SimulatedProvider {
            clock,
            seed: Seed(seed),
            idempotent_for,
            log_limit: log_limit.max(1),
            state: Mutex::new(state),
        }
    }

    /// Gives a recipient a script of their own, to be played from its start.
    ///
    /// `recipient` is a bare number or id, or, for one channel alone, that behind the channel's name
    /// and a colon: `whatsapp:447700900001`. The latter goes before the former.
    pub fn set_script(&self, recipient: impl Into<String>, script: Script) {
        let recipient = recipient.into();
        let mut state = self.lock();
        state.played.remove(&recipient);
        state.scripts.insert(recipient, script);
    }

    /// Takes a recipient's own script away; says whether there was one. As for the name, see
    /// [`set_script`](Self::set_script).
    pub fn clear_script(&self, recipient: &str) -> bool {
        let mut state = self.lock();
        state.played.remove(recipient);
        state.scripts.remove(recipient).is_some()
    }

    /// Takes everybody's own script away. The default stays.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.played.clear();
        state.scripts.clear();
    }

    /// Sets the script of whoever has none of their own, to be played by each from its start.
    pub fn set_default(&self, script: Script) {
        let mut state = self.lock();
        let ProviderState { played, scripts, .. } = &mut *state;
        played.retain(|key, _| scripts.contains_key(key));
        state.default = script;
    }

    /// The script of whoever has none of their own.
    pub fn default_script(&self) -> Script {
        self.lock().default.clone()
    }

    /// Every recipient's own script, ordered by name.
    pub fn scripts(&self) -> BTreeMap<String, Script> {
        self.lock().scripts.clone()
    }

    /// The messages really sent, oldest first; only the last [`ProviderConfig::log_limit`].
    pub fn sent(&self) -> Vec<SentMessage> {
        self.lock().sent.iter().cloned().collect()
    }

    /// How many messages were sent in all; more than [`sent`](Self::sent) shows if it forgot some.
    pub fn sent_count(&self) -> u64 {
        self.lock().sent_count
    }

    /// The well-formed calls received, oldest first; only the last [`ProviderConfig::log_limit`].
    pub fn calls(&self) -> Vec<CallRecord> {
        self.lock().calls.iter().cloned().collect()
    }

    /// The recalls that were asked for, oldest first; only the last [`ProviderConfig::log_limit`].
    pub fn recalls(&self) -> Vec<RecallRecord> {
        self.lock().recalls.iter().cloned().collect()
    }

    /// Has a message, as if it had been sent.
    pub(crate) fn take(&self, channel: &Channel, recipient: &Endpoint, client_ref: &str) {
        let client_ref = Some(client_ref);
        let tells = ChannelTells { reads: true, quotes: false };
        self.react(&SendCall { channel, recipient, client_ref, tells });
    }

    /// For how long it honours a caller's reference.
    pub(crate) fn idempotent_for(&self) -> Option<Duration> {
        self.idempotent_for
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn seed(&self) -> Seed {
        self.seed
    }

    /// Plays a call.
    pub(crate) fn react(&self, call: &SendCall<'_>) -> Reaction {
        let now = self.clock.now();
        let mut state = self.lock();
        let reaction = match self.known(&mut state, call, now) {
            Some(provider_id) => {
                Reaction::without_message(CallResult::AcceptedBefore { provider_id })
            }
            None => match state.next_scene(call) {
                Ok(scene) => self.perform(&mut state, &scene, call, now),
                Err(Throttle { after, .. }) => {
                    Reaction::without_message(CallResult::Throttled { after })
                }
            },
        };
        let record = CallRecord {
            client_ref: call.client_ref.map(str::to_owned),
            channel: call.channel.clone(),
            recipient: call.recipient.clone(),
            at: self.clock.wall(),
            answered: reaction.answered.clone(),
        };
        remember(&mut state.calls, record, self.log_limit);
        reaction
    }

    /// The channel that a message went out on, if it is remembered.
    pub(crate) fn channel_of(&self, provider_id: &str) -> Option<Channel> {
        let state = self.lock();
        let sent = state.sent.iter().rev().find(|sent| sent.provider_id == provider_id)?;
        Some(sent.channel.clone())
    }

    /// Takes a message back that nobody has yet. One that was forgotten is with its person.
    pub(crate) fn recall(&self, provider_id: &str) -> Recall {
        let mut state = self.lock();
        let answered = state.recall(provider_id, self.clock.now());
        let provider_id = provider_id.to_owned();
        let record = RecallRecord { provider_id, at: self.clock.wall(), answered };
        remember(&mut state.recalls, record, self.log_limit);
        answered
    }

    /// The message sent before under the call's reference, where that is honoured.
    fn known(
        &self,
        state: &mut ProviderState,
        call: &SendCall<'_>,
        now: UnixMillis,
    ) -> Option<String> {
        let window = self.idempotent_for?;
        while state.reference_ages.front().is_some_and(|(at, _)| *at + window <= now) {
            if let Some((_, reference)) = state.reference_ages.pop_front() {
                state.references.remove(&reference);
            }
        }
        state.references.get(call.client_ref?).cloned()
    }

    fn perform(
        &self,
        state: &mut ProviderState,
        scene: &Scene,
        call: &SendCall<'_>,
        now: UnixMillis,
    ) -> Reaction {
        match scene.answer {
            ScriptedAnswer::Accept => {
                let (provider_id, receipts) = self.deliver(state, scene, call, now);
                Reaction { answered: CallResult::Accepted { provider_id }, receipts }
            }
            ScriptedAnswer::SilentAfterActing => {
                let (_, receipts) = self.deliver(state, scene, call, now);
                Reaction { answered: CallResult::Nothing, receipts }
            }
            ScriptedAnswer::FailAfterActing => {
                let (_, receipts) = self.deliver(state, scene, call, now);
                Reaction { answered: CallResult::Failed, receipts }
            }
            ScriptedAnswer::Reject(code) => Reaction::without_message(CallResult::Rejected(code)),
            ScriptedAnswer::SilentBeforeActing => Reaction::without_message(CallResult::Nothing),
            ScriptedAnswer::FailBeforeActing => Reaction::without_message(CallResult::Failed),
        }
    }

    /// Sends the message, as far as this provider ever does: its id, and what will be reported.
    fn deliver(
        &self,
        state: &mut ProviderState,
        scene: &Scene,
        call: &SendCall<'_>,
        now: UnixMillis,
    ) -> (String, Vec<Planned>) {
        state.sent_count += 1;
        let parts =
            [call.client_ref.unwrap_or_default(), call.channel.as_str(), call.recipient.value()];
        let mut message = SentMessage {
            client_ref: call.client_ref.map(str::to_owned),
            channel: call.channel.clone(),
            recipient: call.recipient.clone(),
            at: self.clock.wall(),
            provider_id: self.seed.id(state.sent_count, &parts).to_string(),
            reaches: Vec::new(),
            is_recalled: false,
        };
        if let (Some(_), Some(reference)) = (self.idempotent_for, call.client_ref) {
            state.references.insert(reference.to_owned(), message.provider_id.clone());
            state.reference_ages.push_back((now, reference.to_owned()));
        }
        let receipts = plan(scene, &message, now, call.tells, self.seed);
        let reached = |planned: &Planned| match planned.receipt.report {
            Report::Reached(status) => Some((planned.due, status)),
            Report::Failed(_) => None,
        };
        message.reaches = receipts.iter().filter_map(reached).collect();
        let provider_id = message.provider_id.clone();
        remember(&mut state.sent, message, self.log_limit);
        (provider_id, receipts)
    }

    fn lock(&self) -> MutexGuard<'_, ProviderState> {
        // No code of others runs under this lock, so a panic cannot have left it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProviderState {
    fn recall(&mut self, provider_id: &str, now: UnixMillis) -> Recall {
        let sent = self.sent.iter_mut().rev().find(|sent| sent.provider_id == provider_id);
        let Some(sent) = sent else { return Recall::TooLate(None) };
        let reached = sent.reaches.iter().filter(|(at, _)| *at <= now).map(|(_, status)| *status);
        match reached.max() {
            Some(status) if status >= Status::Delivered => Recall::TooLate(Some(status)),
            Some(_) | None => {
                sent.is_recalled = true;
                Recall::Recalled
            }
        }
    }

    /// The scene that a call plays, or how it is turned away. Moves the script on.
    fn next_scene(&mut self, call: &SendCall<'_>) -> Result<Scene, Throttle> {
        let recipient = call.recipient.value();
        let on_channel = format!("{}:{recipient}", call.channel);
        let (key, script) = match self.scripts.get(&on_channel) {
            Some(script) => (on_channel.as_str(), script),
            None => (recipient, self.scripts.get(recipient).unwrap_or(&self.default)),
        };
        if !script.has_memory() {
            return Ok(script.scene(0).clone());
        }
        let played = self.played.entry(key.to_owned()).or_default();
        let scene = script.scene(played.scenes);
        if let Some(throttle) = scene.throttle
            && played.throttled < throttle.count
        {
            played.throttled += 1;
            return Err(throttle);
        }
        let scene = scene.clone();
        // The last scene repeats, but turns away only once.
        if played.scenes + 1 < script.len() {
            *played = Played { scenes: played.scenes + 1, throttled: 0 };
        }
        Ok(scene)
    }
}

impl Reaction {
    fn without_message(answered: CallResult) -> Self {
        Reaction { answered, receipts: Vec::new() }
    }
}

impl Default for ProviderConfig {
    fn default() -> Self {
        ProviderConfig {
            seed: 0,
            idempotent_for: None,
            default_script: Script::default(),
            log_limit: 65_536,
        }
    }
}

impl fmt::Debug for SimulatedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither scripts nor records: their keys are people's numbers.
        f.debug_struct("SimulatedProvider")
            .field("seed", &self.seed)
            .field("idempotent_for", &self.idempotent_for)
            .finish_non_exhaustive()
    }
}

fn remember<T>(log: &mut VecDeque<T>, entry: T, limit: usize) {
    if log.len() == limit {
        log.pop_front();
    }
    log.push_back(entry);
}
