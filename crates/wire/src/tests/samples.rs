//! One value of every message variant, with its encoding field by field.

use bytes::Bytes;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StageId, StepId};

use crate::codec::encode_to_vec;
use crate::hello::{Challenge, Channel, Handshake, Hello, Refusal, RefusalReason, Role};
use crate::message::{
    Assignment, ChunkRead, ExchangeNotice, FailureKind, Found, HeldTask, ItemKind, KeptItem, Look, Message, Outcome,
    Parcels, ParcelsTaken, PartitionAssignment, PartitionId, PartitionOwner, PartitionSum, Payload, PayloadKind,
    PeerUnreached, Pulse, ReadFrom, Segment, SkippedItem, StepNotice, TaskChunk, TaskResult,
};
use crate::secret::{KeyId, Proof};

/// A name and the bytes that stand for it.
pub(super) type Field = (&'static str, Vec<u8>);

fn field<T: serde::Serialize>(name: &'static str, value: &T) -> Field {
    (name, encode_to_vec(value).unwrap())
}

pub(super) fn receipt(sequence: u64) -> ReceiptId {
    ReceiptId { step: StepId(7), stage: StageId(1), round: 2, partition: 3, sequence, check: 0xdead_beef }
}

fn attempt() -> Attempt {
    Attempt { epoch: 5, number: 0x0102 }
}

fn variant(index: u32) -> Field {
    field("variant", &index)
}

fn assignment() -> (Assignment, Vec<Field>) {
    let kinds = [PayloadKind::Split, PayloadKind::Bytes, PayloadKind::Items];
    let chunk = |(sequence, kind): (u64, PayloadKind)| TaskChunk {
        receipt: receipt(sequence),
        input: 9,
        payload: Payload { kind, body: Bytes::from_static(b"body") },
    };
    let chunks: Vec<TaskChunk> = (0..).zip(kinds).map(chunk).collect();
    let assignment = Assignment { attempt: attempt(), step: StepId(7), stage: StageId(1), generation: 4, chunks };
    let fields = vec![
        variant(1),
        field("attempt", &assignment.attempt),
        field("step", &assignment.step),
        field("stage", &assignment.stage),
        field("generation", &assignment.generation),
        field("chunks", &assignment.chunks),
    ];
    (assignment, fields)
}

fn result(outcome: Outcome, outcome_fields: Vec<Field>) -> (Message, Vec<Field>) {
    let result = TaskResult {
        attempt: attempt(),
        step: StepId(7),
        stage: StageId(1),
        generation: 4,
        receipts: vec![receipt(0), receipt(1)],
        outcome,
    };
    let mut fields = vec![
        variant(5),
        field("attempt", &result.attempt),
        field("step", &result.step),
        field("stage", &result.stage),
        field("generation", &result.generation),
        field("receipts", &result.receipts),
    ];
    fields.extend(outcome_fields);
    (Message::Result(result), fields)
}

fn done() -> (Message, Vec<Field>) {
    let chunks = vec![ChunkRead { receipt: receipt(0), entries: 11, bytes: 12, nanos: 13, from: ReadFrom::Task }];
    let segments = vec![Segment { receipt: receipt(0), rows: 2, digest: 14, body: Bytes::from_static(b"rows") }];
    let kept = |kind, body| Some(KeptItem { kind, length: 9, body: Bytes::from_static(body) });
    let skip = |item, kept| SkippedItem { receipt: receipt(1), item, error: "no number".to_owned(), kept };
    let skips =
        vec![skip(3, kept(ItemKind::Text, b"text")), skip(4, kept(ItemKind::Encoded, b"encoded")), skip(5, None)];
    let fields = vec![
        field("outcome", &0_u32),
        field("chunks", &chunks),
        field("segments", &segments),
        field("nanos", &15_u64),
        field("skips", &skips),
    ];
    result(Outcome::Done { chunks, segments, nanos: 15, skips }, fields)
}

fn failed(index: u32, kind: FailureKind, at: Option<u64>) -> (Message, Vec<Field>) {
    let log_tail = vec!["one".to_owned(), "two".to_owned()];
    let fields = vec![
        field("outcome", &1_u32),
        field("kind", &index),
        field("receipt", &at.map(receipt)),
        field("item", &at),
        field("message", &"went wrong"),
        field("log_tail", &log_tail),
    ];
    result(
        Outcome::Failed { kind, receipt: at.map(receipt), item: at, message: "went wrong".to_owned(), log_tail },
        fields,
    )
}

fn holding() -> (&'static str, Message, Vec<Field>) {
    let task = HeldTask { attempt: attempt(), step: StepId(7), receipts: vec![receipt(1), receipt(2)] };
    let fields = vec![
        variant(10),
        field("number of tasks", &1_u64),
        field("attempt", &task.attempt),
        field("step", &task.step),
        field("receipts", &task.receipts),
    ];
    ("holding", Message::Holding(vec![task]), fields)
}

fn look() -> (&'static str, Message, Vec<Field>) {
    let look = Look { step: StepId(7), question: Bytes::from_static(b"which") };
    let fields = vec![variant(11), field("step", &look.step), field("question", &"which")];
    ("look", Message::Look(look), fields)
}

fn found() -> (&'static str, Message, Vec<Field>) {
    let found = Found {
        step: StepId(7),
        question: 0x0102,
        here: 2,
        absent: vec![1, 3],
        message: "gone".to_owned(),
        listed: Bytes::from_static(b"list"),
    };
    let fields = vec![
        variant(12),
        field("step", &found.step),
        field("question", &found.question),
        field("here", &found.here),
        field("absent", &found.absent),
        field("message", &found.message),
        field("listed", &"list"),
    ];
    ("found", Message::Found(found), fields)
}

fn exchanged() -> (Message, Vec<Field>) {
    let chunks = vec![ChunkRead { receipt: receipt(0), entries: 11, bytes: 12, nanos: 13, from: ReadFrom::Place }];
    let partition = PartitionId { stage: StageId(2), number: 3 };
    let sums = vec![(partition, PartitionSum { parcels: 1, rows: 2, digest: 14 })];
    let fields = vec![
        field("outcome", &4_u32),
        field("chunks", &chunks),
        field("sums", &sums),
        field("nanos", &15_u64),
        field("skips", &0_u64),
    ];
    result(Outcome::Exchanged { chunks, sums, nanos: 15, skips: Vec::new() }, fields)
}

/// What passes for an exchange.
fn exchanging() -> Vec<(&'static str, Message, Vec<Field>)> {
    let owner = PartitionOwner {
        node: NodeId(6),
        name: "yam2".to_owned(),
        address: "10.0.0.2:7117".to_owned(),
        partitions: vec![0, 2],
    };
    let notice = ExchangeNotice {
        step: StepId(7),
        epoch: 5,
        generation: 2,
        stages: 3,
        partitions: 4,
        owners: vec![owner.clone()],
    };
    let notice_fields = vec![
        variant(13),
        field("step", &notice.step),
        field("epoch", &notice.epoch),
        field("generation", &notice.generation),
        field("stages", &notice.stages),
        field("partitions", &notice.partitions),
        field("owners", &vec![(owner.node, owner.name, owner.address, owner.partitions)]),
    ];
    let segment = Segment { receipt: receipt(0), rows: 2, digest: 14, body: Bytes::from_static(b"rows") };
    let parcels = Parcels { step: StepId(7), attempt: attempt(), generation: 2, segments: vec![segment] };
    let parcels_fields = vec![
        variant(14),
        field("step", &parcels.step),
        field("attempt", &parcels.attempt),
        field("generation", &parcels.generation),
        field("segments", &parcels.segments),
    ];
    let taken = ParcelsTaken { step: StepId(7), attempt: attempt(), generation: 2 };
    let taken_fields =
        vec![variant(15), field("step", &taken.step), field("attempt", &taken.attempt), field("generation", &2_u32)];
    let sum = PartitionSum { parcels: 3, rows: 4, digest: 5 };
    let partition = PartitionAssignment { attempt: attempt(), receipt: receipt(3), generation: 2, sum };
    let partition_fields = vec![
        variant(16),
        field("attempt", &partition.attempt),
        field("receipt", &partition.receipt),
        field("generation", &partition.generation),
        field("parcels", &sum.parcels),
        field("rows", &sum.rows),
        field("digest", &sum.digest),
    ];
    let unreached = PeerUnreached { step: StepId(7), generation: 2, node: NodeId(6), message: "no route".to_owned() };
    let unreached_fields = vec![
        variant(17),
        field("step", &unreached.step),
        field("generation", &unreached.generation),
        field("node", &unreached.node),
        field("message", &unreached.message),
    ];
    vec![
        ("exchange", Message::Exchange(notice), notice_fields),
        ("parcels", Message::Parcels(parcels), parcels_fields),
        ("taken", Message::Taken(taken), taken_fields),
        ("partition", Message::Partition(partition), partition_fields),
        ("unreached", Message::Unreached(unreached), unreached_fields),
    ]
}

/// Name, message, and the fields that its bytes consist of.
pub(super) fn messages() -> Vec<(&'static str, Message, Vec<Field>)> {
    let params = vec![("key".to_owned(), "value".to_owned())];
    let (program, plan) = ("word_count".to_owned(), 0x1122_3344_5566_7788);
    let notice = StepNotice { step: StepId(7), program, params, plan, max_skips: 16 };
    let notice_fields = vec![
        variant(0),
        field("step", &notice.step),
        field("program", &notice.program),
        field("params", &notice.params),
        field("plan", &notice.plan),
        field("max skips", &notice.max_skips),
    ];
    let (assignment, assignment_fields) = assignment();
    let pulse =
        Pulse { busy: 1, queued: 2, working: vec![(attempt(), 3)], resident_bytes: 4, metrics: "m 1\n".to_owned() };
    let pulse_fields = vec![
        variant(6),
        field("busy", &pulse.busy),
        field("queued", &pulse.queued),
        field("working", &pulse.working),
        field("resident_bytes", &pulse.resident_bytes),
        field("metrics", &pulse.metrics),
    ];
    let mut all = vec![
        ("notice", Message::Notice(notice), notice_fields),
        ("assign", Message::Assign(assignment), assignment_fields),
        ("ack", Message::Ack(attempt()), vec![variant(2), field("attempt", &attempt())]),
        ("revoke", Message::Revoke(attempt()), vec![variant(3), field("attempt", &attempt())]),
        ("release", Message::Release(StepId(7)), vec![variant(4), field("step", &StepId(7))]),
        ("heartbeat", Message::Heartbeat(pulse), pulse_fields),
        ("credit", Message::Credit(8 << 20), vec![variant(7), field("bytes", &(8_u64 << 20))]),
        ("draining", Message::Draining, vec![variant(8)]),
        ("goodbye", Message::Goodbye("done".to_owned()), vec![variant(9), field("reason", &"done")]),
        holding(),
        look(),
        found(),
    ];
    let not_here = Outcome::NotHere { receipts: vec![receipt(1)], message: "no such file".to_owned() };
    let not_here_fields =
        vec![field("outcome", &2_u32), field("receipts", &vec![receipt(1)]), field("message", &"no such file")];
    for (name, (message, fields)) in [
        ("result_done", done()),
        ("result_failed_panic", failed(0, FailureKind::Panic, Some(1))),
        ("result_failed_user", failed(1, FailureKind::User, None)),
        ("result_failed_source", failed(2, FailureKind::Source, None)),
        ("result_failed_decode", failed(3, FailureKind::Decode, None)),
        ("result_failed_program", failed(4, FailureKind::Program, None)),
        ("result_failed_resource", failed(5, FailureKind::Resource, None)),
        ("result_failed_source_changed", failed(6, FailureKind::SourceChanged, None)),
        ("result_failed_fail", failed(7, FailureKind::Fail, Some(2))),
        ("result_failed_skips", failed(8, FailureKind::Skips, Some(2))),
        ("result_failed_missing", failed(9, FailureKind::Missing, None)),
        ("result_not_here", result(not_here, not_here_fields)),
        ("result_handed_back", result(Outcome::HandedBack, vec![field("outcome", &3_u32)])),
        ("result_exchanged", exchanged()),
    ] {
        all.push((name, message, fields));
    }
    all.extend(exchanging());
    all
}

/// Fails to compile when a variant is added, so that a sample is added too; gives the variant's index.
pub(super) fn index_of(message: &Message) -> u32 {
    match message {
        Message::Notice(_) => 0,
        Message::Assign(_) => 1,
        Message::Ack(_) => 2,
        Message::Revoke(_) => 3,
        Message::Release(_) => 4,
        Message::Result(_) => 5,
        Message::Heartbeat(_) => 6,
        Message::Credit(_) => 7,
        Message::Draining => 8,
        Message::Goodbye(_) => 9,
        Message::Holding(_) => 10,
        Message::Look(_) => 11,
        Message::Found(_) => 12,
        Message::Exchange(_) => 13,
        Message::Parcels(_) => 14,
        Message::Taken(_) => 15,
        Message::Partition(_) => 16,
        Message::Unreached(_) => 17,
    }
}

pub(super) fn hello() -> Hello {
    Hello {
        versions: (1, 2),
        cluster: "logs".to_owned(),
        role: Role::Worker,
        incarnation: NodeId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        name: "yam2".to_owned(),
        build: [0xb1; 32],
        plans: 0x9a,
        schema: 0x5c,
        slots: 4,
        epoch: 5,
        data_address: "10.0.0.2:7119".to_owned(),
        channel: Channel::Data,
        nonce: [0xc0; 32],
    }
}

/// Name and content of a frame of each handshake kind, and what its body consists of.
pub(super) fn handshakes() -> Vec<(&'static str, Handshake, Vec<Field>)> {
    let hello = hello();
    let hello_fields = vec![
        field("version min", &hello.versions.0),
        field("version max", &hello.versions.1),
        field("cluster", &hello.cluster),
        field("role", &hello.role),
        field("incarnation", &hello.incarnation),
        field("name", &hello.name),
        field("build", &hello.build),
        field("plans", &hello.plans),
        field("schema", &hello.schema),
        field("slots", &hello.slots),
        field("epoch", &hello.epoch),
        field("data address", &hello.data_address),
        field("channel", &hello.channel),
        field("nonce", &hello.nonce),
    ];
    let challenge = Challenge {
        version: 1,
        incarnation: NodeId(9),
        name: "yam1".to_owned(),
        epoch: 6,
        build: [0xb2; 32],
        tags: true,
        keys: (KeyId(0x0102_0304), Some(KeyId(0x0506_0708))),
        nonce: [0x50; 32],
    };
    let challenge_fields = vec![
        field("version", &challenge.version),
        field("incarnation", &challenge.incarnation),
        field("name", &challenge.name),
        field("epoch", &challenge.epoch),
        field("build", &challenge.build),
        field("tags", &challenge.tags),
        field("keys", &challenge.keys),
        field("nonce", &challenge.nonce),
    ];
    let refusal = Refusal { reason: RefusalReason::EpochFenced, message: "later master".to_owned() };
    let refusal_fields = vec![field("reason", &6_u32), field("message", &refusal.message)];
    let proof = |byte: u8| vec![field("proof", &[byte; 32])];
    vec![
        ("hello", Handshake::Hello(hello), hello_fields),
        ("challenge", Handshake::Challenge(challenge), challenge_fields),
        ("proof", Handshake::Proof(Proof([1; 32])), proof(1)),
        ("welcome", Handshake::Welcome(Proof([2; 32])), proof(2)),
        ("refuse", Handshake::Refuse(refusal), refusal_fields),
    ]
}
