//! What callers share, so that nobody's share is taken by somebody else: connections, calls and reads.
//!
//! Three rules, each in one type that knows nothing of what it shares out:
//!
//! - [`ConnectionPool`], for connections, which cannot be asked to come again: all are accepted, and
//!   where that is too many, whoever holds most gives one back first.
//! - [`Shares`], for what is refused when it is too much: nobody holds more than is left free, so
//!   that there is always something for whoever comes next.
//! - [`Turns`], for what is short and worth waiting for: those who wait are served in rotation, one of
//!   each. [`DiskTurns`] are turns at the disk.

mod connection;
mod connection_pool;
mod disk_turns;
mod peer;
mod shares;
mod turns;

pub use connection::{ActiveRequest, Connection};
pub use connection_pool::{ConnectionPermit, ConnectionPool};
pub use disk_turns::{DiskTurns, NotDone};
pub use peer::Peer;
pub use shares::{Share, Shares};
pub use turns::{Turn, Turns};
