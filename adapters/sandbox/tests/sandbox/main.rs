//! The simulated provider from the outside: as an adapter, and as a server.

mod clock;
mod http;
mod in_process;
