//! Receives device records over HTTP, HTTPS and MQTT and gives them to a gate.
//!
//! Transports hand what they parsed to an [`Intake`], which limits, measures and logs, and gives it to the [`Gate`]:
//! whoever owns the store. [`Server`](http::Server) is the HTTP transport; [`admin`] lets an operator reach the store
//! of a running server.

pub mod admin;
mod gate;
#[cfg(feature = "transport-http")]
pub mod http;
mod intake;
pub mod logging;
pub mod metrics;
#[cfg(feature = "transport-mqtt")]
pub mod mqtt;
mod rate;

pub use gate::{BoxFuture, Closed, Gate, GateError, Stats};
pub use intake::{Intake, IntakeError};
pub use metrics::Metrics;
pub use rate::Rate;
