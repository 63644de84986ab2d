//! Numbers of a service, served at `/metrics` in the Prometheus text format.
//!
//! `prometheus-client` does the work; this file gives names their `vigie_` prefix and keeps label
//! sets bounded by taking only static label names and values.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter, family::Family, gauge, histogram},
    registry::Registry,
};

/// A number that only grows.
pub type Counter = counter::Counter;
/// A number that goes up and down.
pub type Gauge = gauge::Gauge<f64, AtomicU64>;
/// How often a number fell into which range.
pub type Histogram = histogram::Histogram;

type Labels = [(&'static str, &'static str); 1];

/// A counter for each value of one label.
#[derive(Clone, Debug)]
pub struct CounterVec {
    label: &'static str,
    family: Family<Labels, Counter>,
}

impl CounterVec {
    /// Shows these values from the start, at 0: the first one counted is then seen as an increase.
    #[must_use]
    pub fn known(self, values: &[&'static str]) -> Self {
        for value in values {
            // Asking for it makes it.
            let _ = self.with(value);
        }
        self
    }

    /// The counter of one value. Values are static, so that their number is bounded.
    #[must_use]
    pub fn with(&self, value: &'static str) -> Counter {
        self.family.get_or_create_owned(&[(self.label, value)])
    }
}

/// A gauge that nobody sets.
struct Asked(Box<dyn Fn() -> f64 + Send + Sync>);

impl EncodeMetric for Asked {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        encoder.encode_gauge(&(self.0)())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").finish_non_exhaustive()
    }
}

/// All numbers of a service; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    others: Arc<OnceLock<Box<Others>>>,
}

/// Numbers that are not counted here, as lines of the text format.
type Others = dyn Fn() -> String + Send + Sync;

impl Default for Metrics {
    fn default() -> Self {
        let registry = Arc::new(Mutex::new(Registry::with_prefix("vigie")));
        Self { registry, others: Arc::default() }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.registry).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Adds a counter. Leave `_total` away: the text format appends it.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.with(|registry| registry.register(name, help, counter.clone()));
        counter
    }

    /// Adds a counter for each value of `label`.
    #[must_use]
    pub fn counter_vec(&self, name: &str, help: &str, label: &'static str) -> CounterVec {
        let family = Family::<Labels, Counter>::default();
        self.with(|registry| registry.register(name, help, family.clone()));
        CounterVec { label, family }
    }

    /// Adds a gauge.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.with(|registry| registry.register(name, help, gauge.clone()));
        gauge
    }

    /// Adds a gauge whose value `ask` tells whenever the numbers are read. It must be quick, and not use these
    /// numbers itself.
    pub fn gauge_of(&self, name: &str, help: &str, ask: impl Fn() -> f64 + Send + Sync + 'static) {
        self.with(|registry| registry.register(name, help, Asked(Box::new(ask))));
    }

    /// Says which build this is, as a label of `build_info`.
    pub(crate) fn build(&self, build: &'static str) {
        // No `Info`: readers of the older text format refuse a page with a kind that they do not know.
        let family = Family::<Labels, Gauge>::default();
        family.get_or_create_owned(&[("build", build)]).set(1.0);
        self.with(|registry| registry.register("build_info", "Which build this is", family));
    }

    /// Adds a histogram with the upper bounds of its ranges.
    #[must_use]
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let histogram = Histogram::new(bounds.iter().copied());
        self.with(|registry| registry.register(name, help, histogram.clone()));
        histogram
    }

    /// Adds lines of the text format that `lines` writes anew for every reader: numbers of others, which come and
    /// go. They are in no [`snapshot`](Self::snapshot). The first one given holds.
    pub fn also(&self, lines: impl Fn() -> String + Send + Sync + 'static) {
        // A second one has no reader to be told.
        let _ = self.others.set(Box::new(lines));
    }

    /// The Prometheus text.
    #[must_use]
    pub fn text(&self) -> String {
        // The text of the registry ends with a mark that nothing may follow.
        let others = self.others.get().map(|lines| lines()).unwrap_or_default();
        others + &self.counted()
    }

    fn counted(&self) -> String {
        let mut text = String::new();
        // Writing into a String fails only when a metric's own encoder is wrong.
        match self.with(|registry| encode(&mut text, registry)) {
            Ok(()) => text,
            Err(error) => format!("# metrics could not be written: {error}\n"),
        }
    }

    /// Every plain number by name, without the prefix; those of a label as `name.value`.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, f64> {
        self.counted().lines().filter_map(plain_number).collect()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        work(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads one line of the text format; histograms are left out.
fn plain_number(line: &str) -> Option<(String, f64)> {
    let (name, value) = line.strip_prefix("vigie_")?.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let name = match name.split_once('{') {
        None => name.to_owned(),
        Some((_, labels)) if labels.contains("le=") => return None,
        Some((name, labels)) => format!("{name}.{}", labels.split('"').nth(1)?),
    };
    (!name.ends_with("_sum") && !name.ends_with("_count") && !name.ends_with("_bucket"))
        .then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_served_as_text_and_as_a_snapshot() {
        let metrics = Metrics::default();
        metrics.counter("events", "Events read").inc_by(3);
        metrics.counter_vec("drops", "Actions dropped", "reason").with("expired").inc();
        metrics.gauge_of("shards", "Shards owned", || 2.0);
        metrics.histogram("took_seconds", "Time taken", &[0.1, 1.0]).observe(0.5);
        let text = metrics.text();
        assert!(text.contains("vigie_events_total 3\n"), "{text}");
        assert!(text.contains("vigie_drops_total{reason=\"expired\"} 1\n"), "{text}");
        assert!(text.contains("vigie_took_seconds_bucket{le=\"1.0\"} 1\n"), "{text}");
        let expected = [("drops_total.expired", 1.0), ("events_total", 3.0), ("shards", 2.0)];
        assert_eq!(metrics.snapshot(), expected.map(|(name, value)| (name.to_owned(), value)).into());
        metrics.also(|| "vigie_of_others 1\n".to_owned());
        assert!(metrics.text().starts_with("vigie_of_others 1\n") && metrics.text().ends_with("# EOF\n"));
        assert_eq!(metrics.snapshot().len(), 3);
    }
}
