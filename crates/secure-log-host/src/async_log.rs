//! An open log for async code.

use crate::artifact::Artifact;
use crate::bindings::core::exports::secure_log::log::time::{Subject, Trust};
use crate::bindings::core::secure_log::log::types::{
    ConsistencyProof, EntryHeader, EntryProof, Event, InclusionProof, Page, QueryFilter, Severity,
    StreamHead, StreamOptions, Tier,
};
use crate::error::{Error, Result};
use crate::owner::{LogOwner, OwnerError, OwnerEvents, Settings};
use crate::site::Site;

/// An open log on a thread of its own: every method gives an [`Answer`](crate::Answer) at once, to await under any
/// executor or to wait for. Clone it freely. When the instance dies, calls that were in it get
/// [`OwnerError::Unavailable`] and another instance opens the log.
///
/// Arguments are copied for the thread. For records of devices, and for settings, take the [`LogOwner`] below it.
#[derive(Clone, Debug)]
pub struct AsyncLog {
    owner: LogOwner,
}

impl AsyncLog {
    /// Opens the log. The thread that polls this does not block.
    pub async fn open(
        artifact: Artifact,
        site: Site,
        settings: Settings,
        events: impl OwnerEvents,
    ) -> Result<Self> {
        Self::on_a_thread(move || LogOwner::start(&artifact, site, settings, events)).await
    }

    /// What `start` gives, which may compile a component and wait for a lock.
    pub(crate) async fn on_a_thread(
        start: impl FnOnce() -> Result<LogOwner> + Send + 'static,
    ) -> Result<Self> {
        let (sender, started) = tokio::sync::oneshot::channel();
        let run = move || drop(sender.send(start()));
        std::thread::Builder::new().name("secure-log-open".into()).spawn(run).map_err(Error::Thread)?;
        let ended = || Error::Thread(std::io::Error::other("it ended before the log was open"));
        Ok(Self { owner: started.await.map_err(|_| ended())?? })
    }

    /// The thread that owns the log.
    pub fn owner(&self) -> &LogOwner {
        &self.owner
    }

    /// Finishes the calls that wait, takes no more, and closes the log.
    pub async fn close(self) -> Result<(), OwnerError> {
        let (sender, closed) = tokio::sync::oneshot::channel();
        let run = move || drop(sender.send(self.owner.shutdown()));
        let thread = std::thread::Builder::new().name("secure-log-close".into()).spawn(run);
        thread.map_err(|e| OwnerError::Unavailable(format!("no thread to close the log on: {e}")))?;
        closed.await.unwrap_or(Err(OwnerError::Closed))
    }
}

/// An argument that waits for its call on another thread.
pub(crate) trait Argument<'a> {
    type Kept: Send + 'static;
    fn keep(self) -> Self::Kept;
    fn lend(kept: &'a Self::Kept) -> Self;
}

/// Arguments that are slices, in a box meanwhile.
macro_rules! slices {
    ($($of:ty),*) => {$(
        impl<'a> Argument<'a> for &'a [$of] {
            type Kept = Vec<$of>;
            fn keep(self) -> Vec<$of> {
                self.to_vec()
            }
            fn lend(kept: &'a Vec<$of>) -> Self {
                kept
            }
        }
    )*};
}

/// Arguments behind a reference.
macro_rules! references {
    ($($to:ty),*) => {$(
        impl<'a> Argument<'a> for &'a $to {
            type Kept = $to;
            fn keep(self) -> $to {
                self.clone()
            }
            fn lend(kept: &'a $to) -> Self {
                kept
            }
        }
    )*};
}

/// Arguments that are values.
macro_rules! values {
    ($($of:ty),*) => {$(
        impl Argument<'_> for $of {
            type Kept = $of;
            fn keep(self) -> $of {
                self
            }
            fn lend(kept: &$of) -> $of {
                *kept
            }
        }
    )*};
}

slices!(u8, String, Event, StreamHead);
references!(
    EntryHeader,
    StreamOptions,
    QueryFilter,
    Page,
    InclusionProof,
    ConsistencyProof,
    EntryProof,
    Subject,
    Trust
);
values!(u64, u16, Tier, Severity);

impl<'a> Argument<'a> for &'a str {
    type Kept = String;
    fn keep(self) -> String {
        self.to_owned()
    }
    fn lend(kept: &'a String) -> Self {
        kept
    }
}

impl<'a> Argument<'a> for Option<&'a str> {
    type Kept = Option<String>;
    fn keep(self) -> Option<String> {
        self.map(str::to_owned)
    }
    fn lend(kept: &'a Option<String>) -> Self {
        kept.as_deref()
    }
}

impl<'a> Argument<'a> for Option<&'a [u8]> {
    type Kept = Option<Vec<u8>>;
    fn keep(self) -> Option<Vec<u8>> {
        self.map(<[u8]>::to_vec)
    }
    fn lend(kept: &'a Option<Vec<u8>>) -> Self {
        kept.as_deref()
    }
}
