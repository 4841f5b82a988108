//! A store across the network: the wire contract and both of its ends.
//!
//! A call is the name of a function of `secure-log:log/store` and its arguments as a JSON array; `docs/rpc.md` lists
//! them. Both ends use the types of [`wire`], so they cannot drift.
//!
//! - [`RemoteStore`] is the client: a [`SecureLogStore`](secure_log::store::SecureLogStore) over any [`Transport`].
//! - [`Server`] answers calls from any store. It believes no client: see [`CheckedStore`].
//! - [`envelope`] puts calls into JSON-RPC 2.0 messages and takes answers out of them.
//! - [`http`] is the policy of an HTTP endpoint: who may call, what is too large, which status says what.
//!
//! Nothing here does any I/O.

pub mod base64;
mod checked;
mod client;
pub mod envelope;
mod fault;
pub mod http;
pub mod limits;
mod method;
mod server;
pub mod wire;

pub use checked::CheckedStore;
pub use client::{RemoteStore, Transport, TransportError};
pub use fault::Fault;
pub use method::Method;
pub use server::Server;
