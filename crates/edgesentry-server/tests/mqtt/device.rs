//! Devices as a test plays them: they sign, publish, and listen for what became of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use edgesentry_audit::{AuditRecord, build_signed_record};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, NetworkOptions, PublishOptions, QoS, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::broker::Broker;

/// A device's chain.
pub struct Device {
    pub id: String,
    pub key: SigningKey,
    next: u64,
    prev: [u8; 32],
}

impl Device {
    pub fn new(id: &str, seed: u8) -> Self {
        Self {
            id: id.into(),
            key: SigningKey::from_bytes(&[seed; 32]),
            next: 1,
            prev: AuditRecord::zero_hash(),
        }
    }

    /// The next record and its payload.
    pub fn sign(&mut self) -> (AuditRecord, Vec<u8>) {
        let payload = payload(&self.id, self.next);
        let (id, at) = (self.id.clone(), 1_700_000_000_000 + self.next);
        let record = build_signed_record(id, self.next, at, &payload, self.prev, "ref.bin", &self.key);
        self.next += 1;
        self.prev = record.hash();
        (record, payload)
    }

    /// The next record as it is published.
    pub fn message(&mut self) -> Vec<u8> {
        let (record, payload) = self.sign();
        message(&record, &payload)
    }
}

/// What record `n` of a device is about: 256 bytes.
pub fn payload(device: &str, n: u64) -> Vec<u8> {
    format!("{device}:{n}:").into_bytes().into_iter().chain(std::iter::repeat(b'.')).take(256).collect()
}

pub fn message(record: &AuditRecord, payload: &[u8]) -> Vec<u8> {
    json!({ "record": record, "raw_payload_hex": hex::encode(payload) }).to_string().into_bytes()
}

/// How to reach a broker.
#[derive(Clone)]
pub struct Reach {
    pub port: u16,
    pub ca: Option<PathBuf>,
    pub login: Option<(String, String)>,
}

impl From<&Broker> for Reach {
    fn from(broker: &Broker) -> Self {
        let ca = broker.file("ca.crt");
        Self { port: broker.port, ca: ca.exists().then_some(ca), login: None }
    }
}

/// A client that stays connected, publishes and listens.
pub struct Peer {
    pub client: AsyncClient,
    heard: mpsc::UnboundedReceiver<(String, Value)>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// Connects under this id and subscribes; returns when it is subscribed. Its session outlives its connections.
    pub async fn connect(reach: &Reach, id: &str, filter: &str) -> Self {
        let mut options = MqttOptions::new(id, ("127.0.0.1", reach.port));
        options
            .set_clean_session(false)
            .set_keep_alive(60)
            .set_max_packet_size(1 << 20, 32 << 20)
            .set_inflight(1000);
        options.set_max_request_batch(64);
        if let Some((user, password)) = &reach.login {
            options.set_credentials(user.clone(), password.clone().into_bytes());
        }
        if let Some(ca) = &reach.ca {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            options.set_transport(Transport::tls_with_config(config.into()));
        }
        let (client, mut events) = AsyncClient::builder(options).capacity(2000).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        let (tell, heard) = mpsc::unbounded_channel();
        let (ready, subscribed) = tokio::sync::oneshot::channel();
        let (again, filter) = (client.clone(), filter.to_owned());
        let task = tokio::spawn(async move {
            let mut ready = Some(ready);
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                        again.try_subscribe(filter.as_str(), QoS::AtLeastOnce).unwrap();
                    }
                    Ok(Event::Incoming(Incoming::SubAck(_))) => {
                        ready.take().map(|ready| ready.send(()));
                    }
                    Ok(Event::Incoming(Incoming::Publish(publish))) => {
                        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                        let body = serde_json::from_slice(&publish.payload).unwrap_or(Value::Null);
                        if tell.send((topic, body)).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
        });
        let within = timeout(Duration::from_secs(10), subscribed).await;
        assert!(matches!(within, Ok(Ok(()))), "{id} is not subscribed: {within:?}");
        Self { client, heard, task }
    }

    /// Queues a message; the client sends it until the broker has acknowledged it.
    pub async fn publish(&self, topic: &str, message: impl Into<Vec<u8>>) {
        self.client.publish(topic, message.into(), PublishOptions::at_least_once()).await.unwrap();
    }

    /// Publishes and waits until the broker has acknowledged all of them.
    pub async fn publish_all(&self, topic: &str, messages: Vec<Vec<u8>>) {
        let mut notices = Vec::new();
        for message in messages {
            let options = PublishOptions::at_least_once();
            notices.push(self.client.publish_tracked(topic, message, options).await.unwrap());
        }
        for notice in notices {
            timeout(Duration::from_secs(30), notice.wait_async()).await.expect("no PUBACK").unwrap();
        }
    }

    /// The next reply and its topic.
    pub async fn hear(&mut self) -> (String, Value) {
        timeout(Duration::from_secs(20), self.heard.recv()).await.expect("no reply").unwrap()
    }

    /// A reply, if there is one within this time.
    pub async fn hear_within(&mut self, time: Duration) -> Option<(String, Value)> {
        timeout(time, self.heard.recv()).await.ok().flatten()
    }
}

/// Sends `count` records and does not rest until each was said to be accepted, now or before: what is not answered, or
/// refused because one is missing, is sent again from the first open one. Gives the number of messages that took.
pub async fn deliver(mut device: Device, reach: Reach, topic: String, count: u64, ahead: usize) -> u64 {
    let mut peer = Peer::connect(&reach, &device.id, &format!("{topic}/response")).await;
    let mut open: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let (mut signed, mut sent) = (0, 0);
    while signed < count || !open.is_empty() {
        while open.len() < ahead && signed < count {
            signed += 1;
            let message = device.message();
            open.insert(signed, message.clone());
            peer.publish(&topic, message).await;
            sent += 1;
        }
        let again = match peer.hear_within(Duration::from_secs(3)).await {
            Some((_, reply)) => {
                let n = reply["sequence"].as_u64().unwrap();
                match (reply["status"].as_str(), reply["duplicate"].as_bool(), reply["reason"].as_str()) {
                    (Some("accepted"), _, _) | (_, Some(true), _) => {
                        open.remove(&n);
                        false
                    }
                    // Everything behind the gap is refused; one of them is enough to begin again.
                    (_, _, Some("invalid sequence")) => {
                        open.last_key_value().is_some_and(|(last, _)| *last == n)
                    }
                    other => panic!("{n} of {}: {other:?}", device.id),
                }
            }
            None => true,
        };
        if again {
            for message in open.values() {
                peer.publish(&topic, message.clone()).await;
                sent += 1;
            }
        }
    }
    sent
}
