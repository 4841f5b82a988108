//! The gate over a log: registry, judgement and storing, all derived from what is stored.

mod types;

pub use types::{
    Device, DeviceKey, Epoch, Failure, Outcome, Part, Receipt, Registered, Registration, Settings,
    StoredRecord, Submission, Verdict,
};
