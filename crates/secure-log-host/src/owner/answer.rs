//! The answer to a call, for async and blocking callers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::OwnerError;

type Outcome<T> = Result<T, OwnerError>;

/// An answer that comes later: await it, or [`wait`](Answer::wait) for it. The call is made even if this is dropped.
#[must_use = "the call is made all the same; this says how it ended"]
pub struct Answer<T>(State<T>);

enum State<T> {
    Ready(Option<Outcome<T>>),
    Waiting(oneshot::Receiver<Outcome<T>>),
}

impl<T> Unpin for Answer<T> {}

impl<T> Answer<T> {
    pub(super) fn ready(outcome: Outcome<T>) -> Self {
        Self(State::Ready(Some(outcome)))
    }

    pub(super) fn waiting(receiver: oneshot::Receiver<Outcome<T>>) -> Self {
        Self(State::Waiting(receiver))
    }

    /// Blocks this thread until it is there. Not from within an async task: await it there.
    pub fn wait(self) -> Outcome<T> {
        match self.0 {
            State::Ready(outcome) => outcome.unwrap_or(Err(OwnerError::Closed)),
            State::Waiting(receiver) => receiver.blocking_recv().unwrap_or(Err(lost())),
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(outcome) => Poll::Ready(outcome.take().unwrap_or(Err(OwnerError::Closed))),
            State::Waiting(receiver) => {
                Pin::new(receiver).poll(cx).map(|outcome| outcome.unwrap_or(Err(lost())))
            }
        }
    }
}

fn lost() -> OwnerError {
    OwnerError::Unavailable("the owner of the log ended before it answered".into())
}
