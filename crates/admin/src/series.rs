//! Every series that the project emits, in the order of the documentation.

use crate::metrics::Series;
use crate::metrics::SeriesKind::{self, Counter, Gauge, Histogram};

const fn series(name: &'static str, kind: SeriesKind, labels: &'static [&'static str], help: &'static str) -> Series {
    Series { name, kind, labels, help }
}

/// Every series, in the order of the documentation.
pub const SERIES: &[Series] = &[
    // The account.
    series(
        "elastic_flow_receipts_total",
        Counter,
        &["station"],
        "Receipts of chunks that passed a station; conceived = aggregated + set_aside + abandoned once no step runs.",
    ),
    series("elastic_flow_entries_total", Counter, &[], "Items read by chunks in the aggregate."),
    series("elastic_flow_source_bytes_total", Counter, &[], "Bytes of the source read by chunks in the aggregate."),
    series("elastic_flow_chunks_open", Gauge, &[], "Chunks given to workers whose results have not come back."),
    series("elastic_flow_retries_total", Counter, &[], "Chunks sent again, for whatever reason."),
    series(
        "elastic_flow_attempt_failures_total",
        Counter,
        &[],
        "Attempts that failed by an error or panic of user code, or by their input.",
    ),
    series(
        "elastic_flow_results_duplicate_total",
        Counter,
        &[],
        "Results dropped because the chunks were in the aggregate already.",
    ),
    series(
        "elastic_flow_results_stale_total",
        Counter,
        &[],
        "Results dropped because their attempt was not the one in force.",
    ),
    // Steps.
    series("elastic_flow_steps_total", Counter, &["state"], "Steps that ended, by their final state."),
    series("elastic_flow_step_seconds", Histogram, &[], "How long steps ran, from their start to their end."),
    series("elastic_flow_queue_depth", Gauge, &[], "Steps that wait for their turn."),
    // Workers.
    series(
        "elastic_flow_items_skipped_total",
        Counter,
        &[],
        "Items set aside because user code said so, in results that count.",
    ),
    series("elastic_flow_workers_connected", Gauge, &[], "Workers connected to the master."),
    series("elastic_flow_workers_lost_total", Counter, &["reason"], "Workers that went, by reason."),
    series("elastic_flow_task_seconds", Histogram, &["outcome"], "How long tasks ran on a worker, by how they ended."),
    series("elastic_flow_tasks_busy", Gauge, &[], "Compute threads of a worker that run a task."),
    series(
        "elastic_flow_results_held_bytes",
        Gauge,
        &[],
        "Results that a worker keeps until its master has acknowledged them, in bytes.",
    ),
    // Transport.
    series(
        "elastic_flow_parcels_total",
        Counter,
        &["direction", "lane"],
        "Messages that passed this node, by direction and lane.",
    ),
    series(
        "elastic_flow_parcel_bytes_total",
        Counter,
        &["direction", "lane", "form"],
        "Bytes of the messages that passed this node, before (raw) and after (compressed) compression.",
    ),
    series(
        "elastic_flow_auth_failures_total",
        Counter,
        &["reason"],
        "Peers and requests that were turned away, by reason.",
    ),
    series(
        "elastic_flow_old_key_uses_total",
        Counter,
        &["by"],
        "Peers (node) and requests (token) that proved the old key of a rotation; it may go once this stands still.",
    ),
    // The journal and the master itself.
    series("elastic_flow_journal_records_total", Counter, &[], "Records written to the journal."),
    series("elastic_flow_journal_sync_seconds", Histogram, &[], "How long the journal took to write and sync a batch."),
    series("elastic_flow_epoch", Gauge, &[], "The master's epoch: raised at each of its starts."),
    series(
        "elastic_flow_build_info",
        Gauge,
        &["version", "build"],
        "Always 1; its labels say what a node runs: the version, and the first digits of the build.",
    ),
];
