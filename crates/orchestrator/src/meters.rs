//! Metrics that master and workers have in common.

use elastic_flow_transport::{LaneStats, TransportStats};
use metrics::counter;

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
