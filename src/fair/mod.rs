//! What callers share, so that nobody's share is taken by somebody else: connections, calls and reads.
//!
//! Three rules, each in one type that knows nothing of what it shares out:
//!
//! - [`ConnectionPool`], for connections, which cannot be asked to come again: all are accepted, and
//!   where that is too many, whoever holds most gives one back first.
//! - [`Shares`], for what is refused when it is too much: nobody holds more than is left free, so
//!   that there is always something for whoever comes next.
//! - [`Turns`], for what is short and worth waiting for: those who wait are served in rotation, one of
//!   each.

mod connection_pool;
mod shares;
mod turns;

use std::net::{IpAddr, Ipv6Addr};

pub use connection_pool::{ActiveRequest, Connection, ConnectionPermit, ConnectionPool};
pub use shares::{Share, Shares};
pub use turns::{Turn, Turns};

/// Who is at the other end, as far as an address tells: of IPv6 the network (/64), because whoever has
/// one address of it has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Peer(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                Ipv6Addr::from(network).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_address_or_an_ipv6_network() {
        let peer = |text: &str| Peer::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(peer("2001:db8:1:2::3"), peer("2001:db8:1:2:ffff::"));
        assert_ne!(peer("2001:db8:1:2::3"), peer("2001:db8:1:3::3"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("192.0.2.1"), peer("::ffff:192.0.2.1"));
    }
}
