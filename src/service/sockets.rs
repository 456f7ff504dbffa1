//! The sockets of the listeners, bound before anything else is touched: a taken port is found first.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::StartError;
use crate::config::ListenConfig;

/// How many connections may wait to be accepted; the system may allow fewer. With the usual 128, a
/// rush leaves callers with a connection that the system has forgotten.
const BACKLOG: u32 = 4096;

/// A bound socket, and the address that it got.
pub(super) struct Socket {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

/// Those of the service.
pub(super) struct Sockets {
    pub(super) grpc: Socket,
    pub(super) http: Socket,
    pub(super) internal_http: Socket,
}

impl Sockets {
    pub(super) fn bind(listen: &ListenConfig) -> Result<Sockets, StartError> {
        Ok(Sockets {
            grpc: Socket::bind("listen.grpc", listen.grpc)?,
            http: Socket::bind("listen.http", listen.http)?,
            internal_http: Socket::bind("listen.internal_http", listen.internal_http)?,
        })
    }
}

impl Socket {
    /// Listens on an address.
    fn bind(what: &'static str, address: SocketAddr) -> Result<Socket, StartError> {
        let failed = |error| StartError::Listen { what, address, error };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.map_err(failed)?;
        // A restart does not wait for the last life's connections.
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Socket { listener, address })
    }
}
