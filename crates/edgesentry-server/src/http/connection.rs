//! One connection: its first bytes, then hyper, and a watch on how long it takes.
//!
//! Until the head of its first request is there, a connection costs its socket and the bytes that it sent: whoever
//! opens thousands of them and sends little ties up little.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::service::{self, App};
use crate::metrics::Dropped;

/// First bytes that are waited for before hyper takes over.
const FIRST: usize = 2048;

/// Whose connection it is.
pub(crate) struct Peer {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// The same as text.
    pub(crate) text: String,
    /// Whether `X-Forwarded-For` says whose requests these are.
    pub(crate) proxy: bool,
    /// Who its certificate says it is.
    pub(crate) identity: Option<String>,
    /// Whether it came to the address for health and metrics.
    pub(crate) for_health: bool,
    watch: Watch,
}

impl Peer {
    pub(crate) fn new(ip: IpAddr, proxy: bool, identity: Option<String>, for_health: bool) -> Self {
        Self { ip, text: ip.to_string(), proxy, identity, for_health, watch: Watch::new() }
    }
}

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// What a connection is doing, and since when.
struct Watch {
    begun: Instant,
    phase: AtomicU8,
    since_ms: AtomicU64,
}

impl Watch {
    fn new() -> Self {
        Self { begun: Instant::now(), phase: AtomicU8::new(HEAD), since_ms: AtomicU64::new(0) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn enter(&self, phase: u8) {
        self.since_ms.store(self.now_ms(), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// Whether it took too long over what it does. Requests that are being answered watch themselves.
    fn overdue(&self, app: &App) -> bool {
        let limit = match self.phase.load(Ordering::Relaxed) {
            IDLE => app.patience(app.limits.idle_time),
            HEAD => app.patience(app.limits.head_time),
            _ => return false,
        };
        let since = Duration::from_millis(self.since_ms.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(since) >= limit
    }
}

/// The bytes that were read already, then the rest.
struct Replay<S> {
    first: Bytes,
    io: S,
    peer: Arc<Peer>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let n = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first.split_to(n));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let watch = &self.peer.watch;
        if buf.filled().len() > before && watch.phase.load(Ordering::Relaxed) == IDLE {
            watch.enter(HEAD);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// When a connection has to end.
pub(crate) struct End {
    /// After the request that it has.
    pub(crate) stop: CancellationToken,
    /// At once.
    pub(crate) cut: CancellationToken,
}

/// Serves a connection to its end.
pub(crate) async fn serve<S>(mut io: S, peer: Peer, app: Arc<App>, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let first = tokio::select! {
        first = first_bytes(&mut io, app.patience(app.limits.head_time)) => first,
        () = end.stop.cancelled() => return,
    };
    match first {
        Ok(Some(first)) => Box::pin(requests(io, first, peer, app, end)).await,
        Ok(None) => app.metrics.dropped(Dropped::Slow),
        Err(Ended::Quietly) => {}
        Err(Ended::Slow) => {
            app.metrics.dropped(Dropped::Slow);
            app.metrics.response(408);
            answer_raw(&mut io, &app.timeout_answer, Duration::from_secs(1)).await;
        }
    }
}

enum Ended {
    Quietly,
    Slow,
}

/// The head of the first request, or as much of it as hyper should see. `None`: not a byte came in time.
async fn first_bytes<S: AsyncRead + Unpin>(io: &mut S, time: Duration) -> Result<Option<BytesMut>, Ended> {
    let deadline = Instant::now() + time;
    let mut first = BytesMut::new();
    loop {
        first.reserve(512);
        match timeout_at(deadline, io.read_buf(&mut first)).await {
            Err(_) if first.is_empty() => return Ok(None),
            Err(_) => return Err(Ended::Slow),
            Ok(Err(_) | Ok(0)) => return Err(Ended::Quietly),
            Ok(Ok(_)) => {}
        }
        if first.len() >= FIRST
            || first.windows(4).any(|w| w == b"\r\n\r\n")
            || first.windows(2).any(|w| w == b"\n\n")
        {
            return Ok(Some(first));
        }
    }
}

async fn requests<S>(io: S, first: BytesMut, peer: Peer, app: Arc<App>, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(peer);
    let io = TokioIo::new(Replay { first: first.freeze(), io, peer: peer.clone() });
    let answer = service_fn(|request| {
        let (app, peer) = (app.clone(), peer.clone());
        async move {
            peer.watch.enter(BUSY);
            let response = service::answer(&app, &peer, request).await;
            peer.watch.enter(IDLE);
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection =
        pin!(http1::Builder::new().max_buf_size(app.limits.head.max(8192)).serve_connection(io, answer));
    // Now and then is enough: what it measures are seconds.
    let every = (app.limits.head_time.min(app.limits.idle_time) / 4).max(Duration::from_millis(10));
    let mut tick: Pin<&mut Sleep> = pin!(sleep_until(Instant::now() + every));
    let mut stopping = pin!(end.stop.cancelled());
    let mut cutting = pin!(end.cut.cancelled());
    let mut stopped = false;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        if !stopped && stopping.as_mut().poll(cx).is_ready() {
            stopped = true;
            connection.as_mut().graceful_shutdown();
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(ended));
            }
        }
        if stopped && cutting.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        while tick.as_mut().poll(cx).is_ready() {
            if peer.watch.overdue(&app) {
                return Poll::Ready(None);
            }
            tick.as_mut().reset(Instant::now() + every);
        }
        Poll::Pending
    })
    .await;
    match ended {
        None if stopped => {}
        None => app.metrics.dropped(Dropped::Slow),
        Some(Err(error)) if error.is_parse() => {
            app.metrics.dropped(Dropped::NotHttp);
            tracing::debug!(target: service::TARGET, source = peer.text, %error, "not HTTP");
        }
        Some(_) => {}
    }
}

/// Sends an answer to whoever is not served, and waits a little for the sender to see it: closing with bytes unread
/// would take it away.
pub(crate) async fn answer_raw<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S, answer: &[u8], time: Duration) {
    let deadline = Instant::now() + time;
    let sent = timeout_at(deadline, async {
        io.write_all(answer).await?;
        io.shutdown().await
    });
    if !matches!(sent.await, Ok(Ok(()))) {
        return;
    }
    let mut scrap = [0; 1024];
    while matches!(timeout_at(deadline, io.read(&mut scrap)).await, Ok(Ok(n)) if n > 0) {}
}
