//! What HTTP adapters for Dispatch share.
//!
//! - [`http`]: the one HTTP client, which says of every failed call whether the request may have
//!   left.
//! - [`json`]: reads what others write, forgivingly: what is odd beside a field does not lose it.
//! - [`inbound`]: what persons write: what a part of it is, and how much is kept.
//! - [`jwt`]: the claims of a token that signs a webhook.
//! - [`opt_out`]: `STOP` and `START`, where a provider leaves it to us to read them.
//! - [`per_account`]: what is made of an account once and used for many calls.
//! - [`keys`]: our attempt id as an idempotency key.
//! - [`refusal`]: what a refused call means, by a code or by the HTTP status.
//! - [`codes`]: what an account says that a code means, over its provider's table.
//! - [`probe`]: whether a credential is taken, asked by a call that sends nothing.
//! - [`signature`]: whether bytes were signed by who has the key, in constant time.
//! - [`connect`]: why no connection came about, in words that hold no URL.
//! - [`conformance`]: the suite that turns an adapter's declared capabilities into tests.
//! - [`golden`]: files that hold the request that leaves for each named message.
//!
//! What only one channel knows (its limits, its options) is in the channel's own crate, what only one
//! provider knows in the provider's. Nothing here keeps a message or decides when to send one.

pub mod codes;
pub mod conformance;
pub mod connect;
pub mod golden;
pub mod http;
pub mod inbound;
pub mod json;
pub mod jwt;
pub mod keys;
pub mod opt_out;
pub mod per_account;
pub mod probe;
pub mod refusal;
pub mod signature;
