//! Log events, a line of JSON each; with the feature `otel` also spans to an OpenTelemetry collector.

use std::io;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Layer as _, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, registry};

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
    /// Spans cannot be sent where `OTEL_EXPORTER_OTLP_ENDPOINT` says.
    #[cfg(feature = "otel")]
    #[error("OpenTelemetry: {0}")]
    Telemetry(String),
}

/// Writes and sends what is left when it is dropped.
pub struct Logging {
    #[cfg(feature = "otel")]
    _traces: Option<otel::Traces>,
    _writer: WorkerGuard,
}

/// Logs what `RUST_LOG` asks for to `out`, from a thread of its own; where that falls behind by 128,000 lines, who
/// logs waits. With the feature `otel`, and where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector, the span of each
/// record goes there (OTLP over HTTP).
///
/// # Errors
///
/// Where `RUST_LOG` is no filter, or events are logged already.
pub fn init(form: Form, out: impl io::Write + Send + 'static) -> Result<Logging, LoggingError> {
    let filter = match std::env::var_os(EnvFilter::DEFAULT_ENV) {
        Some(text) if !text.is_empty() => EnvFilter::try_from_default_env()?,
        _ => EnvFilter::new(DEFAULT_FILTER),
    };
    let (writer, guard) = NonBlockingBuilder::default().lossy(false).finish(out);
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    let lines = match form {
        Form::Json => lines.json().boxed(),
        Form::Text => lines.boxed(),
    };
    let subscriber = registry().with(filter).with(lines);
    #[cfg(feature = "otel")]
    {
        let traces = otel::Traces::from_env()?;
        subscriber.with(traces.as_ref().map(otel::Traces::layer)).try_init()?;
        Ok(Logging { _traces: traces, _writer: guard })
    }
    #[cfg(not(feature = "otel"))]
    {
        subscriber.try_init()?;
        Ok(Logging { _writer: guard })
    }
}

#[cfg(feature = "otel")]
mod otel {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::SpanExporter;
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
    use tracing::Subscriber;
    use tracing_opentelemetry::OpenTelemetryLayer;
    use tracing_subscriber::registry::LookupSpan;

    use super::LoggingError;

    /// Where spans go.
    pub(super) struct Traces(SdkTracerProvider);

    impl Traces {
        /// As the variables of OpenTelemetry say; none without an endpoint.
        pub(super) fn from_env() -> Result<Option<Self>, LoggingError> {
            let endpoint = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
            if !endpoint.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
                return Ok(None);
            }
            let exporter = SpanExporter::builder().with_http().build();
            let exporter = exporter.map_err(|error| LoggingError::Telemetry(error.to_string()))?;
            let resource = Resource::builder();
            let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
                Some(_) => resource,
                None => resource.with_service_name("edgesentry"),
            };
            let provider =
                SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
            Ok(Some(Self(provider.build())))
        }

        pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> OpenTelemetryLayer<S, Tracer> {
            tracing_opentelemetry::layer().with_tracer(self.0.tracer("edgesentry"))
        }
    }

    impl Drop for Traces {
        fn drop(&mut self) {
            // A collector that is gone is no reason not to end.
            let _ = self.0.shutdown();
        }
    }
}
