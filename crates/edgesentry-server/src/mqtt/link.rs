//! The connection to the broker: one task owns it, takes messages in, sends acknowledgements and replies out, and
//! connects anew whenever it is lost.
//!
//! An acknowledgement belongs to the connection that brought the message. The broker delivers what was not
//! acknowledged again after a reconnection, and may then use the same packet identifier for another message; so
//! acknowledgements of an earlier connection are dropped, never sent.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::{Duration, Instant};

use rumqttc::{
    AckMode, AsyncClient, Event, EventLoop, Incoming, ManualAck, MqttOptions, NetworkOptions, Outgoing,
    PubAck, PublishOptions, QoS, SubscribeReasonCode, Transport,
};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::backoff::Backoff;
use super::judge::{Message, Settled, Ticket};
use super::{MqttConfig, MqttError, TARGET};
use crate::Metrics;

/// Most messages between their arrival and their verdict. More are left with the broker.
pub(super) const MAX_HELD: usize = 1024;
/// Most bytes of them.
const MAX_HELD_BYTES: usize = 32 << 20;
/// Most replies that the broker has not acknowledged. More wait here, not in the client: what waits there for room
/// makes each of its steps slower the more there is.
const MAX_REPLIES: u16 = 512;
/// Most replies that wait for that.
const MAX_WAITING: usize = 16_384;
/// Requests to the connection that may wait.
const REQUESTS: usize = 4096;
/// A packet of any size is taken in, the largest that MQTT has: one that is too large is dropped with a log line,
/// where the connection would be lost over it again and again.
const MAX_INCOMING: usize = 268_435_455;
/// Topic and body of a reply.
const MAX_OUTGOING: usize = 256 << 10;
/// A connection that lasted this long was not the broker's refusal in disguise.
const STABLE: Duration = Duration::from_secs(5);
/// Time to connect, TLS and CONNACK included.
const CONNECT_TIMEOUT_S: u64 = 10;

/// Where a session with the broker is.
pub(super) struct Link<'a> {
    config: &'a MqttConfig,
    metrics: &'a Metrics,
    client: AsyncClient,
    judge: mpsc::Sender<Message>,
    /// Connections so far; names the present one.
    connection: u64,
    /// Messages, and bytes of them, whose verdict is awaited.
    held: (usize, usize),
    /// Acknowledgements that are queued and not sent.
    acks: usize,
    /// Replies that the broker did not acknowledge.
    replies: usize,
    /// Replies that were not yet given to the client: topic and body.
    waiting: VecDeque<(String, String)>,
    /// A SUBSCRIBE waits for its SUBACK.
    subscribing: bool,
    stopping: bool,
    farewell: Farewell,
    /// Something that only a new connection mends.
    broken: Option<String>,
}

/// How far an orderly end is. Closing a connection on which more messages come in makes the system throw away what the
/// other side has not read: the acknowledgements. So the broker is asked something first, the subscription that it has;
/// when it answers it has read what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    None,
    Asked,
    Heard,
    Leaving,
}

/// What woke the owner of the connection.
enum Woken {
    Event(Box<Result<Event, rumqttc::ConnectionError>>),
    Broken(String),
}

impl<'a> Link<'a> {
    pub(super) fn new(
        config: &'a MqttConfig,
        metrics: &'a Metrics,
        judge: mpsc::Sender<Message>,
    ) -> Result<(Self, EventLoop), MqttError> {
        let mut options = MqttOptions::new(config.client_id.clone(), (config.broker.clone(), config.port));
        options
            .try_set_clean_session(false)
            .map_err(|e| MqttError::Config { field: "client_id", reason: e.to_string() })?;
        options.set_keep_alive(u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX).max(5));
        options.set_ack_mode(AckMode::Manual);
        options.set_max_packet_size(MAX_INCOMING, MAX_OUTGOING);
        options.set_inflight(MAX_REPLIES * 2);
        options.set_max_request_batch(256);
        options.set_transport(transport(config)?);
        if let Some(credentials) = &config.credentials {
            match credentials.password() {
                Some(password) => options.set_credentials(credentials.username(), password.to_vec()),
                None => options.set_username(credentials.username()),
            };
        }
        let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        events.set_network_options(network);
        let link = Self {
            config,
            metrics,
            client,
            judge,
            connection: 0,
            held: (0, 0),
            acks: 0,
            replies: 0,
            waiting: VecDeque::new(),
            subscribing: false,
            stopping: false,
            farewell: Farewell::None,
            broken: None,
        };
        Ok((link, events))
    }

    /// Works until `stop` says otherwise, and then until what was taken in is settled, but not longer than the
    /// configured time.
    pub(super) async fn run(
        mut self,
        mut events: EventLoop,
        mut settled: mpsc::UnboundedReceiver<Settled>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut stopped = stop.clone();
        let deadline = async {
            told(&mut stopped).await;
            sleep(self.config.drain).await;
        };
        let mut deadline = pin!(deadline);
        let mut backoff = Backoff::new(self.config.backoff);
        let mut since = None;
        loop {
            let woken = tokio::select! {
                woken = self.wait(&mut events, &mut settled, &mut stop) => woken,
                () = &mut deadline => {
                    warn!(target: TARGET, held = self.held.0, replies = self.replies, "MQTT stopped before all was settled");
                    return;
                }
            };
            let loss = match woken {
                Woken::Broken(reason) => reason,
                Woken::Event(event) => match *event {
                    Ok(event) => {
                        match self.on(event) {
                            Next::Go => {}
                            Next::Up => since = Some(Instant::now()),
                            Next::Done => return,
                        }
                        continue;
                    }
                    Err(_) if self.farewell == Farewell::Leaving => return,
                    Err(error) => error.to_string(),
                },
            };
            let up = since.take();
            if up.is_some_and(|since| since.elapsed() >= STABLE) {
                backoff.reset();
            }
            self.lost(&mut events);
            if self.stopping {
                return;
            }
            let delay = backoff.next();
            error!(
                target: TARGET,
                broker = %self.config.broker,
                port = self.config.port,
                error = %loss,
                retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                "MQTT event loop error"
            );
            if self.pause(delay, &mut settled, &mut stop).await {
                return;
            }
            // Renewed certificates count from the next connection on.
            match transport(self.config) {
                Ok(transport) => drop(events.mqtt_options.set_transport(transport)),
                Err(error) => {
                    warn!(target: TARGET, error = %error, "certificates not read anew; the old ones stay")
                }
            }
        }
    }

    /// Waits for an event of the connection and settles meanwhile. The connection's own future is never dropped half
    /// way: it may be connecting.
    async fn wait(
        &mut self,
        events: &mut EventLoop,
        settled: &mut mpsc::UnboundedReceiver<Settled>,
        stop: &mut watch::Receiver<bool>,
    ) -> Woken {
        let mut poll = pin!(events.poll());
        loop {
            if self.stopping && self.held.0 + self.acks + self.replies + self.waiting.len() == 0 {
                match self.farewell {
                    Farewell::None => {
                        self.farewell = Farewell::Asked;
                        if self.client.try_subscribe(self.config.topic.as_str(), QoS::AtLeastOnce).is_err() {
                            return Woken::Broken("no room for SUBSCRIBE".into());
                        }
                    }
                    Farewell::Heard => {
                        self.farewell = Farewell::Leaving;
                        if self.client.try_disconnect_with_timeout(Duration::from_secs(2)).is_err() {
                            return Woken::Broken("no room for DISCONNECT".into());
                        }
                    }
                    Farewell::Asked | Farewell::Leaving => {}
                }
            }
            tokio::select! {
                biased;
                () = told(stop), if !self.stopping => self.stopping = true,
                Some(settled) = settled.recv() => self.settle(settled),
                event = &mut poll, if !self.is_full() => return Woken::Event(Box::new(event)),
            }
            if let Some(reason) = self.broken.take() {
                return Woken::Broken(reason);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.held.0 >= MAX_HELD || self.held.1 >= MAX_HELD_BYTES
    }

    /// Lets time pass, settling meanwhile. True: it is time to stop.
    async fn pause(
        &mut self,
        delay: Duration,
        settled: &mut mpsc::UnboundedReceiver<Settled>,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let mut over = pin!(sleep(delay));
        loop {
            tokio::select! {
                () = &mut over => return false,
                () = told(stop) => return true,
                Some(settled) = settled.recv() => self.settle(settled),
            }
        }
    }

    fn on(&mut self, event: Event) -> Next {
        match event {
            Event::Incoming(Incoming::ConnAck(connack)) => {
                self.metrics.mqtt_connected(true);
                if !connack.session_present {
                    // What was queued for the old session went with it.
                    self.subscribing = false;
                    self.replies = 0;
                }
                info!(
                    target: TARGET,
                    broker = %self.config.broker,
                    port = self.config.port,
                    session_present = connack.session_present,
                    "MQTT connected"
                );
                if !self.subscribing {
                    self.subscribing = true;
                    if let Err(error) =
                        self.client.try_subscribe(self.config.topic.as_str(), QoS::AtLeastOnce)
                    {
                        self.broken = Some(format!("no room for SUBSCRIBE: {error}"));
                    }
                }
                self.reply();
                return Next::Up;
            }
            Event::Incoming(Incoming::SubAck(suback)) => {
                self.subscribing = false;
                if self.farewell == Farewell::Asked {
                    self.farewell = Farewell::Heard;
                }
                if suback.return_codes.iter().any(|code| matches!(code, SubscribeReasonCode::Failure)) {
                    self.broken =
                        Some(format!("the broker refused the subscription to {}", self.config.topic));
                } else {
                    let MqttConfig { broker, port, topic, .. } = self.config;
                    info!(target: TARGET, broker, port, topic, "MQTT subscribed");
                }
            }
            Event::Incoming(Incoming::Publish(publish)) => self.take(publish),
            Event::Incoming(Incoming::PubAck(_)) => {
                self.replies = self.replies.saturating_sub(1);
                self.reply();
            }
            Event::Outgoing(Outgoing::PubAck(_)) => self.acks = self.acks.saturating_sub(1),
            Event::Outgoing(Outgoing::Disconnect) => return Next::Done,
            _ => {}
        }
        Next::Go
    }

    fn take(&mut self, publish: rumqttc::Publish) {
        if self.stopping {
            // Not acknowledged: the broker keeps it.
            return;
        }
        let ticket = Ticket {
            connection: self.connection,
            pkid: publish.pkid,
            acknowledge: publish.qos == QoS::AtLeastOnce,
            bytes: publish.payload.len(),
        };
        self.held.0 += 1;
        self.held.1 += ticket.bytes;
        let message = Message { topic: publish.topic, payload: publish.payload, ticket };
        // There is room for MAX_HELD, and is_full keeps to it but for what one read brought along.
        if self.judge.try_send(message).is_err() {
            self.held.0 -= 1;
            self.held.1 -= ticket.bytes;
            self.broken = Some("more messages at once than there is room for".into());
        }
    }

    fn settle(&mut self, settled: Settled) {
        self.held.0 -= 1;
        self.held.1 -= settled.ticket.bytes;
        if let Some(reply) = settled.reply {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push_back(reply);
                self.reply();
            } else {
                warn!(target: TARGET, topic = reply.0, "MQTT reply not published: too many wait for the broker");
            }
        }
        let Ticket { connection, pkid, acknowledge, .. } = settled.ticket;
        if acknowledge && connection == self.connection {
            match self.client.try_manual_ack(ManualAck::PubAck(PubAck::new(pkid))) {
                Ok(()) => self.acks += 1,
                Err(error) => self.broken = Some(format!("no room for an acknowledgement: {error}")),
            }
        }
    }

    /// Gives the client as many replies as it should have.
    fn reply(&mut self) {
        while self.replies < usize::from(MAX_REPLIES)
            && let Some((topic, body)) = self.waiting.pop_front()
        {
            match self.client.try_publish(topic.as_str(), body, PublishOptions::at_least_once()) {
                Ok(()) => self.replies += 1,
                Err(error) => warn!(target: TARGET, topic, error = %error, "MQTT reply not published"),
            }
        }
    }

    fn lost(&mut self, events: &mut EventLoop) {
        self.metrics.mqtt_connected(false);
        self.connection += 1;
        self.acks = 0;
        events.clean();
        // What was read and not looked at: the broker sends it again.
        events.state.events.clear();
    }
}

/// Returns when it is time to stop. Whoever could say so being gone is the same.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn transport(config: &MqttConfig) -> Result<Transport, MqttError> {
    #[cfg(feature = "transport-mqtt-tls")]
    if let Some(tls) = &config.tls {
        return Ok(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls.load()?)));
    }
    let _ = config;
    Ok(Transport::tcp())
}

/// What an event means for the owner of the connection.
enum Next {
    Go,
    /// There is a session.
    Up,
    /// DISCONNECT is on its way.
    Done,
}
