//! What a verified bundle shows, and what it does not.

use serde::Serialize;

/// What a bundle holds and what was checked; only returned when all of it held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Name of the log.
    pub origin: String,
    /// Number of the checkpoint.
    pub checkpoint: u64,
    /// Entries of `_log` under it.
    pub size: u64,
    /// Signatures of the log's trusted keys.
    pub signatures_verified: u64,
    /// Signature lines by other keys, witnesses' without a policy among them: not checked.
    pub signatures_unknown: u64,
    /// What the witnesses of the policy say; none: no policy was given, no cosignature checked.
    pub witnesses: Option<String>,
    /// Entries, each proven up to the checkpoint.
    pub entries: u64,
    /// Payloads whose hash was checked.
    pub payloads_checked: u64,
    /// Of those: sealed, so that only their ciphertext is shown.
    pub payloads_sealed: u64,
    /// Payloads kept elsewhere: not checked.
    pub payloads_elsewhere: u64,
    /// Payloads that are not in the bundle, erased or withheld: not checked.
    pub payloads_absent: u64,
    /// Of a bundle about a device.
    pub device: Option<Device>,
    /// Times, in the order of the entries: of a device its records, else the entries of the range.
    pub times: Vec<EntryTimes>,
    /// Time stamps.
    pub time: TimeReport,
    /// What was not checked, in words.
    pub not_checked: Vec<String>,
}

/// A device of which all records hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its id.
    pub device_id: String,
    /// Entries of its registry.
    pub registry_entries: u64,
    /// Its epochs.
    pub epochs: u64,
    /// Records: signature, chain, payload, and that the key was allowed when each was accepted.
    pub records: u64,
    /// Records that are not in the bundle, erased or withheld: that they were accepted, and when, is shown.
    pub records_absent: u64,
    /// Whether it was revoked in the end.
    pub revoked: bool,
    /// Its public keys (hex), and whether each was revoked in the end.
    pub keys: Vec<(String, bool)>,
    /// Whether all keys are among those that the caller trusts.
    pub keys_trusted: bool,
}

/// When something happened, by three clocks; ms since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryTimes {
    /// Stream of the entry.
    pub stream_id: String,
    /// Its number.
    pub seqno: u64,
    /// What the device says.
    pub claimed_ms: Option<u64>,
    /// When the log took it, by the log's clock.
    pub received_ms: u64,
    /// By when it existed, as an authority says; its own stamp, or the checkpoint's.
    pub trusted_ms: Option<u64>,
}

/// Time stamps that verified.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TimeReport {
    /// Tokens that verified.
    pub verified: u64,
    /// Tokens that were not looked at, since no authority is trusted.
    pub not_checked: u64,
    /// Authorities of those that verified.
    pub authorities: Vec<String>,
    /// The log's clock was after the authority's: entries that are stamped earlier than they were received.
    pub received_after_trusted: u64,
    /// The device's clock was after the log's: records that were received before their device says it made them.
    pub claimed_after_received: u64,
    /// Longest time from the device's to the log's, ms.
    pub longest_delivery_ms: u64,
    /// Longest time from the log's to the authority's, ms.
    pub longest_stamping_ms: u64,
}
