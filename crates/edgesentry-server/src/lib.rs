//! Receives device records over HTTP, HTTPS and MQTT and gives them to a gate.
//!
//! Transports hand what they parsed to an [`Intake`], which limits, measures and logs, and gives it to the [`Gate`].

mod gate;
#[cfg(feature = "transport-mqtt")]
pub mod mqtt;

pub use gate::{BoxFuture, Closed, Gate, GateError, Stats};
