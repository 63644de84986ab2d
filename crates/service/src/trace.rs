//! One trace per chat command, across services: how a span becomes a W3C `traceparent` header and
//! how a span of another service becomes its child.
//!
//! With the export switched off (no OTLP endpoint) headers still travel, unsampled, so that a person
//! who reports a failure can name an id that finds the log line of its cause.

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes `span` the first of a trace and returns the header to pass on.
#[must_use]
pub fn start(span: &Span) -> String {
    header_of(span).unwrap_or_else(|| {
        // Zero is not a valid id, and 1 is as random as any other number.
        let (trace, parent) = (fastrand::u128(1..), fastrand::u64(1..));
        format!("00-{trace:032x}-{parent:016x}-00")
    })
}

/// Makes `span` a child of the span that sent `header`. A header that is none is passed by.
pub fn join(span: &Span, header: &str) {
    if let Some(context) = parse(header) {
        // It fails only when no exporter is installed, and then there is no trace to join.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
    }
}

/// The header that names `span` as the parent of what follows; `fallback`, the header that came in,
/// when nothing is exported.
#[must_use]
pub fn header(span: &Span, fallback: &str) -> String {
    header_of(span).unwrap_or_else(|| fallback.to_owned())
}

/// The trace id inside a header: 32 hex digits that a person can search for; empty when it has none.
#[must_use]
pub fn id(header: &str) -> &str {
    header.get(3..35).filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit())).unwrap_or_default()
}

fn header_of(span: &Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| {
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
    })
}

fn parse(header: &str) -> Option<SpanContext> {
    let mut parts = header.split('-');
    let (_version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        flags,
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

/// The layer that turns spans into exported ones.
pub(crate) fn layer<S>(
    provider: &opentelemetry_sdk::trace::SdkTracerProvider,
) -> tracing_opentelemetry::OpenTelemetryLayer<S, opentelemetry_sdk::trace::SdkTracer>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    tracing_opentelemetry::layer().with_tracer(provider.tracer("vigie"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exporter_a_header_is_random_unsampled_and_has_an_id() {
        let header = start(&Span::none());
        assert_ne!(header, start(&Span::none()));
        assert!(header.ends_with("-00"));
        assert_eq!(id(&header).len(), 32);
        assert_eq!(super::header(&Span::none(), &header), header);
    }

    #[test]
    fn what_is_not_a_header_has_no_id_and_no_context() {
        for bad in ["", "00", "00-zz-1-1", &"-".repeat(60), &"é".repeat(40)] {
            assert_eq!(id(bad), "", "{bad}");
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
