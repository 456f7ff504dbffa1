//! The real program on a disk that fails and a clock that is set: kills, faults, damage and power cuts.
//!
//! | what | variable | default |
//! |---|---|---|
//! | rounds of the kill loop | `DISPATCH_KILL_ROUNDS` | 8 |
//! | damaged data folders | `DISPATCH_DAMAGES` | 24 |
//! | power cuts | `DISPATCH_POWER_CUTS` | 10 |
//! | seconds that a stopped process stands still | `DISPATCH_STOP_S` | 5 |
//! | virtual hours of the soak with retention | `DISPATCH_SOAK_HOURS` | 6 |
//! | workflows a virtual hour in it | `DISPATCH_SOAK_RATE` | 120 |
//! | seconds of the soak with kills | `DISPATCH_SOAK_S` | 6 |
//! | workflows while processes on one PostgreSQL take over from each other | `DISPATCH_TAKEOVER_LIVES` | 300 |
//! | the seed of all that is random | `DISPATCH_SEED` | of the time |
//!
//! `shim.c` stands between the program and the C library; it needs Linux and a C compiler. A wall clock
//! that is set needs libfaketime: without it those tests say so, and fail where `CI` is `true`.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and stands outside of the service"
)]

mod damage;
mod disk;
mod erasing;
mod honouring;
mod kill;
mod oracle;
mod power;
mod record;
#[path = "../report/mod.rs"]
mod report;
mod server;
#[path = "../shared/mod.rs"]
mod shared;
mod shim;
mod signals;
mod soak;
mod space;
mod takeover;
mod wall;
mod world;
