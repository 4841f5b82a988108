//! The gate over a log: registry, judgement and storing, all derived from what is stored.
//!
//! [`LogGate`] works on a [`GateLog`]: a [`SecureLog`](secure_log::SecureLog) natively, the imported interface inside
//! a component. docs/gate.md says what it writes and what its answers mean.

mod audit;
mod cache;
mod decisions;
mod devices;
pub mod events;
mod judge;
mod log;
mod log_gate;
mod refusals;
mod registry;
mod stored;
pub mod streams;
pub(crate) mod text;
mod types;
mod updates;

pub use audit::{DeviceReport, EpochReport};
pub use judge::{check_form, judge, judge_record};
pub use log::GateLog;
pub use log_gate::{CACHED_DEVICES, Clock, LogGate, MAX_SUBMISSION_BYTES, MAX_SUBMISSIONS};
pub use stored::MAX_RECORD_PAYLOAD;
pub(crate) use stored::StoredRef;
pub use types::{
    Device, DeviceKey, Epoch, Failure, Outcome, Part, Receipt, Registered, Registration, Settings,
    StoredRecord, Submission, Verdict,
};
pub use updates::UpdateOutcome;
