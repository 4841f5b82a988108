//! Limits, the same in every backend and on every seam.

/// Largest payload, bytes.
pub const MAX_PAYLOAD: usize = 8 << 20;
/// Largest canonical header, bytes.
pub const MAX_HEADER: usize = 65_535;
/// Most events in one `append_batch`.
pub const MAX_BATCH_EVENTS: usize = 10_000;
/// Most payload bytes in one `append_batch`.
pub const MAX_BATCH_BYTES: usize = 32 << 20;
/// Most rows in one page of a list.
pub const MAX_PAGE_ROWS: u32 = 1_000;
/// Most bytes in one page of a list (a single larger row is still returned).
pub const MAX_PAGE_BYTES: usize = 4 << 20;
/// Longest stream id, bytes of UTF-8.
pub const MAX_STREAM_ID: usize = 255;
