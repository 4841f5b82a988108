//! The MQTT transport with real mosquittos, and a gate over a real store.

#![cfg(all(feature = "transport-mqtt", feature = "transport-mqtt-tls"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation ends the test")]

#[path = "mqtt/broker.rs"]
mod broker;
#[path = "mqtt/device.rs"]
mod device;
#[path = "mqtt/native.rs"]
mod native;
#[path = "mqtt/server.rs"]
mod server;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use edgesentry_server::mqtt::{Credentials, MqttConfig, MqttError, MqttTls};
use serde_json::Value;
use tokio::time::sleep;

use broker::{Broker, Setup};
use device::{Device, Peer, Reach, deliver, message};
use server::{Server, Store, config};

const PLAIN: Setup<'_> = Setup {
    tls: false,
    client_certs: false,
    more: "",
    acl: None,
    users: &[],
    names: &["localhost", "127.0.0.1"],
};
const TLS: Setup<'_> = Setup { tls: true, ..PLAIN };

fn told(reply: &Value) -> (&str, u64, Option<&str>) {
    (reply["status"].as_str().unwrap(), reply["sequence"].as_u64().unwrap(), reply["reason"].as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_judged_and_answered_and_what_is_malformed_is_dropped() {
    let (broker, store) = (Broker::start(&PLAIN), Store::new());
    let mut lift = Device::new("lift-01", 1);
    store.register(&[&lift]);
    let server = Server::start(config(&broker, "edgesentry/ingest"), &store).await;
    let mut peer = Peer::connect(&Reach::from(&broker), "peer", "edgesentry/ingest/response").await;

    let (record, payload) = lift.sign();
    let first = message(&record, &payload);
    peer.publish("edgesentry/ingest", first.clone()).await;
    let (topic, reply) = peer.hear().await;
    assert_eq!(topic, "edgesentry/ingest/response");
    assert_eq!((reply["device_id"].as_str(), told(&reply)), (Some("lift-01"), ("accepted", 1, None)));

    peer.publish("edgesentry/ingest", first).await;
    let (_, reply) = peer.hear().await;
    assert_eq!(
        (told(&reply), reply["duplicate"].as_bool()),
        (("rejected", 1, Some("duplicate")), Some(true))
    );

    let (good, payload) = lift.sign();
    let mut forged = good.clone();
    forged.signature[0] ^= 1;
    peer.publish("edgesentry/ingest", message(&forged, &payload)).await;
    let (_, reply) = peer.hear().await;
    assert_eq!(told(&reply), ("rejected", 2, Some("invalid signature")));
    assert!(reply["error"].as_str().unwrap().contains("lift-01"));
    peer.publish("edgesentry/ingest", message(&good, b"another payload")).await;
    assert_eq!(told(&peer.hear().await.1), ("rejected", 2, Some("payload hash mismatch")));
    let mut unknown = Device::new("lift-02", 2);
    peer.publish("edgesentry/ingest", unknown.message()).await;
    assert_eq!(told(&peer.hear().await.1), ("rejected", 1, Some("unknown device")));

    // None of these is answered, and none of them stops what follows.
    let text = String::from_utf8(message(&good, &payload)).unwrap();
    let malformed = [
        b"not json".to_vec(),
        Vec::new(),
        b"\xff\xfe".to_vec(),
        b"{\"record\":{}}".to_vec(),
        text.replace("\"raw_payload_hex\":\"6c", "\"raw_payload_hex\":\"6").into_bytes(),
        text.replace("\"raw_payload_hex\":\"6c", "\"raw_payload_hex\":\"zz").into_bytes(),
        vec![b' '; (2 << 20) + 1],
        vec![b'['; 2 << 20],
        [message(&good, &payload), vec![b' '; 10 << 20]].concat(),
    ];
    let many = malformed.len();
    peer.publish_all("edgesentry/ingest", malformed.to_vec()).await;
    peer.publish("edgesentry/ingest", message(&good, &payload)).await;
    assert_eq!(told(&peer.hear().await.1), ("accepted", 2, None));
    assert_eq!(server.metric("edgesentry_mqtt_messages_total{result=\"malformed\"}"), many as u64);
    assert_eq!(server.metric("edgesentry_mqtt_messages_total{result=\"accepted\"}"), 2);
    assert_eq!(server.metric("edgesentry_mqtt_messages_total{result=\"rejected\"}"), 4);
    assert_eq!(server.metric("edgesentry_ingest_rejected_total{reason=\"invalid signature\"}"), 1);
    assert_eq!(server.metric("edgesentry_mqtt_reconnects_total"), 0);

    // All was acknowledged: whoever comes next under this name is sent nothing.
    server.stop().await;
    let server = Server::start(config(&broker, "edgesentry/ingest"), &store).await;
    peer.publish("edgesentry/ingest", lift.message()).await;
    assert_eq!(told(&peer.hear().await.1), ("accepted", 3, None));
    assert_eq!(server.metric("edgesentry_mqtt_messages_total{result=\"rejected\"}"), 0);
    assert_eq!(server.metric("edgesentry_mqtt_messages_total{result=\"malformed\"}"), 0);
    server.stop().await;
    store.assert_stored("lift-01", 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_takes_many_topics_and_a_level_names_the_sender() {
    let (broker, store) = (Broker::start(&PLAIN), Store::new());
    let (mut one, mut two) = (Device::new("lift-01", 1), Device::new("lift-02", 2));
    store.register(&[&one, &two]);
    let config = MqttConfig { identity_level: Some(2), ..config(&broker, "devices/+/ingest") };
    let server = Server::start(config, &store).await;
    let mut peer = Peer::connect(&Reach::from(&broker), "peer", "devices/#").await;
    let mut answer = async |topic: &str, message: Vec<u8>| {
        peer.publish(topic, message).await;
        loop {
            let (heard, reply) = peer.hear().await;
            if heard.ends_with("/response") {
                assert_eq!(heard, format!("{topic}/response"));
                return reply;
            }
        }
    };
    assert_eq!(told(&answer("devices/lift-01/ingest", one.message()).await), ("accepted", 1, None));
    let first = two.message();
    let reply = answer("devices/lift-01/ingest", first.clone()).await;
    assert_eq!(told(&reply), ("rejected", 1, Some("auth/device mismatch")));
    assert_eq!(told(&answer("devices/lift-02/ingest", first).await), ("accepted", 1, None));
    server.stop().await;
    store.assert_stored("lift-01", 1);
    store.assert_stored("lift-02", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_are_not_taken_for_records() {
    let (broker, store) = (Broker::start(&PLAIN), Store::new());
    let mut lift = Device::new("lift-01", 1);
    store.register(&[&lift]);
    let server = Server::start(config(&broker, "devices/#"), &store).await;
    let mut peer = Peer::connect(&Reach::from(&broker), "peer", "devices/#").await;
    for n in 1..=20 {
        peer.publish("devices/lift-01", lift.message()).await;
        let mut topics = [peer.hear().await, peer.hear().await];
        topics.sort_by_key(|(topic, _)| topic.len());
        assert_eq!(topics[1].0, "devices/lift-01/response");
        assert_eq!(told(&topics[1].1), ("accepted", n, None));
    }
    assert_eq!(peer.hear_within(Duration::from_millis(300)).await, None, "a reply was answered");
    assert_eq!(server.metric("edgesentry_mqtt_messages_total{result=\"malformed\"}"), 0);
    assert_eq!(server.metric("edgesentry_mqtt_messages_total{result=\"accepted\"}"), 20);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_takes_the_right_authority_and_name_only() {
    let (broker, store) = (Broker::start(&TLS), Store::new());
    let mut lift = Device::new("lift-01", 1);
    store.register(&[&lift]);
    let good = config(&broker, "edgesentry/ingest");
    let tls = |ca: &str| Some(MqttTls { ca_cert: Some(broker.file(ca)), client_cert: None });

    let elsewhere = Broker::start(&Setup { names: &["broker.example.com"], ..TLS });
    let wrong_name = config(&elsewhere, "edgesentry/ingest");
    let wrong_authority = MqttConfig { tls: tls("other-ca.crt"), ..good.clone() };
    let of_the_system = MqttConfig { tls: Some(MqttTls::default()), ..good.clone() };
    for (bad, why) in [
        (wrong_authority, "UnknownIssuer"),
        (of_the_system, "UnknownIssuer"),
        (wrong_name, "not valid for name"),
    ] {
        let port = bad.port;
        let server = match Server::try_start(bad, &store).await {
            Ok(server) => server,
            // This machine has no authorities.
            Err(MqttError::Tls { .. }) => continue,
            Err(other) => panic!("{other}"),
        };
        server.until("edgesentry_mqtt_reconnects_total", 3).await;
        assert!(
            server.logged("MQTT event loop error").contains(why),
            "{}",
            server.logged("MQTT event loop error")
        );
        assert_eq!(server.metric("edgesentry_mqtt_connected"), 0);
        server.stop().await;
        let broker = if port == broker.port { &broker } else { &elsewhere };
        assert!(!broker.log().contains("as eds-test"), "it logged in: {}", broker.log());
    }

    let server = Server::start(good.clone(), &store).await;
    let mut peer = Peer::connect(&Reach::from(&broker), "peer", "edgesentry/ingest/response").await;
    peer.publish("edgesentry/ingest", lift.message()).await;
    assert_eq!(told(&peer.hear().await.1), ("accepted", 1, None));
    server.stop().await;

    // Files that are none are found before anything is connected.
    for (file, what) in
        [("ca.key", "No such file"), ("mosquitto.conf", "no certificate"), ("server.key", "no certificate")]
    {
        let bad = MqttConfig { tls: tls(file), ..good.clone() };
        let error = Server::try_start(bad, &store).await.err().unwrap().to_string();
        assert!(error.contains(what) && error.contains(file), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_asks_for_a_certificate_gets_one() {
    let (broker, store) = (Broker::start(&Setup { client_certs: true, ..TLS }), Store::new());
    let without = config(&broker, "edgesentry/ingest");
    let mut with = without.clone();
    if let Some(tls) = &mut with.tls {
        tls.client_cert = Some((broker.file("client.crt"), broker.file("client.key")));
    }
    let server = Server::start_unconnected(without, &store).await;
    server.until("edgesentry_mqtt_reconnects_total", 2).await;
    assert_eq!(server.metric("edgesentry_mqtt_connected"), 0);
    server.stop().await;
    let server = Server::start(with, &store).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_and_password_count_and_so_do_access_rules() {
    let acl = "user eds\ntopic read devices/+/ingest\ntopic write devices/+/ingest/response\n\npattern write devices/%u/ingest\npattern read devices/%u/ingest/response\n";
    let users = [("eds", "gate-s3cret"), ("lift-01", "one"), ("lift-02", "two")];
    let broker = Broker::start(&Setup { acl: Some(acl), users: &users, ..PLAIN });
    let store = Store::new();
    let (mut one, mut two) = (Device::new("lift-01", 1), Device::new("lift-02", 2));
    store.register(&[&one, &two]);
    let login = |password: &str| Some(Credentials::new("eds", Some(password.into())));
    let right = MqttConfig {
        credentials: login("gate-s3cret"),
        identity_level: Some(2),
        ..config(&broker, "devices/+/ingest")
    };

    let wrong = MqttConfig { credentials: login("wrong-s3cret"), ..right.clone() };
    let server = Server::start_unconnected(wrong, &store).await;
    server.until("edgesentry_mqtt_reconnects_total", 2).await;
    let logged = server.logged("MQTT event loop error");
    assert!(logged.contains("NotAuthorized") || logged.contains("BadUserNamePassword"), "{logged}");
    server.stop().await;

    let server = Server::start(right, &store).await;
    let reach = |user: &str, password: &str| Reach {
        login: Some((user.into(), password.into())),
        ..Reach::from(&broker)
    };
    let mut first =
        Peer::connect(&reach("lift-01", "one"), "lift-01", "devices/lift-01/ingest/response").await;
    let mut second =
        Peer::connect(&reach("lift-02", "two"), "lift-02", "devices/lift-02/ingest/response").await;
    first.publish("devices/lift-01/ingest", one.message()).await;
    assert_eq!(told(&first.hear().await.1), ("accepted", 1, None));
    // The broker drops what a device publishes on another's topic; nobody hears of it.
    let message = two.message();
    second.publish("devices/lift-01/ingest", message.clone()).await;
    second.publish("devices/lift-02/ingest", message).await;
    assert_eq!(told(&second.hear().await.1), ("accepted", 1, None));
    assert_eq!(first.hear_within(Duration::from_millis(300)).await, None);
    assert_eq!(server.metric("edgesentry_mqtt_messages_total{result=\"accepted\"}"), 2);
    assert_eq!(server.metric("edgesentry_mqtt_messages_total{result=\"rejected\"}"), 0);
    assert!(!server.log().contains("s3cret"), "a password is in the log");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let (mut broker, store) = (Broker::start(&PLAIN), Store::new());
    let mut lift = Device::new("lift-01", 1);
    store.register(&[&lift]);
    broker.kill();
    let server = Server::start_unconnected(config(&broker, "edgesentry/ingest"), &store).await;
    server.until("edgesentry_mqtt_reconnects_total", 3).await;
    assert!(server.logged("MQTT event loop error").contains("refused"), "{}", server.log());
    broker.restart();
    server.until("edgesentry_mqtt_connected", 1).await;
    let mut peer = Peer::connect(&Reach::from(&broker), "peer", "edgesentry/ingest/response").await;
    server.subscribed().await;
    peer.publish("edgesentry/ingest", lift.message()).await;
    assert_eq!(told(&peer.hear().await.1), ("accepted", 1, None));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_acknowledged_while_nobody_listened_is_stored_once_even_if_it_is_killed() {
    let (mut broker, store) = (Broker::start(&TLS), Store::new());
    let mut lift = Device::new("lift-01", 1);
    store.register(&[&lift]);
    Server::start(config(&broker, "edgesentry/ingest"), &store).await.stop().await;
    {
        let peer = Peer::connect(&Reach::from(&broker), "peer", "nothing").await;
        peer.publish_all("edgesentry/ingest", (0..500).map(|_| lift.message()).collect()).await;
    }
    // It writes its file after it has acknowledged: give it the time.
    sleep(Duration::from_millis(2500)).await;
    broker.kill();
    broker.restart();
    let server = Server::start(config(&broker, "edgesentry/ingest"), &store).await;
    server.until("edgesentry_ingest_accepted_total", 500).await;
    server.stop().await;
    store.assert_stored("lift-01", 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_under_load_loses_nothing_that_was_answered_and_doubles_nothing() {
    const COUNT: u64 = 600;
    let (mut broker, store) = (Broker::start(&TLS), Store::new());
    let devices: Vec<Device> = (1..=4).map(|n| Device::new(&format!("lift-0{n}"), n)).collect();
    store.register(&devices.iter().collect::<Vec<_>>());
    let server = Server::start(config(&broker, "devices/+/ingest"), &store).await;
    let reach = Reach::from(&broker);
    let senders: Vec<_> = devices
        .into_iter()
        .map(|device| {
            let topic = format!("devices/{}/ingest", device.id);
            tokio::spawn(deliver(device, reach.clone(), topic, COUNT, 100))
        })
        .collect();
    // Four times on the way, however fast the way is.
    let mut kills = 0;
    while senders.iter().any(|sender| !sender.is_finished()) {
        sleep(Duration::from_millis(1)).await;
        let accepted = server.metric("edgesentry_ingest_accepted_total");
        if kills < 4 && accepted >= (kills + 1) * 4 * COUNT / 8 {
            kills += 1;
            broker.kill();
            sleep(Duration::from_millis(100)).await;
            broker.restart();
        }
    }
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.unwrap();
    }
    let lost = server.metric("edgesentry_mqtt_reconnects_total");
    let accepted = server.metric("edgesentry_ingest_accepted_total");
    println!("{kills} kills, {lost} connections lost, {sent} messages sent for {accepted} records");
    assert!(kills >= 2 && lost >= kills, "{kills} kills, {lost} connections lost");
    assert_eq!(accepted, 4 * COUNT);
    server.stop().await;
    for n in 1..=4 {
        store.assert_stored(&format!("lift-0{n}"), COUNT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gate_fails_nothing_is_acknowledged_and_the_order_stays() {
    let (broker, store) = (Broker::start(&PLAIN), Store::new());
    let mut devices: Vec<Device> = (1..=3).map(|n| Device::new(&format!("lift-0{n}"), n)).collect();
    store.register(&devices.iter().collect::<Vec<_>>());
    let server = Server::start(config(&broker, "edgesentry/ingest"), &store).await;
    let mut peer = Peer::connect(&Reach::from(&broker), "peer", "edgesentry/ingest/response").await;
    store.fail(true);
    let messages: Vec<_> = (0..300).map(|i| devices[i % 3].message()).collect();
    peer.publish_all("edgesentry/ingest", messages).await;
    assert_eq!(peer.hear_within(Duration::from_millis(700)).await, None, "an answer without a verdict");
    assert!(server.metric("edgesentry_mqtt_messages_total{result=\"error\"}") > 0);
    assert_eq!(server.metric("edgesentry_mqtt_connected"), 1);
    assert_eq!(broker.acknowledged("eds-test"), 0);

    // It fails now and then, in the middle of windows, and in the end no more.
    store.fail_every(7);
    store.fail(false);
    sleep(Duration::from_millis(300)).await;
    store.fail_every(0);
    let mut accepted = [0; 3];
    for _ in 0..300 {
        let (_, reply) = peer.hear().await;
        let device = usize::from(reply["device_id"].as_str().unwrap().as_bytes()[6] - b'1');
        accepted[device] += 1;
        assert_eq!(told(&reply), ("accepted", accepted[device], None), "{reply}");
    }
    server.until_acknowledged(&broker, 300).await;
    server.stop().await;
    for n in 1..=3 {
        store.assert_stored(&format!("lift-0{n}"), 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_stored_records_do_not_hold_holds_up_nobody_else() {
    let (broker, store) = (Broker::start(&PLAIN), Store::new());
    let (mut good, mut bad) = (Device::new("lift-01", 1), Device::new("lift-02", 2));
    store.register(&[&good, &bad]);
    store.corrupt("lift-02");
    let server = Server::start(config(&broker, "edgesentry/ingest"), &store).await;
    let mut peer = Peer::connect(&Reach::from(&broker), "peer", "edgesentry/ingest/response").await;
    let messages = (0..40).map(|i| if i % 4 == 1 { bad.message() } else { good.message() }).collect();
    peer.publish_all("edgesentry/ingest", messages).await;
    let (mut accepted, mut unstored) = (0, 0);
    for _ in 0..40 {
        let (_, reply) = peer.hear().await;
        match (reply["device_id"].as_str().unwrap(), told(&reply)) {
            ("lift-01", ("accepted", n, None)) => {
                accepted += 1;
                assert_eq!(n, accepted);
            }
            ("lift-02", ("rejected", n, Some("unavailable"))) => {
                unstored += 1;
                assert_eq!(n, unstored);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((accepted, unstored), (30, 10));
    server.stop().await;
    store.assert_stored("lift-01", 30);
    store.assert_stored("lift-02", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_settles_what_was_taken_and_leaves_the_rest_with_the_broker() {
    const COUNT: u64 = 3000;
    let (broker, store) = (Broker::start(&TLS), Store::new());
    let mut lift = Device::new("lift-01", 1);
    store.register(&[&lift]);
    let mut server = Server::start(config(&broker, "edgesentry/ingest"), &store).await;
    let peer = Peer::connect(&Reach::from(&broker), "peer", "nothing").await;
    let messages: Vec<_> = (0..COUNT).map(|_| lift.message()).collect();
    let publishing = tokio::spawn(async move {
        peer.publish_all("edgesentry/ingest", messages).await;
    });
    let (mut accepted, mut rounds) = (0, 0);
    while accepted < COUNT {
        // A part of them is enough, however fast they come.
        let began = Instant::now();
        while server.metric("edgesentry_ingest_accepted_total") < COUNT / 8
            && server.metric("edgesentry_ingest_accepted_total") + accepted < COUNT
            && began.elapsed() < Duration::from_millis(250)
        {
            sleep(Duration::from_millis(1)).await;
        }
        let metrics = server.metrics();
        let stopping = Instant::now();
        server.stop().await;
        assert!(stopping.elapsed() < Duration::from_secs(3), "stopping took {:?}", stopping.elapsed());
        let text = metrics.encode();
        accepted += server::metric_of(&text, "edgesentry_ingest_accepted_total");
        let again = server::metric_of(&text, "edgesentry_mqtt_messages_total{result=\"rejected\"}");
        let connections = broker
            .log()
            .lines()
            .filter(|line| line.contains("connected from"))
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(again, 0, "sent twice: {text}\n{connections}");
        rounds += 1;
        server = Server::start(config(&broker, "edgesentry/ingest"), &store).await;
    }
    publishing.await.unwrap();
    println!("{rounds} rounds");
    assert!(rounds > 1, "all was over in one round");
    server.stop().await;
    store.assert_stored("lift-01", COUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_process_killed_under_load_loses_nothing_and_doubles_nothing() {
    const COUNT: u64 = 3000;
    let (broker, store) = (Broker::start(&TLS), Store::new());
    let mut lift = Device::new("lift-01", 1);
    store.register(&[&lift]);
    let child = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child", "--nocapture"])
            .env("EDS_TEST_STORE", store.path())
            .env("EDS_TEST_PORT", broker.port.to_string())
            .env("EDS_TEST_CA", broker.file("ca.crt"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map(Killed)
            .unwrap()
    };
    // So that there is a session with the broker before anything is published.
    Server::start(config(&broker, "edgesentry/ingest"), &store).await.stop().await;
    let mut peer = Peer::connect(&Reach::from(&broker), "peer", "edgesentry/ingest/response").await;
    let messages: Vec<_> = (0..COUNT).map(|_| lift.message()).collect();
    let publishing = {
        let peer = Peer::connect(&Reach::from(&broker), "publisher", "nothing").await;
        tokio::spawn(async move { peer.publish_all("edgesentry/ingest", messages).await })
    };
    let (mut kills, mut accepted, mut again, mut done) = (0, 0, 0, 0);
    let mut running = child();
    let mut next_kill = 300;
    while done < COUNT {
        let (_, reply) = peer.hear().await;
        match told(&reply) {
            ("accepted", n, _) => {
                accepted += 1;
                done = done.max(n);
            }
            ("rejected", n, Some("duplicate")) if reply["duplicate"] == true => {
                again += 1;
                done = done.max(n);
            }
            other => panic!("{other:?}"),
        }
        if done >= next_kill && kills < 5 {
            drop(running);
            kills += 1;
            next_kill = done + 300;
            running = child();
        }
    }
    publishing.await.unwrap();
    drop(running);
    println!("{kills} kills; {accepted} said to be accepted, {again} said to be stored before");
    assert_eq!(kills, 5);
    assert!(accepted <= COUNT);
    store.assert_stored("lift-01", COUNT);
}

/// A process that is killed with SIGKILL when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process that is killed above.
#[test]
#[ignore = "a process of its own for another test"]
fn child() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let store = Store::at(variable("EDS_TEST_STORE").into());
    let mut config = MqttConfig::new("127.0.0.1", "edgesentry/ingest", "eds-test");
    config.port = variable("EDS_TEST_PORT").parse().unwrap();
    config.tls = Some(MqttTls { ca_cert: Some(variable("EDS_TEST_CA").into()), client_cert: None });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let _server = Server::start_unconnected(config, &store).await;
        std::future::pending::<()>().await;
    });
}

/// `cargo test --release --test mqtt -- --ignored --nocapture throughput`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn throughput() {
    for (name, setup) in [("plain", PLAIN), ("TLS", TLS)] {
        for devices in [1, 16] {
            const COUNT: u64 = 20_000;
            let (broker, store) = (Broker::start(&setup), Store::new());
            let mut all: Vec<Device> = (1..=devices).map(|n| Device::new(&format!("lift-{n}"), n)).collect();
            store.register(&all.iter().collect::<Vec<_>>());
            let server = Server::start(config(&broker, "edgesentry/ingest"), &store).await;
            let messages: Vec<_> =
                (0..COUNT).map(|i| all[(i % u64::from(devices)) as usize].message()).collect();
            let peer = Peer::connect(&Reach::from(&broker), "peer", "nothing").await;
            let began = Instant::now();
            peer.publish_all("edgesentry/ingest", messages).await;
            let published = began.elapsed();
            server.until("edgesentry_ingest_accepted_total", COUNT).await;
            let took = began.elapsed();
            println!(
                "{name}, {devices} devices: {:.0} records/s ({COUNT} in {took:.2?}; the broker had them after {published:.2?})",
                COUNT as f64 / took.as_secs_f64()
            );
            server.stop().await;
        }
    }
}
