//! The recorder behind `/metrics`, and every series that the project emits, with its help.
//!
//! A program with an HTTP server of its own gives the text of [`render`] there. A recorder that it has installed already is used,
//! never replaced: the series go to that, and nothing here has them.
//!
//! Only the commands of an application that serve `/metrics` install a recorder by themselves. Whoever uses the engine as a library
//! does so with [`Metrics::install`], or with a recorder of another make and [`describe_metrics`], or not at all.

use std::sync::OnceLock;

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
    /// What to be woken for: a condition on it, with what it means or what says more. None where it only explains others.
    pub alert_when: Option<&'static str>,
}

impl Series {
    /// The same, with a condition to be woken for.
    pub(crate) const fn alert_when(mut self, condition: &'static str) -> Self {
        self.alert_when = Some(condition);
        self
    }

    /// Its unit, which its name says.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        let base = self.name.trim_end_matches("_total");
        ["seconds", "bytes"].into_iter().find(|unit| base.ends_with(unit)).unwrap_or("1")
    }
}

pub use crate::series::SERIES;

/// Gives every series its help. Called by [`Metrics::install`]; call it yourself after installing a recorder of your own.
pub fn describe_metrics() {
    for series in SERIES {
        let unit = match series.unit() {
            "seconds" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            _ => Unit::Count,
        };
        match series.kind {
            SeriesKind::Counter => describe_counter!(series.name, unit, series.help),
            SeriesKind::Gauge => describe_gauge!(series.name, unit, series.help),
            SeriesKind::Histogram => describe_histogram!(series.name, unit, series.help),
        }
    }
}

/// The handle of this process's recorder, once [`Metrics::install`] was called; none inside if another one was there.
static INSTALLED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// The Prometheus text of this process's series, for a program with an HTTP server of its own.
///
/// [`Metrics::install`] comes first, at the start of the program: what happened before it is not counted. Where there are no
/// series, because that was not called or because the program has installed a recorder of another make, the text is a comment
/// that says so. The series of a worker in another process are not among them.
///
/// Each call drains what histograms have gathered; where nobody asks for minutes, [`Metrics::upkeep`] does that.
///
/// ```
/// use elastic_flow_admin::metrics::{self, Metrics};
///
/// let own = Metrics::install();
/// assert_eq!(own.render(), Some(metrics::render()));
/// ```
#[must_use]
pub fn render() -> String {
    match INSTALLED.get() {
        Some(Some(handle)) => handle.render(),
        Some(None) => {
            "# No series: they go to the metrics recorder of another make that this program installed.\n".to_owned()
        }
        None => "# No series: this program has not called Metrics::install().\n".to_owned(),
    }
}

/// The process's series, for `/metrics`.
#[derive(Clone)]
pub struct Metrics(Option<PrometheusHandle>);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("own_recorder", &self.0.is_some()).finish()
    }
}

impl Metrics {
    /// Installs the recorder, before any series is emitted, and describes them. Again in the same process: the same one.
    ///
    /// A recorder that is installed already is used and never replaced: the series are described to it, and
    /// [`Metrics::render`] gives none.
    pub fn install() -> Self {
        let installed = INSTALLED.get_or_init(|| {
            let recorder = builder().build_recorder();
            let handle = recorder.handle();
            let own = ::metrics::set_global_recorder(recorder).is_ok();
            describe_metrics();
            own.then_some(handle)
        });
        Self(installed.clone())
    }

    /// Nothing is recorded.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// The Prometheus text, or none if the series go to another recorder.
    #[must_use]
    pub fn render(&self) -> Option<String> {
        self.0.as_ref().map(PrometheusHandle::render)
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
            for text in [series.help, series.alert_when.unwrap_or(".")] {
                assert!(text.ends_with('.') && !text.contains('\n'), "{}", series.name);
            }
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
