//! Every series that the project emits, in the order of the documentation.

use crate::metrics::Series;
use crate::metrics::SeriesKind::{self, Counter, Gauge, Histogram};

const fn series(name: &'static str, kind: SeriesKind, labels: &'static [&'static str], help: &'static str) -> Series {
    Series { name, kind, labels, help, alert_when: None }
}

/// Every series, in the order of the documentation.
pub const SERIES: &[Series] = &[
    // The account.
    series(
        "elastic_flow_receipts_total",
        Counter,
        &["station"],
        "Receipts of chunks that passed a station; conceived = aggregated + set_aside + abandoned once no step runs.",
    )
    .alert_when(
        "with `station=\"set_aside\"` or `\"abandoned\"` it rises: chunks are left out; `dead-letters` and \
         `audit` name them.",
    ),
    series("elastic_flow_entries_total", Counter, &[], "Items read by chunks in the aggregate.")
        .alert_when("it stands still for minutes while `elastic_flow_chunks_open` is above 0: nothing gets done."),
    series("elastic_flow_source_bytes_total", Counter, &[], "Bytes of the source read by chunks in the aggregate."),
    series("elastic_flow_chunks_open", Gauge, &[], "Chunks given to workers whose results have not come back.")
        .alert_when("it is 0 for minutes while a step runs: `workers` and `step` say what it waits for."),
    series("elastic_flow_retries_total", Counter, &[], "Chunks sent again, for whatever reason.").alert_when(
        "it rises faster than a few in a hundred of the receipts conceived: workers are lost, or user code \
         fails by chance.",
    ),
    series(
        "elastic_flow_attempt_failures_total",
        Counter,
        &[],
        "Attempts that failed by an error or panic of user code, or by their input.",
    )
    .alert_when("it rises: `step` shows the failures with their messages and items."),
    series(
        "elastic_flow_results_duplicate_total",
        Counter,
        &[],
        "Results dropped because the chunks were in the aggregate already.",
    )
    .alert_when("it rises for hours: work is done twice, since workers are taken for lost or results are late."),
    series(
        "elastic_flow_results_stale_total",
        Counter,
        &[],
        "Results dropped because their attempt was not the one in force.",
    ),
    // Steps.
    series("elastic_flow_steps_total", Counter, &["state"], "Steps that ended, by their final state.").alert_when(
        "with `state=\"failed\"` it rises, and with `\"completed_with_skips\"` where nothing is to be \
         skipped.",
    ),
    series("elastic_flow_step_seconds", Histogram, &[], "How long steps ran, from their start to their end.")
        .alert_when("steps of the same size take longer than they used to."),
    series("elastic_flow_queue_depth", Gauge, &[], "Steps that wait for their turn.")
        .alert_when("it grows for longer than your longest step takes."),
    // Workers.
    series(
        "elastic_flow_items_skipped_total",
        Counter,
        &[],
        "Items set aside because user code said so, in results that count.",
    )
    .alert_when("it rises faster than your data explains; `retry.max_skips` is where a step ends."),
    series("elastic_flow_workers_connected", Gauge, &[], "Workers connected to the master.")
        .alert_when("it is below the number of workers that you run."),
    series("elastic_flow_workers_lost_total", Counter, &["reason"], "Workers that went, by reason.").alert_when(
        "with `reason=\"silent\"`, `\"closed\"` or `\"protocol\"` it rises: a server, a process or the \
         network has failed.",
    ),
    series("elastic_flow_task_seconds", Histogram, &["outcome"], "How long tasks ran on a worker, by how they ended."),
    series("elastic_flow_tasks_busy", Gauge, &[], "Compute threads of a worker that run a task.")
        .alert_when("it is 0 on all workers for minutes while `elastic_flow_chunks_open` is above 0."),
    series(
        "elastic_flow_results_held_bytes",
        Gauge,
        &[],
        "Results that a worker keeps until its master has acknowledged them, in bytes.",
    )
    .alert_when("it grows for minutes: the master is away, or does not acknowledge."),
    series(
        "elastic_flow_parcels_waiting_bytes",
        Gauge,
        &[],
        "Output for an exchange that a worker keeps until the owner of its partition has it, in bytes.",
    )
    .alert_when("it stays high: another worker is slow to merge, or cannot be reached."),
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
    )
    .alert_when(
        "it rises: somebody has a wrong key, another version or no right to be here; the log names one a minute.",
    ),
    series(
        "elastic_flow_old_key_uses_total",
        Counter,
        &["by"],
        "Peers (node) and requests (token) that proved the old key of a rotation; it may go once this stands still.",
    )
    .alert_when("it rises while no rotation is under way: a node or a script has missed the new key."),
    // The journal and the master itself.
    series("elastic_flow_journal_records_total", Counter, &[], "Records written to the journal."),
    series("elastic_flow_journal_sync_seconds", Histogram, &[], "How long the journal took to write and sync a batch.")
        .alert_when("its 99th percentile is above 0.1 s: the disk is slow, and every result waits for it."),
    series("elastic_flow_epoch", Gauge, &[], "The master's epoch: raised at each of its starts.")
        .alert_when("it rises without a restart of yours: the master has crashed."),
    series(
        "elastic_flow_build_info",
        Gauge,
        &["version", "build"],
        "Always 1; its labels say what a node runs: the version, and the first digits of the build.",
    )
    .alert_when("there is more than one `build` for longer than an upgrade takes."),
];
