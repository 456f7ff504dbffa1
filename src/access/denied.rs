//! Why a request is not let in, or not yet.

use std::fmt;

use super::Scope;

/// Why a request is not let in. Says nothing about which keys or applications exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It brought no credential.
    Missing,
    /// There is no key yet, and without one nobody is let in here.
    NoKey,
    /// It brought no credential, and does not come from this machine: what it must do instead.
    Elsewhere(&'static str),
    /// What it brought is not good: why, for the caller.
    Invalid(&'static str),
    /// It is known, and may not do this.
    Forbidden(Scope),
    /// Too many credentials from its address were wrong: this one was not looked at.
    Slowed {
        /// When the next is looked at, in milliseconds.
        retry_after_ms: u64,
    },
    /// It asks too much.
    TooMany {
        /// When it is worth asking again, in milliseconds.
        retry_after_ms: u64,
    },
}

/// What of a tenant's limits a call would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Creates come too fast.
    Rate {
        /// How many a second are let through in the long run.
        per_s: u32,
        /// When it is worth asking again, in milliseconds.
        retry_after_ms: u64,
    },
    /// Too many workflows are open.
    Open {
        /// How many may be.
        most: u64,
    },
    /// Too many status streams are open.
    Streams {
        /// How many may be.
        most: usize,
    },
    /// Too many calls are under way, beside those that others may make.
    Calls,
}

/// When it is worth asking again for a call, in milliseconds: they are short, but for streams.
const CALLS_RETRY_MS: u64 = 1000;

/// When it is worth asking again for a place among the open workflows, in milliseconds: until one ends.
const OPEN_RETRY_MS: u64 = 10_000;

impl Exceeded {
    /// When it is worth asking again, in milliseconds.
    pub fn retry_after_ms(self) -> u64 {
        match self {
            Exceeded::Rate { retry_after_ms, .. } => retry_after_ms,
            Exceeded::Open { .. } | Exceeded::Streams { .. } => OPEN_RETRY_MS,
            Exceeded::Calls => CALLS_RETRY_MS,
        }
    }
}

impl From<Exceeded> for Denied {
    fn from(exceeded: Exceeded) -> Self {
        Denied::TooMany { retry_after_ms: exceeded.retry_after_ms() }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denied::Missing => f.write_str(
                "this service wants to know who calls: send `authorization: Basic …` with a key and \
                 its secret, or `Bearer …` with a token of an application",
            ),
            Denied::NoKey => f.write_str(
                "this service has no key yet, and lets nobody in without one: whoever may read its data \
                 folder makes the first, with `dispatch keys create --name NAME --data FOLDER`",
            ),
            Denied::Elsewhere(wanted) => write!(
                f,
                "a request without a key must {wanted}; `dispatch keys create` makes a key"
            ),
            Denied::Invalid(why) => f.write_str(why),
            Denied::Forbidden(scope) => {
                write!(f, "this needs the scope {}, which the caller does not have", scope.as_str())
            }
            Denied::Slowed { retry_after_ms } => write!(
                f,
                "too many wrong credentials came from this address; the next is looked at in \
                 {retry_after_ms} ms"
            ),
            Denied::TooMany { retry_after_ms } => {
                write!(f, "too many requests of this tenant; ask again in {retry_after_ms} ms")
            }
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exceeded::Rate { per_s, retry_after_ms } => write!(
                f,
                "this tenant may create {per_s} workflows a second; ask again in {retry_after_ms} ms"
            ),
            Exceeded::Open { most } => write!(
                f,
                "this tenant may have {most} open workflows, and has them; ask again when some have \
                 ended, or cancel some"
            ),
            Exceeded::Streams { most } => write!(
                f,
                "this tenant may have {most} open status streams, and has them; end some, follow many \
                 workflows on one stream, or raise open_streams in [access]"
            ),
            Exceeded::Calls => f.write_str(
                "too many calls of this caller are under way: nobody may have more than are left free \
                 for others; ask again in 1000 ms, or raise listen.calls",
            ),
        }
    }
}
