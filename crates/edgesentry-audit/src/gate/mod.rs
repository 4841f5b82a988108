//! The gate over a log: registry, judgement and storing, all derived from what is stored.

mod judge;
mod types;

pub use judge::{check_form, judge, judge_record};
pub use types::{
    Device, DeviceKey, Epoch, Failure, Outcome, Part, Receipt, Registered, Registration, Settings,
    StoredRecord, Submission, Verdict,
};
