//! Administration of a running server, on a Unix socket beside its store.
//!
//! A file store has one owner. While a server is that, what an operator does to the store goes through the server:
//! [`AdminSocket`] takes lines of JSON, [`AdminClient`] sends them. Only the server's own user and root are let in.
//!
//! ```json
//! {"op":"devices.get","device_id":"lift-01"}
//! {"ok":{"device_id":"lift-01","keys":[…],…}}
//! {"error":{"kind":"conflict","component":"registry","message":"…"}}
//! ```

mod client;
mod path;
mod protocol;
mod server;

pub use client::{AdminClient, AdminError};
pub use path::socket_path;
pub use protocol::{
    CheckpointInfo, ClosedInfo, DeviceInfo, EpochInfo, Fault, KeyInfo, Op, RegisteredInfo, SegmentInfo,
    StatsInfo,
};
pub use server::{AdminSocket, Control};
