//! Where an inference result comes from: a schema for the *payload* of a record.
//!
//! A result that shall stand as evidence names the instrument, the model, the machine, place and moment, and how sure it
//! is. All of it is in the payload, so the record's `payload_hash` covers it. The payload is one JSON object: the five
//! categories, and what was found beside them under `detection`.
//!
//! - Field names are those of the schema and no others: a misspelt field is an error, not an absence.
//! - Times are milliseconds since the Unix epoch, as in the record.
//! - Hashes are 64 lower-case hex digits.
//! - Optional are `prompt_version`, `hw_temp_c`, `guardrail_actions` and `detection`; of the two positions, one is there.
//!
//! The hash is that of the payload's bytes as they were sent. Whoever verifies one hashes those bytes and does not write
//! the JSON anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::record::Hash32;

/// Media type of such a payload.
pub const NOTARIZATION_ENCODING: &str = "application/json";

/// The payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotarizedPayload {
    /// The measuring instrument.
    pub sensor: Sensor,
    /// The model that inferred.
    pub ai_model: AiModel,
    /// The machine that it ran on.
    pub compute_environment: ComputeEnvironment,
    /// Where and when.
    pub context: Context,
    /// How the result came about.
    pub inference_process: InferenceProcess,
    /// What was found: the domain's own data, of any form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection: Option<serde_json::Value>,
}

/// Shows that the instrument was calibrated and worked within its specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensor {
    /// Which one.
    pub sensor_id: String,
    /// When it was last calibrated, ms since the Unix epoch.
    pub calibration_ts: u64,
    /// Its firmware.
    pub firmware_version: String,
    /// Samples per second.
    pub sampling_rate: f64,
}

/// Lets others get the same output from the same input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AiModel {
    /// Which model.
    pub model_uuid: String,
    /// Its architecture.
    pub model_arch: String,
    /// SHA-256 of its weights.
    #[serde(with = "hex_hash")]
    pub weight_sha256: Hash32,
    /// The prompt, for models that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
}

/// Lets others run it in the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComputeEnvironment {
    /// The machine.
    pub device_type: String,
    /// Its operating system.
    pub os_version: String,
    /// What it depends on, by name: a hash in whatever form the package manager gives it.
    pub dependency_hashes: BTreeMap<String, String>,
    /// Temperature of the hardware, °C; a hot machine may have been slowed down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hw_temp_c: Option<f64>,
}

/// Binds the result to a place and a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Time by NTP, ms since the Unix epoch.
    pub ntp_ts: u64,
    /// Latitude and longitude, degrees (WGS 84), north and east positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gps_lat_lon: Option<[f64; 2]>,
    /// Where it was, where satellites are not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indoor_position: Option<String>,
    /// BLAKE3 of the model's input.
    #[serde(with = "hex_hash")]
    pub input_data_hash: Hash32,
}

/// For the human who decides what to look at again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferenceProcess {
    /// From 0 to 1.
    pub confidence_score: f64,
    /// What was done to the input first.
    pub preprocessing_algo: String,
    /// What safeguards did about the result.
    #[serde(default)]
    pub guardrail_actions: Vec<String>,
}

/// Why this is no such payload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotarizationError {
    /// It is not the JSON of the schema.
    #[error("not a notarization payload: line {line}, column {column}: {kind}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong, without the text itself.
        kind: String,
    },
    /// A field is there and cannot be so.
    #[error("{field}: {reason}")]
    Field {
        /// The field, with its category.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl NotarizedPayload {
    /// The payload's bytes.
    pub fn to_payload(&self) -> Result<Vec<u8>, NotarizationError> {
        self.check()?;
        serde_json::to_vec(self).map_err(|e| json_error(&e))
    }

    /// Reads a payload.
    pub fn from_payload(payload: &[u8]) -> Result<Self, NotarizationError> {
        let read: Self = serde_json::from_slice(payload).map_err(|e| json_error(&e))?;
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), NotarizationError> {
        let refuse = |field, reason: &str| Err(NotarizationError::Field { field, reason: reason.into() });
        for (field, value) in [
            ("sensor.sensor_id", &self.sensor.sensor_id),
            ("sensor.firmware_version", &self.sensor.firmware_version),
            ("ai_model.model_uuid", &self.ai_model.model_uuid),
            ("ai_model.model_arch", &self.ai_model.model_arch),
            ("compute_environment.device_type", &self.compute_environment.device_type),
            ("compute_environment.os_version", &self.compute_environment.os_version),
            ("inference_process.preprocessing_algo", &self.inference_process.preprocessing_algo),
        ] {
            if value.is_empty() {
                return refuse(field, "is empty");
            }
        }
        if !(self.sensor.sampling_rate.is_finite() && self.sensor.sampling_rate > 0.0) {
            return refuse("sensor.sampling_rate", "is not a number of samples per second above 0");
        }
        if self.compute_environment.hw_temp_c.is_some_and(|t| !t.is_finite()) {
            return refuse("compute_environment.hw_temp_c", "is not a finite number");
        }
        if !(0.0..=1.0).contains(&self.inference_process.confidence_score) {
            return refuse("inference_process.confidence_score", "is not from 0 to 1");
        }
        match (&self.context.gps_lat_lon, &self.context.indoor_position) {
            (Some([lat, lon]), None) => {
                if !((-90.0..=90.0).contains(lat) && (-180.0..=180.0).contains(lon)) {
                    return refuse("context.gps_lat_lon", "is not degrees, ±90 and ±180");
                }
            }
            (None, Some(position)) if position.is_empty() => {
                return refuse("context.indoor_position", "is empty");
            }
            (None, Some(_)) => {}
            (Some(_), Some(_)) => {
                return refuse("context", "has two positions: gps_lat_lon or indoor_position, not both");
            }
            (None, None) => return refuse("context", "has no position: gps_lat_lon or indoor_position"),
        }
        Ok(())
    }
}

/// Says where and what, and quotes no value: payloads stay out of logs.
fn json_error(error: &serde_json::Error) -> NotarizationError {
    let text = error.to_string();
    let kind = match error.classify() {
        serde_json::error::Category::Data => ["missing field `", "unknown field `", "duplicate field `"]
            .iter()
            .find(|prefix| text.starts_with(**prefix))
            .and_then(|prefix| {
                let name = text.get(prefix.len()..)?.split('`').next()?;
                // A field that the schema does not have may have any name.
                Some(if prefix.starts_with("unknown") {
                    "it has a field that the schema does not have".to_owned()
                } else {
                    format!("{prefix}{name}`")
                })
            })
            .unwrap_or_else(|| "a field holds something else than it should".to_owned()),
        serde_json::error::Category::Eof => "it ends too early".to_owned(),
        _ => "it is not JSON".to_owned(),
    };
    NotarizationError::Json { line: error.line(), column: error.column(), kind }
}

mod hex_hash {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::keys::parse_fixed_hex;

    pub fn serialize<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(hash))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.bytes().any(|c| c.is_ascii_uppercase()) {
            return Err(D::Error::custom("not lower-case hex"));
        }
        parse_fixed_hex(&text).map_err(D::Error::custom)
    }
}
