//! The device: signs what it saw and hands it over. First of three roles; `edge_gateway` and `cloud_backend` follow.
//!
//!     cargo run -p edgesentry-audit --example edge_device

mod shared;

use edgesentry_audit::demo::lift_inspection_payloads;
use edgesentry_audit::{ChainSigner, generate_keypair, signing_key_from_hex};
use shared::{DEVICE_ID, Outcome, now_ms, write};

fn main() -> Outcome {
    println!("[edge device] {DEVICE_ID} signs its inspection");
    // A device keeps its key, in a file of its own (0600), a secure element or an HSM.
    let pair = generate_keypair()?;
    let mut chain = ChainSigner::new(DEVICE_ID, signing_key_from_hex(&pair.private_key_hex)?);
    let payloads = lift_inspection_payloads(DEVICE_ID);
    let mut records = Vec::new();
    for (payload, n) in payloads.iter().zip(1..) {
        let record = chain.sign(now_ms(), payload, format!("s3://bucket/{DEVICE_ID}/inspection-{n}.bin"));
        println!("  signed sequence={} payload_bytes={}", record.sequence, payload.len());
        records.push(record);
    }
    // What somebody on the way might send instead: the second record with another time.
    let mut tampered = records.clone();
    tampered[1].timestamp_ms += 3_600_000;

    let payloads: Vec<String> = payloads.iter().map(hex::encode).collect();
    write("eds_records.json", &records)?;
    write("eds_payloads.json", &payloads)?;
    write("eds_tampered.json", &tampered)?;
    // The operator brings the public key to the cloud when the device is provisioned.
    write(
        "eds_device.json",
        &serde_json::json!({ "device_id": DEVICE_ID, "public_key_hex": pair.public_key_hex }),
    )
}
