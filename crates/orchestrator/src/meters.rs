//! Metrics that master and workers have in common.

use elastic_flow_transport::{LaneStats, TransportStats};
use metrics::{counter, gauge};

/// Hexadecimal digits of a build that tell it from others.
const BUILD_DIGITS: usize = 12;

/// Tells what runs here.
pub(crate) fn build_info(build: u128) {
    let build: String = format!("{build:032x}").chars().take(BUILD_DIGITS).collect();
    gauge!("elastic_flow_build_info", "version" => env!("CARGO_PKG_VERSION"), "build" => build).set(1.0);
}

/// Tells what has passed through an endpoint since the last call.
pub(crate) fn transport(now: &TransportStats, told: &mut TransportStats) {
    lane("sent", "control", &now.control_sent, &told.control_sent);
    lane("received", "control", &now.control_received, &told.control_received);
    lane("sent", "data", &now.data_sent, &told.data_sent);
    lane("received", "data", &now.data_received, &told.data_received);
    for (turned, count) in &now.turned {
        let before = told.turned.iter().find(|(it, _)| it == turned).map_or(0, |(_, count)| *count);
        counter!("elastic_flow_auth_failures_total", "reason" => turned.label())
            .increment(count.saturating_sub(before));
    }
    counter!("elastic_flow_old_key_uses_total", "by" => "node").increment(now.old_key.saturating_sub(told.old_key));
    *told = now.clone();
}

fn lane(direction: &'static str, lane: &'static str, now: &LaneStats, told: &LaneStats) {
    let more = now.messages.saturating_sub(told.messages);
    counter!("elastic_flow_parcels_total", "direction" => direction, "lane" => lane).increment(more);
    let raw = now.raw_bytes.saturating_sub(told.raw_bytes);
    counter!("elastic_flow_parcel_bytes_total", "direction" => direction, "lane" => lane, "form" => "raw")
        .increment(raw);
    let wire = now.wire_bytes.saturating_sub(told.wire_bytes);
    counter!("elastic_flow_parcel_bytes_total", "direction" => direction, "lane" => lane, "form" => "compressed")
        .increment(wire);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;

    /// Takes down which gauges are told.
    #[derive(Default)]
    struct Gauges(Mutex<Vec<Key>>);

    impl Recorder for Gauges {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.0.lock().unwrap().push(key.clone());
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_build_is_told_with_its_version_and_its_first_digits() {
        let gauges = Gauges::default();
        metrics::with_local_recorder(&gauges, || build_info(0x0012_3456_789a_bcde_f000_0000_0000_0000));
        let told = gauges.0.lock().unwrap();
        assert_eq!((told.len(), told[0].name()), (1, "elastic_flow_build_info"));
        let labels: Vec<(&str, &str)> = told[0].labels().map(|it| (it.key(), it.value())).collect();
        assert_eq!(labels, [("version", env!("CARGO_PKG_VERSION")), ("build", "00123456789a")]);
    }
}
