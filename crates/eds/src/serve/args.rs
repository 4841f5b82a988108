//! What the servers take on the command line.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use edgesentry_server::http::{ClientCerts, TlsSettings};
use edgesentry_server::mqtt::{Credentials, MqttConfig, MqttTls};

use super::run;
use crate::open::StoreArgs;
use crate::signing::TokenArgs;
use crate::time;

/// The form of log events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of JSON each
    Json,
    /// Lines to read
    Text,
}

// What every server has.
#[derive(Args, Debug)]
pub(crate) struct GateArgs {
    /// Register a device with its public key (64 hex digits); may be given several times. The same again changes
    /// nothing, and never revives a key that was revoked
    #[arg(long = "device", value_name = "ID=PUBKEY_HEX")]
    pub devices: Vec<String>,

    /// Take records of version 1 from this device too; may be given several times. Version 1 signs the payload hash
    /// alone: whoever saw one record can make up its successors
    #[arg(long, value_name = "ID")]
    pub allow_v1: Vec<String>,

    /// Name of this gate: its decisions are in the stream `operations/<NAME>`. Each gate on a store has its own
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub gate_id: String,

    /// Name of a log that has no entry yet, as its checkpoints will carry it
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,

    /// Close segments after so many accepted records
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub segment_records: u64,

    /// Close segments after so many seconds, if there is anything new
    #[arg(long, value_name = "T", default_value = "60", value_parser = time::parse_duration)]
    pub segment_seconds: Duration,

    /// Sign a checkpoint over closed segments with this key: of --keys, or on a token (`pkcs11:token=…;object=…`)
    #[arg(long, value_name = "IDENTITY")]
    pub sign_with: Option<String>,

    /// Have each checkpoint cosigned by the witnesses of this C2SP tlog-policy file, in the background. While it lacks
    /// their quorum the server goes on and says so, in the log and in its metrics
    #[arg(long, value_name = "FILE", requires = "sign_with")]
    pub policy: Option<PathBuf>,

    /// How long a witness may take to answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time::parse_duration)]
    pub witness_timeout: Duration,

    /// How long to wait before witnesses that did not cosign are asked again
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time::parse_duration)]
    pub witness_retry: Duration,

    /// Where `eds log backup` may put copies while this server runs, beside the store's own directory
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,

    /// Records a second that each device may send from one source [default: as it likes]
    #[arg(long, value_name = "N")]
    pub rate_limit_device: Option<NonZeroU32>,

    /// Health and metrics on this address, without TLS (HTTP and HTTPS: instead of the address for records)
    #[arg(long, value_name = "ADDR")]
    pub metrics_addr: Option<SocketAddr>,

    /// Form of log events, on stdout. What is logged: RUST_LOG [default: edgesentry_audit=info,warn]
    #[arg(long, value_name = "FORM", default_value = "json")]
    pub log_format: LogFormat,

    #[command(flatten)]
    pub store: StoreArgs,

    #[command(flatten)]
    pub token: TokenArgs,
}

// What servers for HTTP have.
#[derive(Args, Debug)]
pub(crate) struct HttpArgs {
    /// Addresses and networks that may connect, with commas between them. Checked before TLS and before any signature
    #[arg(long, value_name = "CIDR,…", default_value = "127.0.0.1", value_delimiter = ',')]
    pub allowed_sources: Vec<String>,

    /// Proxies whose X-Forwarded-For says who the client is, with commas between them; --allowed-sources then counts for
    /// the client
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,

    /// Requests a second that each source may send [default: as it likes]
    #[arg(long, value_name = "N")]
    pub rate_limit_source: Option<NonZeroU32>,

    /// Connections at once; further ones are closed at once
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,

    /// How long requests in flight may take when the server stops
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time::parse_duration)]
    pub drain_time: Duration,

    #[command(flatten)]
    pub gate: GateArgs,
}

/// Receive records over HTTP
///
/// `POST /api/v1/ingest` takes a record with its payload and answers 202 when it is durable. Without TLS: for a private
/// network or behind a proxy. Stops in order on SIGTERM and SIGINT. While it runs it owns the store; `eds audit devices`
/// and `eds log backup` reach it through the socket `<store>.sock`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds audit serve --device lift-01=8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c
  eds serve --addr 0.0.0.0:8080 --allowed-sources 10.0.0.0/8 --store /var/lib/edgesentry/audit.db \\
    --sign-with audit --keys /etc/edgesentry/keys --metrics-addr 127.0.0.1:9464
  eds serve --sign-with 'pkcs11:token=prod;object=audit' --pkcs11-module /usr/lib/softhsm/libsofthsm2.so \\
    --pin-file /etc/edgesentry/pin")]
pub(crate) struct ServeHttp {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    addr: SocketAddr,
    #[command(flatten)]
    http: HttpArgs,
}

impl ServeHttp {
    pub fn run(self) -> Result<()> {
        run::http(self.addr, self.http, None)
    }
}

/// Receive records over HTTPS
///
/// As `serve`, over TLS 1.2 and 1.3. Certificate files are read again on SIGHUP and when they change; if they cannot be
/// used, those in use stay.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eds serve-tls --tls-cert /etc/edgesentry/server.crt --tls-key /etc/edgesentry/server.key \\
    --allowed-sources 10.0.0.0/8 --device lift-01=8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")]
pub(crate) struct ServeTls {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    addr: SocketAddr,
    /// PEM file with the certificate chain, leaf first
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,
    /// PEM file with the private key (PKCS#8, or PKCS#1 for RSA)
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// PEM file with the authorities that vouch for devices: clients have to show a certificate, and its identity must be
    /// the device of the record
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// PEM file with lists of revoked client certificates
    #[arg(long, value_name = "FILE", requires = "tls_client_ca")]
    tls_client_crl: Option<PathBuf>,
    /// Let in clients without a certificate too
    #[arg(long, requires = "tls_client_ca")]
    tls_client_optional: bool,
    #[command(flatten)]
    http: HttpArgs,
}

impl ServeTls {
    pub fn run(self) -> Result<()> {
        let mut tls = TlsSettings::new(self.tls_cert, self.tls_key);
        tls.clients = self.tls_client_ca.map(|ca| ClientCerts {
            ca,
            crl: self.tls_client_crl,
            optional: self.tls_client_optional,
        });
        run::http(self.addr, self.http, Some(tls))
    }
}

/// Receive records from an MQTT broker
///
/// Subscribes with QoS 1 and acknowledges a message when its record is durable. What became of it is published on the
/// message's topic with `/response` appended. User name and password for the broker: EDS_MQTT_USERNAME, and
/// EDS_MQTT_PASSWORD or EDS_MQTT_PASSWORD_FILE.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds serve-mqtt --broker broker.example.com --topic edgesentry/ingest \\
    --device lift-01=8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c
  eds serve-mqtt --broker broker.example.com --port 8883 --tls-ca-cert /etc/edgesentry/ca.crt \\
    --topic 'devices/+/ingest' --identity-level 2")]
pub(crate) struct ServeMqtt {
    /// Name or address of the broker
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    broker: String,
    /// Its port (8883 for MQTTS)
    #[arg(long, value_name = "PORT", default_value_t = 1883)]
    port: u16,
    /// Topic to subscribe to; may have wildcards
    #[arg(long, value_name = "TOPIC", default_value = "edgesentry/ingest")]
    topic: String,
    /// Client identifier: the broker keeps a session by it, so no two servers have the same
    #[arg(long, value_name = "ID", default_value = "eds-server")]
    client_id: String,
    /// Connect over TLS, and check the broker by these authorities (PEM file)
    #[arg(long, value_name = "FILE")]
    tls_ca_cert: Option<PathBuf>,
    /// Connect over TLS, and check the broker by the authorities of this system
    #[arg(long, conflicts_with = "tls_ca_cert")]
    tls: bool,
    /// PEM file with our own certificate chain, for brokers that ask for one
    #[arg(long, value_name = "FILE", requires = "tls_client_key")]
    tls_client_cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "tls_client_cert")]
    tls_client_key: Option<PathBuf>,
    /// The topic level (the first is 1) that names the sender, which must be the device of the record. Use it where the
    /// broker lets each device publish on its own topic only
    #[arg(long, value_name = "N")]
    identity_level: Option<usize>,
    /// Addresses and networks that may ask for health and metrics at --metrics-addr, with commas between them
    #[arg(long, value_name = "CIDR,…", default_value = "127.0.0.1", value_delimiter = ',')]
    allowed_sources: Vec<String>,
    #[command(flatten)]
    gate: GateArgs,
}

impl ServeMqtt {
    pub fn run(self) -> Result<()> {
        let mut config = MqttConfig::new(self.broker, self.topic, self.client_id);
        config.port = self.port;
        config.identity_level = self.identity_level;
        config.credentials = Credentials::from_environment(|name| std::env::var(name).ok())?;
        let client_cert = self.tls_client_cert.zip(self.tls_client_key);
        if self.tls || self.tls_ca_cert.is_some() || client_cert.is_some() {
            config.tls = Some(MqttTls { ca_cert: self.tls_ca_cert, client_cert });
        }
        run::mqtt(config, &self.allowed_sources, self.gate)
    }
}
