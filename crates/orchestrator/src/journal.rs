//! The records of the master's journal, and their bytes.
//!
//! ```text
//! +--------+--------+------------------------------------+
//! | format | kind   | body: the record, in the wire codec |
//! | u8 = 2 | u8     |                                     |
//! +--------+--------+------------------------------------+
//! ```
//! State is a fold over these records; the live path and recovery share it. An unknown format or kind is refused, never skipped.

use bytes::Bytes;
use elastic_flow_dataflow::seam::{Cut, SourcePart};
use elastic_flow_queue::QueueRecord;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StageId, StepId};
use elastic_flow_wire::message::{ChunkRead, FailureKind, Segment, SkippedItem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of the layout of journal records.
pub const FORMAT: u8 = 2;

/// The master began a life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Drawn when the store was made.
    pub incarnation: u128,
    /// Raised by one at each start.
    pub epoch: u64,
}

/// What was decided when a step started, fixed for its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The step.
    pub step: StepId,
    /// Digest of its plan.
    pub plan: u64,
    /// The parts of its source, as they were at submission.
    pub parts: Vec<SourcePart>,
    /// Build of the master that started it.
    pub build: u128,
}

/// The source of a step, as it was found at submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The step.
    pub step: StepId,
    /// What the shell needs to cut it: opaque here.
    pub resolved: Bytes,
}

/// A chunk that was conceived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConceivedChunk {
    /// Its receipt.
    pub receipt: ReceiptId,
    /// The receipt that it replays.
    pub parent: Option<ReceiptId>,
    /// What it covers and how to read it; the payload of a shipped chunk is empty here, its digest stands beside.
    pub cut: Cut,
    /// xxh3 of the payload's body.
    pub digest: u64,
}

/// Chunks that were conceived, before any of them is distributed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConceivedRecord {
    /// The step.
    pub step: StepId,
    /// Unix nanoseconds.
    pub at: u64,
    /// The chunks, in source order.
    pub chunks: Vec<ConceivedChunk>,
    /// Whether the source has been cut to its end.
    pub exhausted: bool,
}

/// A task that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneRecord {
    /// The step.
    pub step: StepId,
    /// The attempt that was accepted.
    pub attempt: Attempt,
    /// Its stage.
    pub stage: StageId,
    /// The generation of its inputs.
    pub generation: u32,
    /// The name of the node that ran it.
    pub node: String,
    /// Its incarnation.
    pub incarnation: NodeId,
    /// What was read of each chunk.
    pub chunks: Vec<ChunkRead>,
    /// Its result.
    pub segments: Vec<Segment>,
    /// The items that it skipped: they are not in the result.
    pub skips: Vec<SkippedItem>,
}

/// A chunk that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAsideRecord {
    /// The chunk.
    pub receipt: ReceiptId,
    /// Why.
    pub kind: FailureKind,
    /// The position of the offending item, where known.
    pub item: Option<u64>,
    /// What happened.
    pub message: String,
    /// The node's name; the master's own where no worker is concerned.
    pub node: String,
    /// The worker's incarnation.
    pub incarnation: Option<NodeId>,
    /// How often it had failed.
    pub failures: u32,
}

/// All that was done in an exchange counts from here on: the records of done tasks and partitions of this generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangedRecord {
    /// The step.
    pub step: StepId,
    /// The life of the master that began the exchange.
    pub epoch: u64,
    /// Its number within that life.
    pub generation: u32,
}

/// A step that has ended, its audit closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedRecord {
    /// The step.
    pub step: StepId,
}

/// A record of the journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The master began a life.
    Cluster(ClusterRecord),
    /// The queue changed: a step was submitted, or changed its state.
    Queue(QueueRecord),
    /// What was decided for a step at its start.
    Plan(PlanRecord),
    /// Chunks were conceived.
    Conceived(ConceivedRecord),
    /// A task counts.
    Done(DoneRecord),
    /// A chunk was set aside.
    SetAside(SetAsideRecord),
    /// A step was closed.
    Closed(ClosedRecord),
    /// What a step's source was at submission.
    Source(SourceRecord),
    /// An exchange counts.
    Exchanged(ExchangedRecord),
}

/// Why bytes are not a journal record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Too short to have a header.
    #[error("a journal record of {0} bytes has no header")]
    Short(usize),
    /// Written by another version.
    #[error(
        "the journal has format {found}, this build reads format {FORMAT}; start the build that wrote it, or name another store"
    )]
    Format {
        /// What was found.
        found: u8,
    },
    /// Written by a newer version.
    #[error("the journal has a record of kind {0}, which this build does not know; start the build that wrote it")]
    Kind(u8),
    /// The body does not decode.
    #[error("a journal record of kind {kind} does not decode")]
    Body {
        /// The record's kind.
        kind: u8,
        /// Why.
        source: elastic_flow_wire::CodecError,
    },
}

impl Record {
    const fn kind(&self) -> u8 {
        match self {
            Self::Cluster(_) => 1,
            Self::Queue(_) => 2,
            Self::Plan(_) => 3,
            Self::Conceived(_) => 4,
            Self::Done(_) => 5,
            Self::SetAside(_) => 6,
            Self::Closed(_) => 7,
            Self::Source(_) => 8,
            Self::Exchanged(_) => 9,
        }
    }

    /// The record's bytes.
    ///
    /// # Errors
    /// A field is larger than the codec allows.
    pub fn encode(&self) -> Result<Vec<u8>, elastic_flow_wire::CodecError> {
        let mut bytes = vec![FORMAT, self.kind()];
        let body = match self {
            Self::Cluster(it) => elastic_flow_wire::encode_to_vec(it),
            Self::Queue(it) => elastic_flow_wire::encode_to_vec(it),
            Self::Plan(it) => elastic_flow_wire::encode_to_vec(it),
            Self::Conceived(it) => elastic_flow_wire::encode_to_vec(it),
            Self::Done(it) => elastic_flow_wire::encode_to_vec(it),
            Self::SetAside(it) => elastic_flow_wire::encode_to_vec(it),
            Self::Closed(it) => elastic_flow_wire::encode_to_vec(it),
            Self::Source(it) => elastic_flow_wire::encode_to_vec(it),
            Self::Exchanged(it) => elastic_flow_wire::encode_to_vec(it),
        }?;
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The bytes are not one record that this build knows, whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let [format, kind, body @ ..] = bytes else { return Err(RecordError::Short(bytes.len())) };
        if *format != FORMAT {
            return Err(RecordError::Format { found: *format });
        }
        Ok(match kind {
            1 => Self::Cluster(decode_body(*kind, body)?),
            2 => Self::Queue(decode_body(*kind, body)?),
            3 => Self::Plan(decode_body(*kind, body)?),
            4 => Self::Conceived(decode_body(*kind, body)?),
            5 => Self::Done(decode_body(*kind, body)?),
            6 => Self::SetAside(decode_body(*kind, body)?),
            7 => Self::Closed(decode_body(*kind, body)?),
            8 => Self::Source(decode_body(*kind, body)?),
            9 => Self::Exchanged(decode_body(*kind, body)?),
            other => return Err(RecordError::Kind(*other)),
        })
    }
}

fn decode_body<T: DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, RecordError> {
    elastic_flow_wire::decode(body).map_err(|source| RecordError::Body { kind, source })
}

#[cfg(test)]
mod tests {
    use elastic_flow_dataflow::seam::Cover;
    use elastic_flow_queue::{Caller, CallerRole, StepErrorKind, StepEvent, StepSpec};
    use elastic_flow_wire::message::{ItemKind, KeptItem, Payload, PayloadKind, ReadFrom};

    use super::*;

    fn receipt() -> ReceiptId {
        ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence: 2, check: 3 }
    }

    /// One of each kind, with the bytes that stores hold: a change here is a change of format, and needs a new one.
    fn samples() -> Vec<(&'static str, Record)> {
        let cut = Cut {
            input: 0,
            covers: vec![Cover { part: 0, offset: 1, length: 2 }],
            entries: Some(5),
            bytes: 2,
            payload: Payload { kind: PayloadKind::Split, body: Bytes::from_static(b"ab") },
            repeatable: true,
        };
        let read = ChunkRead { receipt: receipt(), entries: 5, bytes: 2, nanos: 9, from: ReadFrom::Place };
        let segment = Segment { receipt: receipt(), rows: 1, digest: 7, body: Bytes::from_static(b"z") };
        let kept = KeptItem { kind: ItemKind::Text, length: 8, body: Bytes::from_static(b"no") };
        let skip = SkippedItem { receipt: receipt(), item: 3, error: "e".to_owned(), kept: Some(kept) };
        let part =
            SourcePart { input: 0, name: "f".to_owned(), length: Some(3), unit_bytes: 1, server: None, missing: false };
        let mut samples = vec![("cluster", Record::Cluster(ClusterRecord { incarnation: 1, epoch: 2 }))];
        samples.extend(queue_samples());
        samples.extend([
            ("plan", Record::Plan(PlanRecord { step: StepId(1), plan: 8, parts: vec![part], build: 6 })),
            (
                "conceived",
                Record::Conceived(ConceivedRecord {
                    step: StepId(1),
                    at: 4,
                    chunks: vec![ConceivedChunk { receipt: receipt(), parent: None, cut, digest: 7 }],
                    exhausted: true,
                }),
            ),
            (
                "done",
                Record::Done(DoneRecord {
                    step: StepId(1),
                    attempt: Attempt { epoch: 2, number: 3 },
                    stage: StageId(0),
                    generation: 0,
                    node: "w".to_owned(),
                    incarnation: NodeId(6),
                    chunks: vec![read],
                    segments: vec![segment],
                    skips: vec![skip],
                }),
            ),
            (
                "set aside",
                Record::SetAside(SetAsideRecord {
                    receipt: receipt(),
                    kind: FailureKind::User,
                    item: Some(4),
                    message: "m".to_owned(),
                    node: "w".to_owned(),
                    incarnation: Some(NodeId(6)),
                    failures: 4,
                }),
            ),
            ("closed", Record::Closed(ClosedRecord { step: StepId(1) })),
            ("source", Record::Source(SourceRecord { step: StepId(1), resolved: Bytes::from_static(b"s") })),
            ("exchanged", Record::Exchanged(ExchangedRecord { step: StepId(1), epoch: 2, generation: 3 })),
        ]);
        samples
    }

    fn queue_samples() -> [(&'static str, Record); 4] {
        let by = || Caller::remote(CallerRole::Submit, "::1");
        let submitted =
            QueueRecord::Submitted { id: StepId(1), spec: StepSpec::new("p"), wall: 4, by: Caller::local() };
        let event = StepEvent::RequestCancel;
        let cancel = QueueRecord::Transition { id: StepId(1), event, wall: 5, reason: None, by: Some(by()) };
        let drain = QueueRecord::Drained { node: Some(NodeId(6)), name: "w".to_owned(), wall: 5, by: by() };
        let failed = QueueRecord::Failed { id: StepId(1), kind: StepErrorKind::Bug, wall: 4, reason: "r".to_owned() };
        [
            ("queue", Record::Queue(submitted)),
            ("queue, a cancel", Record::Queue(cancel)),
            ("queue, a drain", Record::Queue(drain)),
            ("queue, failed", Record::Queue(failed)),
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|it| format!("{it:02x}")).collect()
    }

    #[test]
    fn every_kind_of_record_keeps_its_bytes() {
        let lines = samples().into_iter().map(|(name, record)| format!("{name}: {}\n", hex(&record.encode().unwrap())));
        let found: String = lines.collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/journal.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn every_record_reads_as_it_was_written_and_no_part_of_it_does() {
        for (_, record) in samples() {
            let bytes = record.encode().unwrap();
            assert_eq!(Record::decode(&bytes).unwrap(), record);
            for end in 0..bytes.len() {
                assert!(Record::decode(&bytes[..end]).is_err(), "{record:?} cut at {end}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(Record::decode(&longer).is_err(), "{record:?} with a byte too many");
        }
    }

    #[test]
    fn another_format_and_an_unknown_kind_are_refused_by_name() {
        assert!(matches!(Record::decode(&[FORMAT + 1, 1]), Err(RecordError::Format { found }) if found == FORMAT + 1));
        assert!(matches!(Record::decode(&[FORMAT, 99]), Err(RecordError::Kind(99))));
        assert!(matches!(Record::decode(&[FORMAT]), Err(RecordError::Short(1))));
    }
}
