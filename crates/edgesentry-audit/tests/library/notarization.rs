//! The schema of payloads that name where an inference result comes from.

use edgesentry_audit::NotarizedPayload;
use edgesentry_audit::notarization::NotarizationError;
use serde_json::{Value, json};

fn example() -> Value {
    json!({
        "sensor": {
            "sensor_id": "vib-3", "calibration_ts": 1_690_000_000_000_u64, "firmware_version": "4.1",
            "sampling_rate": 1000.0
        },
        "ai_model": {
            "model_uuid": "0e0d2b52-5d9e-4d5a-9d6b-1f3c6f8f4a10", "model_arch": "resnet18",
            "weight_sha256": "ab".repeat(32), "prompt_version": "7"
        },
        "compute_environment": {
            "device_type": "jetson-orin", "os_version": "linux 6.1", "dependency_hashes": {"onnxruntime": "sha256:00"},
            "hw_temp_c": 61.5
        },
        "context": {
            "ntp_ts": 1_700_000_000_000_u64, "gps_lat_lon": [1.3521, 103.8198], "input_data_hash": "cd".repeat(32)
        },
        "inference_process": {
            "confidence_score": 0.93, "preprocessing_algo": "fft-1024", "guardrail_actions": ["none"]
        },
        "detection": {"crack_mm": 0.4}
    })
}

fn read(value: &Value) -> Result<NotarizedPayload, NotarizationError> {
    NotarizedPayload::from_payload(value.to_string().as_bytes())
}

#[test]
fn the_documented_categories_and_fields_are_read_and_written() {
    let payload = read(&example()).unwrap();
    assert_eq!(payload.sensor.sensor_id, "vib-3");
    assert_eq!(payload.ai_model.weight_sha256, [0xab; 32]);
    assert_eq!(payload.context.gps_lat_lon, Some([1.3521, 103.8198]));
    assert_eq!(payload.detection, Some(json!({"crack_mm": 0.4})));
    let bytes = payload.to_payload().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), example());
    assert_eq!(NotarizedPayload::from_payload(&bytes).unwrap(), payload);
}

#[test]
fn what_may_be_absent_is_absent() {
    let mut value = example();
    for (category, field) in [
        ("ai_model", "prompt_version"),
        ("compute_environment", "hw_temp_c"),
        ("inference_process", "guardrail_actions"),
    ] {
        value[category].as_object_mut().unwrap().remove(field).unwrap();
    }
    value.as_object_mut().unwrap().remove("detection").unwrap();
    let context = value["context"].as_object_mut().unwrap();
    context.remove("gps_lat_lon");
    context.insert("indoor_position".into(), "shaft 2, floor 7".into());
    let payload = read(&value).unwrap();
    assert_eq!(payload.context.indoor_position.as_deref(), Some("shaft 2, floor 7"));
    assert_eq!(NotarizedPayload::from_payload(&payload.to_payload().unwrap()).unwrap(), payload);
}

#[test]
fn every_other_field_is_required_and_no_other_exists() {
    let optional = ["prompt_version", "hw_temp_c", "guardrail_actions", "detection"];
    for (category, fields) in example().as_object().unwrap() {
        let mut without = example();
        without.as_object_mut().unwrap().remove(category);
        assert_eq!(read(&without).is_ok(), optional.contains(&category.as_str()), "{category}");
        if category == "detection" {
            continue;
        }
        for field in fields.as_object().unwrap().keys() {
            let mut without = example();
            without[category].as_object_mut().unwrap().remove(field);
            assert_eq!(read(&without).is_ok(), optional.contains(&field.as_str()), "{category}.{field}");
        }
        let mut more = example();
        more[category]["misspelt"] = 1.into();
        assert!(read(&more).is_err(), "{category}");
    }
    let mut more = example();
    more["sensors"] = 1.into();
    assert!(read(&more).is_err());
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    let refused = |category: &str, field: &str, value: Value| {
        let mut changed = example();
        changed[category][field] = value;
        read(&changed).unwrap_err().to_string()
    };
    let starts = |error: String, field: &str| assert!(error.starts_with(field), "{error}");
    starts(refused("sensor", "sensor_id", "".into()), "sensor.sensor_id: is empty");
    starts(refused("sensor", "sampling_rate", 0.into()), "sensor.sampling_rate");
    starts(
        refused("inference_process", "confidence_score", json!(1.01)),
        "inference_process.confidence_score",
    );
    starts(refused("context", "gps_lat_lon", json!([91.0, 0.0])), "context.gps_lat_lon");
    starts(refused("context", "gps_lat_lon", Value::Null), "context: has no position");
    starts(refused("context", "indoor_position", "x".into()), "context: has two positions");
    for bad in ["ab", &"AB".repeat(32), &"zz".repeat(32)] {
        starts(refused("ai_model", "weight_sha256", bad.into()), "not a notarization payload: line 1");
    }
    starts(refused("sensor", "calibration_ts", "2023-07-22T00:00:00Z".into()), "not a notarization payload");
    let mut payload = read(&example()).unwrap();
    payload.sensor.sampling_rate = f64::NAN;
    assert!(matches!(
        payload.to_payload(),
        Err(NotarizationError::Field { field: "sensor.sampling_rate", .. })
    ));
}

#[test]
fn errors_quote_nothing_of_the_payload() {
    let mut secret = example();
    secret["SECRET"] = 1.into();
    let mut value = example();
    value["sensor"]["calibration_ts"] = "SECRET".into();
    for payload in
        [secret.to_string(), value.to_string(), "{SECRET".into(), "{\"sensor\":".into(), "[]".into()]
    {
        let error = NotarizedPayload::from_payload(payload.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
    }
    let mut without = example();
    without["context"].as_object_mut().unwrap().remove("ntp_ts");
    assert!(read(&without).unwrap_err().to_string().ends_with("missing field `ntp_ts`"));
}
