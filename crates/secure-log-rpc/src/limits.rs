//! How much one call may be.

/// Largest request body, bytes: a batch of 32 MiB of payload with its headers, in base64.
pub const MAX_REQUEST: usize = 64 << 20;
/// Largest answer that a client takes, bytes: the largest row, or a page of 4 MiB, in base64 and then some.
pub const MAX_ANSWER: usize = 64 << 20;
/// Most rows in one `append`, all streams together.
pub const MAX_ROWS: usize = 100_000;
/// Most objects, and most expected heads, in one `append`.
pub const MAX_OBJECTS: usize = 100_000;
/// Largest object, bytes.
pub const MAX_OBJECT: usize = 16 << 20;
/// Longest name of an object, stream, cursor or id, bytes.
pub const MAX_NAME: usize = 65_535;
