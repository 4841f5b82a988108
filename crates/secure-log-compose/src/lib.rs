//! Composes components into artifacts, and refuses an artifact that is not complete.
//!
//! `wac plug` skips a plug whose types do not match its socket and still succeeds; the artifact then fails at the
//! first user's `instantiate`. Here every plug must be used, every import that a plug could have satisfied must be,
//! the artifact must fit the world that the WIT declares for it, and what it imports must be what a golden
//! list says. What is composed is data: see [`stacks::Stacks`].

pub mod files;
pub mod imports;
pub mod plug;
pub mod seal;
pub mod shrink;
pub mod stacks;
pub mod world;
