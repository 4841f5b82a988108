//! `serve`, `serve-tls`, `serve-mqtt`: a gate over a store, for records that arrive over the network.

mod args;
mod gate;
mod publish;
mod run;

pub(crate) use args::{ServeHttp, ServeMqtt, ServeTls};
