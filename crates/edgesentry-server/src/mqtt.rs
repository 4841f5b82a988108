//! Records from an MQTT 3.1.1 broker.
//!
//! [`serve_mqtt`] subscribes to a topic filter with QoS 1 and a session that outlives the connection. A message is
//! acknowledged when its verdict is durable: accepted, refused or malformed, for to deliver those again would not
//! help. While the gate fails nothing is acknowledged, and the broker keeps what it has. What became of a record is
//! published on the topic of its message with `/response` appended.

mod backoff;
mod config;
mod judge;
mod link;
#[cfg(feature = "transport-mqtt-tls")]
mod tls;
mod topic;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

pub use config::{Credentials, MqttConfig, PASSWORD, PASSWORD_FILE, USERNAME};
#[cfg(feature = "transport-mqtt-tls")]
pub use tls::MqttTls;

use crate::Intake;

/// Target of log events.
const TARGET: &str = "edgesentry_audit::transport::mqtt";

/// Why serving did not begin. A broker that cannot be reached is not among it: that is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MqttError {
    /// A setting that makes no sense.
    #[error("MQTT {field}: {reason}")]
    Config {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or key that cannot be used.
    #[error("TLS to the MQTT broker: {what}: {reason}")]
    Tls {
        /// A file, mostly.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Serves until `shutdown`, then settles what it took in, acknowledges it and disconnects. Losing the broker, or not
/// finding it, ends nothing.
///
/// # Errors
///
/// A configuration that cannot work; nothing was connected then.
pub async fn serve_mqtt(
    config: MqttConfig,
    intake: Arc<Intake>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), MqttError> {
    config.check()?;
    let (messages, inbox) = mpsc::channel(link::MAX_HELD);
    let (done, settled) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let (link, events) = link::Link::new(&config, intake.metrics(), messages)?;
    let judge = judge::Judge::new(&config, Arc::clone(&intake), done, stopped.clone());
    let mut judging = tokio::spawn(judge.run(inbox));
    let signal = async {
        shutdown.await;
        let _ = stop.send(true);
        std::future::pending::<()>().await;
    };
    let prune = async {
        loop {
            sleep(Duration::from_secs(1)).await;
            intake.prune();
        }
    };
    tokio::select! {
        () = link.run(events, settled, stopped) => {}
        () = signal => {}
        () = prune => {}
    }
    // It ends when nobody sends to it any more, unless it waits for a gate that does not answer.
    if timeout(config.drain, &mut judging).await.is_err() {
        judging.abort();
        let _ = judging.await;
    }
    Ok(())
}
