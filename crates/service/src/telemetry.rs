//! Logs to standard error and, where an OTLP endpoint is set, traces to it.

use std::{io::IsTerminal, time::Duration};

use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::Level;
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings::Settings;

/// The crates whose own words are logged at the level of the setting; others speak from `warn` on.
const OURS: [&str; 12] = [
    "actions",
    "bus",
    "command_worker",
    "commands",
    "discord_gateway",
    "lanes",
    "partitions",
    "protocol",
    "sandbox",
    "service",
    "twitch_gateway",
    "vigie",
];
/// How long the last spans may take to leave at the end.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// What is logged and where traces go.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    level: Level,
    format: Format,
    otlp_endpoint: Option<String>,
}

impl Config {
    pub(crate) fn read(settings: &mut Settings) -> Self {
        let level = settings.optional_parse("LOG_LEVEL", |text| match text {
            "error" => Ok(Level::ERROR),
            "warn" => Ok(Level::WARN),
            "info" => Ok(Level::INFO),
            "debug" => Ok(Level::DEBUG),
            _ => Err(String::new()),
        });
        let format = settings.parse("LOG_FORMAT", |text| match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err(String::new()),
        });
        let otlp_endpoint = settings.optional_parse("OTEL_EXPORTER_OTLP_ENDPOINT", |text| {
            let is_url = text.starts_with("http://") || text.starts_with("https://");
            if is_url { Ok(text.trim_end_matches('/').to_owned()) } else { Err(String::new()) }
        });
        Self { level: level.unwrap_or(Level::INFO), format, otlp_endpoint }
    }
}

/// Keeps the export of traces running; ends it, with what is still to be sent, when dropped.
#[derive(Debug)]
pub(crate) struct Guard(Option<SdkTracerProvider>);

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(provider) = self.0.take() else { return };
        if let Err(error) = provider.shutdown_with_timeout(FLUSH_LIMIT) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Starts logs and traces for this process.
///
/// # Errors
/// When the OTLP exporter cannot be built from its endpoint.
pub(crate) fn start(config: &Config, service: &'static str, instance: &str) -> anyhow::Result<Guard> {
    let provider = match &config.otlp_endpoint {
        Some(endpoint) => Some(exporter(endpoint, service, instance)?),
        None => None,
    };
    let ours = |level| OURS.iter().fold(Targets::new(), |targets, name| targets.with_target(*name, level));
    // The span of a task lives as long as the service: as a parent it would make one trace of all.
    let exported = ours(Level::INFO).with_target("service::tasks", LevelFilter::OFF);
    // Colours are for people; a file or another program gets plain text.
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        Format::Text => lines.compact().boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(ours(config.level).with_default(Level::WARN)))
        .with(provider.as_ref().map(|it| crate::trace::layer(it).with_filter(exported)))
        .try_init()?;
    Ok(Guard(provider))
}

fn exporter(endpoint: &str, service: &'static str, instance: &str) -> anyhow::Result<SdkTracerProvider> {
    // The blocking client: the asynchronous one panics in the exporter's own thread, after which
    // nothing is exported and nobody is told (opentelemetry-rust issue 3125).
    let exporter =
        SpanExporter::builder().with_http().with_endpoint(format!("{endpoint}/v1/traces")).build()?;
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", instance.to_owned()))
        .with_attribute(opentelemetry::KeyValue::new("service.version", crate::BUILD))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
