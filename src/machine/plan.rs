//! What a caller asked for, parsed: types that cannot be wrong.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc, time::Duration};

use dispatch_contract::{Channel, ContentKind, Endpoint, Status, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most steps a workflow may have.
pub const MAX_STEPS: usize = 20;

/// How long a workflow may live by plan, from creation to the last step's expiry.
pub const MAX_PLANNED_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Names a workflow: a UUIDv7, so that ids made later sort later, which carries its
/// [partition](WorkflowId::partition).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkflowId(pub Uuid);

/// A request to reach a person, without what is personal: who that is and what is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How the steps relate.
    pub template: Template,
    /// 1 to [`MAX_STEPS`] steps, in order.
    pub steps: Vec<StepPlan>,
    /// Not before this time by the wall clock; `None` and the past mean now.
    pub send_at: Option<UnixMillis>,
    /// No attempt starts after this time by the wall clock.
    pub valid_until: Option<UnixMillis>,
    /// Bounds the time before any acceptance, for each step, in milliseconds.
    pub send_within_ms: Option<u64>,
    /// What an earlier step's late success does.
    pub on_late_success: OnLateSuccess,
    /// What an unknown outcome does.
    pub on_unknown: OnUnknown,
    /// Which workflow goes first where a route is busy.
    pub priority: Priority,
    /// The caller's own words, to find it by.
    pub labels: BTreeMap<String, String>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
}

/// How the steps of a workflow relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Template {
    /// One after the other, until one reaches its condition.
    Failover,
}

/// One channel to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepPlan {
    /// The channel it goes out on.
    pub channel: Channel,
    /// The sender.
    pub sender: Endpoint,
    /// What is sent.
    pub content: ContentKind,
    /// When the next step starts; the last step may have none.
    pub failover: Option<FailoverCondition>,
}

/// A failover rule: the status a step's message must reach, and in what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverCondition {
    /// The status to reach.
    pub condition: Status,
    /// In how many milliseconds from the first acceptance; `None` fails over on failure only.
    pub expiry_ms: Option<u64>,
}

/// What happens when a step that was given up reaches its condition after all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnLateSuccess {
    /// The workflow has succeeded; nothing further is sent.
    #[default]
    Stop,
    /// It is recorded, and counts when the workflow ends.
    Continue,
}

/// What happens when nobody knows whether a message went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnUnknown {
    /// Wait a while for a receipt, then fail over; on the last step send once more.
    #[default]
    WaitReceipt,
    /// Send once more at once: a possible double.
    Resend,
    /// The next step at once.
    FailOver,
}

/// Which workflow goes first where a route is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Priority {
    /// Before the others: one-time passwords.
    High,
    /// The usual.
    #[default]
    Normal,
    /// After the others: campaigns.
    Low,
}

impl Priority {
    /// Every priority, the highest first.
    pub const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    /// Where it stands in [`ALL`](Self::ALL).
    pub const fn rank(self) -> usize {
        match self {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        }
    }

    /// The name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }
}

/// What a route must be able to do to serve a step. Shared between workflows that need the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteRequirement {
    /// Whose workflow it is.
    pub tenant: Arc<str>,
    /// The channel.
    pub channel: Channel,
    /// The sender.
    pub sender: Endpoint,
    /// The status to wait for; `None` where any will do.
    pub condition: Option<Status>,
    /// What is sent.
    pub content: ContentKind,
}

/// The configured durations that a workflow lives by. Frozen into its record at creation, so that
/// a changed configuration never moves the deadlines of what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PolicySnapshot {
    /// Bounds the time before any acceptance where the caller gave no bound.
    pub send_within_ms: u64,
    /// The same for a last step.
    pub last_send_within_ms: u64,
    /// How long an unknown outcome waits for a receipt.
    pub unknown_wait_ms: u64,
    /// How long silence lasts until a message that no expiry bounds counts as unconfirmed.
    pub unconfirmed_after_ms: u64,
    /// The first retry's delay; it doubles with each.
    pub retry_base_ms: u64,
    /// The longest delay between retries.
    pub retry_max_ms: u64,
}

impl Default for PolicySnapshot {
    fn default() -> Self {
        PolicySnapshot {
            send_within_ms: 15 * 60 * 1000,
            last_send_within_ms: 15 * 60 * 1000,
            unknown_wait_ms: 30 * 1000,
            unconfirmed_after_ms: 72 * 3600 * 1000,
            retry_base_ms: 1000,
            retry_max_ms: 60 * 1000,
        }
    }
}

impl Plan {
    /// What the step at `index` asks of a route.
    pub fn route_requirement(&self, tenant: &Arc<str>, index: usize) -> Option<RouteRequirement> {
        let step = self.steps.get(index)?;
        Some(RouteRequirement {
            tenant: Arc::clone(tenant),
            channel: step.channel.clone(),
            sender: step.sender.clone(),
            condition: step.failover.map(|failover| failover.condition),
            content: step.content,
        })
    }

    /// How long the steps' conditions may be waited for together, in milliseconds.
    pub fn planned_life_ms(&self) -> u64 {
        self.steps.iter().fold(0, |sum: u64, step| {
            let expiry = step.failover.and_then(|failover| failover.expiry_ms).unwrap_or(0);
            sum.saturating_add(expiry)
        })
    }
}

impl WorkflowId {
    /// The id as sixteen bytes, in sorting order.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The engine time that it was made at, which its first six bytes tell.
    pub fn made_at(self) -> UnixMillis {
        UnixMillis((self.0.as_u128() >> 80) as u64)
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for WorkflowId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(WorkflowId)
    }
}
