//! Log events on standard output, a line of JSON each.

use std::io;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged where `RUST_LOG` says nothing.
pub const DEFAULT_FILTER: &str = "edgesentry_audit=info,warn";

/// The form of log events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A line of JSON.
    Json,
    /// A line to read.
    Text,
}

/// Why events cannot be logged.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `RUST_LOG` makes no sense.
    #[error("RUST_LOG: {0}")]
    Filter(#[from] tracing_subscriber::filter::FromEnvError),
    /// The process has a subscriber already.
    #[error("log events go elsewhere already: {0}")]
    Taken(#[from] tracing_subscriber::util::TryInitError),
}

/// Logs what `RUST_LOG` asks for to `out`, from a thread of its own; where that falls behind by 128,000 lines, who
/// logs waits. The guard writes what is left when it is dropped.
///
/// # Errors
///
/// Where `RUST_LOG` is no filter, or events are logged already.
pub fn init(form: Form, out: impl io::Write + Send + 'static) -> Result<WorkerGuard, LoggingError> {
    let filter = match std::env::var_os(EnvFilter::DEFAULT_ENV) {
        Some(text) if !text.is_empty() => EnvFilter::try_from_default_env()?,
        _ => EnvFilter::new(DEFAULT_FILTER),
    };
    let (writer, guard) = NonBlockingBuilder::default().lossy(false).finish(out);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    match form {
        Form::Json => builder.json().finish().try_init()?,
        Form::Text => builder.finish().try_init()?,
    }
    Ok(guard)
}
