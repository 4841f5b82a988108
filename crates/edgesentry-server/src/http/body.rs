//! Reading a body: bounded in size, in time, and in what all bodies together keep.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::limits::Limits;

/// Bodies up to this size that are refused are read to their end, so that who sends them sees the answer.
const LINGER: u64 = 64 << 20;

/// Why a body is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Larger than it may be.
    TooLarge,
    /// It did not come in time.
    Slow,
    /// It ended early, or its framing makes no sense.
    Broken,
    /// Others keep too much.
    NoRoom,
}

/// What bodies of all connections keep, bytes.
#[derive(Debug, Default)]
pub(crate) struct Kept(AtomicUsize);

/// A body, and its part of what is kept.
pub(crate) struct Collected<'a> {
    pub(crate) bytes: Bytes,
    _room: Room<'a>,
}

struct Room<'a> {
    kept: &'a Kept,
    bytes: usize,
    limit: usize,
}

impl Room<'_> {
    fn grow(&mut self, bytes: usize) -> Result<(), BodyError> {
        let before = self.kept.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > self.limit { Err(BodyError::NoRoom) } else { Ok(()) }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.kept.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body to its end.
pub(crate) async fn collect<'a>(
    mut body: Incoming,
    limits: &Limits,
    kept: &'a Kept,
) -> Result<Collected<'a>, BodyError> {
    let begun = Instant::now();
    let mut room = Room { kept, bytes: 0, limit: limits.bodies };
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    loop {
        let so_far = more.as_ref().map_or(first.len(), BytesMut::len);
        let frame = match tokio::time::timeout_at(begun + limits.time_for(so_far), body.frame()).await {
            Err(_) => return Err(BodyError::Slow),
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(|_| BodyError::Broken)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        if so_far + data.len() > limits.body {
            drop((first, more, room));
            discard(body, limits, 0).await;
            return Err(BodyError::TooLarge);
        }
        room.grow(data.len())?;
        if so_far == 0 {
            // Nearly always all of it: no copy.
            first = data;
        } else {
            more.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&data);
        }
    }
    Ok(Collected { bytes: more.map_or(first, BytesMut::freeze), _room: room })
}

/// Reads a body that nobody wants, as long as it comes at the pace of one that somebody wants.
pub(crate) async fn discard(mut body: Incoming, limits: &Limits, announced: u64) {
    if announced.max(body.size_hint().lower()) > LINGER {
        return;
    }
    let (begun, mut seen) = (Instant::now(), 0_usize);
    while seen as u64 <= LINGER {
        match tokio::time::timeout_at(begun + limits.time_for(seen), body.frame()).await {
            Ok(Some(Ok(frame))) => seen += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}
