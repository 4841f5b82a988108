//! Taking connections: the network gate, before a byte is read and before TLS.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, End, Peer};
use super::service::{App, TARGET};
#[cfg(feature = "transport-tls")]
use super::tls::{Tls, client_identity};
use crate::metrics::Dropped;

/// Refused plain connections that are given an answer at once; further ones are just closed.
const ANSWERED: usize = 256;

/// What all listeners of a server share.
pub(crate) struct Door {
    pub(crate) app: Arc<App>,
    #[cfg(feature = "transport-tls")]
    pub(crate) tls: Option<Arc<Tls>>,
    #[cfg(feature = "transport-tls")]
    pub(crate) handshakes: Semaphore,
    pub(crate) tasks: TaskTracker,
    /// No further connections, and no further requests on those that there are.
    pub(crate) stop: CancellationToken,
    /// Nothing more at all.
    pub(crate) cut: CancellationToken,
    pub(crate) answering: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn answering() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(ANSWERED))
    }

    /// A token for each connection: they are asked at every step, and one for all would be fought for.
    fn end(&self) -> End {
        End { stop: self.stop.child_token(), cut: self.cut.clone() }
    }
}

/// Counts a connection for as long as it is there.
struct Open(Arc<App>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connection(false);
    }
}

/// Takes connections until the server stops.
pub(crate) async fn accept(listener: TcpListener, door: Arc<Door>, for_health: bool) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = door.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, from)) => admit(stream, from.ip().to_canonical(), &door, for_health),
            Err(error) => {
                // Mostly too many open files: others have to end first.
                tracing::error!(target: TARGET, %error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn admit(mut stream: TcpStream, ip: IpAddr, door: &Arc<Door>, for_health: bool) {
    let app = &door.app;
    let proxy = app.proxies.check(ip).is_ok();
    #[cfg(feature = "transport-tls")]
    let plain = door.tls.is_none() || for_health;
    #[cfg(not(feature = "transport-tls"))]
    let plain = true;
    if !proxy && app.policy.check(ip).is_err() {
        app.metrics.dropped(Dropped::NotAllowed);
        if app.refusals.allow() {
            tracing::warn!(target: TARGET, source = %ip, "source not allowed");
        }
        if plain && let Ok(permit) = door.answering.clone().try_acquire_owned() {
            let app = app.clone();
            door.tasks.spawn(async move {
                app.metrics.response(403);
                connection::answer_raw(&mut stream, &app.forbidden_answer, Duration::from_millis(500)).await;
                drop(permit);
            });
        }
        return;
    }
    if app.open.fetch_add(1, Ordering::Relaxed) >= app.limits.connections {
        app.open.fetch_sub(1, Ordering::Relaxed);
        app.metrics.dropped(Dropped::TooMany);
        if app.refusals.allow() {
            tracing::warn!(target: TARGET, source = %ip, "too many connections");
        }
        return;
    }
    app.metrics.connection(true);
    let open = Open(app.clone());
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    if plain {
        let peer = Peer::new(ip, proxy, None, for_health);
        let (app, end) = (app.clone(), door.end());
        door.tasks.spawn(async move {
            connection::serve(stream, peer, app, end).await;
            drop(open);
        });
        return;
    }
    #[cfg(feature = "transport-tls")]
    if let Some(tls) = door.tls.clone() {
        let (door, end) = (door.clone(), door.end());
        let tasks = door.tasks.clone();
        tasks.spawn(async move {
            if let Some((stream, peer)) = handshake(stream, ip, proxy, &tls, &door, &end.stop).await {
                connection::serve(stream, peer, door.app.clone(), end).await;
            }
            drop(open);
        });
    }
}

#[cfg(feature = "transport-tls")]
async fn handshake(
    stream: TcpStream,
    ip: IpAddr,
    proxy: bool,
    tls: &Tls,
    door: &Door,
    stop: &CancellationToken,
) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, Peer)> {
    let app = &door.app;
    let refused = |error: &dyn std::fmt::Display| {
        app.metrics.dropped(Dropped::Handshake);
        if app.refusals.allow() {
            tracing::warn!(target: "edgesentry_audit::transport::tls", source = %ip, %error, "no TLS");
        }
    };
    let shake = async {
        // Nothing is set up for who says nothing.
        stream.readable().await?;
        let _permit = door.handshakes.acquire().await.map_err(std::io::Error::other)?;
        tokio_rustls::TlsAcceptor::from(tls.config()).accept(stream).await
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(app.patience(app.limits.head_time), Box::pin(shake)) => shaken,
        () = stop.cancelled() => return None,
    };
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            refused(&error);
            return None;
        }
        Err(_) => {
            refused(&"the handshake took too long");
            return None;
        }
    };
    let identity = match stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
        None => None,
        Some(certificate) => match client_identity(certificate) {
            Some(identity) => Some(identity),
            // Without a name nothing would be compared with the device's.
            None => {
                refused(&"the client certificate names nobody: no URI, DNS or common name");
                return None;
            }
        },
    };
    Some((stream, Peer::new(ip, proxy, identity, false)))
}
