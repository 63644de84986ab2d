//! Logs to standard error and, where an OTLP endpoint is set, traces and the same logs to it.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, logs::SdkLoggerProvider, trace::SdkTracerProvider};
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
const OURS: [&str; 18] = [
    "actions",
    "backup",
    "bus",
    "child",
    "command_worker",
    "commands",
    "deployer",
    "discord_gateway",
    "healthcheck",
    "lanes",
    "partitions",
    "presence",
    "protocol",
    "sandbox",
    "service",
    "twitch_gateway",
    "vigie",
    "webhook_deploy",
];
/// How long the last spans and lines together may take to leave at the end.
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
    exports_logs: bool,
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
        let exports_logs = settings.parse("OTEL_LOGS_EXPORTER", |text| match text {
            "otlp" => Ok(true),
            "none" => Ok(false),
            _ => Err(String::new()),
        });
        Self { level: level.unwrap_or(Level::INFO), format, otlp_endpoint, exports_logs }
    }
}

/// Keeps the export running; ends it, with what is still to be sent, when dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    spans: Option<SdkTracerProvider>,
    lines: Option<SdkLoggerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let began = Instant::now();
        let left = || FLUSH_LIMIT.saturating_sub(began.elapsed());
        let spans = self.spans.as_ref().map(|it| it.shutdown_with_timeout(left()));
        if let Some(Err(error)) = spans {
            tracing::warn!(%error, "the last spans were not exported");
        }
        let lines = self.lines.as_ref().map(|it| it.shutdown_with_timeout(left()));
        if let Some(Err(error)) = lines {
            tracing::warn!(%error, "the last log lines were not exported");
        }
    }
}

/// Starts logs and traces for this process.
///
/// # Errors
/// When the OTLP exporter cannot be built from its endpoint.
pub(crate) fn start(config: &Config, service: &'static str, instance: &str) -> anyhow::Result<Guard> {
    let mut guard = Guard { spans: None, lines: None };
    if let Some(endpoint) = &config.otlp_endpoint {
        let resource = resource(service, instance);
        guard.spans = Some(export_spans(endpoint, resource.clone())?);
        if config.exports_logs {
            guard.lines = Some(export_lines(endpoint, resource)?);
        }
    }
    let ours = |level| OURS.iter().fold(Targets::new(), |targets, name| targets.with_target(*name, level));
    // The span of a task lives as long as the service: as a parent it would make one trace of all.
    let exported = ours(Level::INFO).with_target("service::tasks", LevelFilter::OFF);
    let logged = ours(config.level).with_default(Level::WARN);
    // What the exporter says about itself would have to be exported again.
    let sent = logged.clone().with_target("opentelemetry", LevelFilter::OFF);
    // Colours are for people; a file or another program gets plain text.
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        Format::Text => lines.compact().boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(logged))
        .with(guard.spans.as_ref().map(|it| crate::trace::layer(it).with_filter(exported)))
        .with(guard.lines.as_ref().map(|it| OpenTelemetryTracingBridge::new(it).with_filter(sent)))
        .try_init()?;
    Ok(guard)
}

fn resource(service: &'static str, instance: &str) -> Resource {
    Resource::builder()
        .with_service_name(service)
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", instance.to_owned()))
        .with_attribute(opentelemetry::KeyValue::new("service.version", crate::BUILD))
        .build()
}

// The blocking client for both: the asynchronous one panics in the exporter's own thread, after which
// nothing is exported and nobody is told (opentelemetry-rust issue 3125).

fn export_spans(endpoint: &str, resource: Resource) -> anyhow::Result<SdkTracerProvider> {
    let exporter =
        SpanExporter::builder().with_http().with_endpoint(format!("{endpoint}/v1/traces")).build()?;
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

fn export_lines(endpoint: &str, resource: Resource) -> anyhow::Result<SdkLoggerProvider> {
    let exporter = LogExporter::builder().with_http().with_endpoint(format!("{endpoint}/v1/logs")).build()?;
    Ok(SdkLoggerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
