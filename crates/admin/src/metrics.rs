//! The recorder behind `/metrics`, and every series that the project emits, with its help.

use std::sync::Arc;

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds of every histogram in seconds.
const SECONDS_BUCKETS: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Bounds of every histogram in bytes: 1 KiB to 64 MiB.
const BYTES_BUCKETS: [f64; 9] =
    [1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// The shape of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesKind {
    /// Only rises; its name ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// A series as it is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// Its name, with unit and suffix.
    pub name: &'static str,
    /// Its shape.
    pub kind: SeriesKind,
    /// Its labels, all bounded.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

pub use crate::series::SERIES;

/// Gives every series its help. Called by [`Metrics::install`]; call it yourself after installing a recorder of your own.
pub fn describe_metrics() {
    for series in SERIES {
        // Units stand in the names already; Unit::Count adds nothing to them.
        match series.kind {
            SeriesKind::Counter => describe_counter!(series.name, Unit::Count, series.help),
            SeriesKind::Gauge => describe_gauge!(series.name, Unit::Count, series.help),
            SeriesKind::Histogram => describe_histogram!(series.name, Unit::Count, series.help),
        }
    }
}

/// The process's series, for `/metrics`.
#[derive(Clone)]
pub struct Metrics(Option<Arc<PrometheusHandle>>);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("own_recorder", &self.0.is_some()).finish()
    }
}

impl Metrics {
    /// Installs the recorder, once and before any series is emitted, and describes them. A recorder that is installed already
    /// is used and never replaced: the series are described to it, and [`Metrics::render`] gives none.
    #[must_use]
    pub fn install() -> Self {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        let own = ::metrics::set_global_recorder(recorder).is_ok();
        describe_metrics();
        Self(own.then(|| Arc::new(handle)))
    }

    /// Nothing is recorded.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// The Prometheus text, or none if the series go to another recorder.
    #[must_use]
    pub fn render(&self) -> Option<String> {
        self.0.as_ref().map(|handle| handle.render())
    }

    /// Drains histograms; to be called every few seconds where nobody scrapes. A running [`crate::AdminServer`] does.
    pub fn upkeep(&self) {
        if let Some(handle) = &self.0 {
            handle.run_upkeep();
        }
    }
}

fn builder() -> PrometheusBuilder {
    let suffix = |suffix: &str| Matcher::Suffix(suffix.to_owned());
    let with_buckets = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS_BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(suffix("_bytes"), &BYTES_BUCKETS));
    // Only an empty list of buckets is refused.
    with_buckets.unwrap_or_default().with_recommended_naming(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::metrics::{counter, gauge, histogram};

    #[test]
    fn names_follow_the_conventions() {
        for series in SERIES {
            assert!(series.name.starts_with("elastic_flow_"), "{}", series.name);
            assert_eq!(series.name.ends_with("_total"), series.kind == SeriesKind::Counter, "{}", series.name);
            let histogram_unit = series.name.ends_with("_seconds") || series.name.ends_with("_bytes");
            assert!(series.kind != SeriesKind::Histogram || histogram_unit, "{}", series.name);
            assert!(series.help.ends_with('.') && !series.help.contains('\n'), "{}", series.name);
            for part in ["_milliseconds", "_millis", "_ms", "_mb", "_kb", "_mib", "_nanos"] {
                assert!(!series.name.contains(part), "{}", series.name);
            }
        }
        let mut names: Vec<_> = SERIES.iter().map(|series| series.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SERIES.len());
    }

    #[test]
    fn the_text_keeps_names_and_carries_help_and_buckets() {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            describe_metrics();
            for series in SERIES {
                match series.kind {
                    SeriesKind::Counter => counter!(series.name).increment(1),
                    SeriesKind::Gauge => gauge!(series.name).set(1.0),
                    SeriesKind::Histogram => histogram!(series.name).record(0.2),
                }
            }
        });
        let text = handle.render();
        for series in SERIES {
            let (name, kind) = match series.kind {
                SeriesKind::Counter => (series.name.to_owned(), "counter"),
                SeriesKind::Gauge => (series.name.to_owned(), "gauge"),
                SeriesKind::Histogram => (format!("{}_bucket{{le=", series.name), "histogram"),
            };
            assert!(text.contains(&format!("\n{name}")), "{name} in {text}");
            assert!(text.contains(&format!("# HELP {} {}\n", series.name, series.help)), "help of {}", series.name);
            assert!(text.contains(&format!("# TYPE {} {kind}\n", series.name)), "type of {}", series.name);
        }
    }
}
