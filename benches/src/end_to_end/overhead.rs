//! What accounting costs: receipts, ledger and checksums by themselves, for as many chunks and bytes as a run had.
//!
//! A run's own profile cannot tell them apart from what they are woven into, so each is done again alone, on one thread:
//!
//! - receipts and ledger: every chunk is conceived, passes all six stations of a straight life and is read; then the audit;
//! - digests: of every segment, once as the worker makes it and once as the master verifies it;
//! - frame checksums: of every segment, once as it is sent and once as it is received.
//!
//! Tasks have several chunks and one segment; here every chunk has one, which errs on the side of too much.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, ensure};
use elastic_flow::clock::{Clock, SystemClock};
use elastic_flow::dataflow::Params;
use elastic_flow::dataflow::seam::{Cutter, Program, TaskContext};
use elastic_flow::dataflow::source::{ItemBatches, ResolvedSource, SourceCutter, SourceSpec, Suppliers};
use elastic_flow::receipt::{
    Attempt, ConceivedChunk, Cover, InputPart, Ledger, NodeId, ReceiptId, StageId, Station, StepId, audit,
};
use elastic_flow::wire::digest;
use elastic_flow::wire::message::TaskChunk;

use crate::programs;

/// How often each piece is done; the mean counts.
const REPEATS: u32 = 5;
const STEP: StepId = StepId(1);
const STAGE: StageId = StageId(0);
/// The stations of a chunk whose first attempt goes well.
const STRAIGHT: [Station; 6] = [
    Station::Distributed,
    Station::Sent,
    Station::Received,
    Station::Processed,
    Station::Returned,
    Station::Aggregated,
];

/// The chunks that the audit line of a run names.
pub(super) fn chunks_of(output: &str) -> anyhow::Result<u64> {
    let line = output.lines().find_map(|line| line.strip_prefix("audit: ")).context("the run printed no audit")?;
    ensure!(line.ends_with(": balanced"), "the audit is not balanced: {line}");
    let number = line.split(' ').next().unwrap_or_default().replace(',', "");
    number.parse().with_context(|| format!("the audit begins with no number: {line}"))
}

/// CPU seconds of each piece.
pub(super) struct Pieces {
    ledger: f64,
    digests: f64,
    checksums: f64,
}

impl fmt::Display for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ledger, digests, checksums } = self;
        write!(f, "receipts and ledger {ledger:.6} s, digests {digests:.6} s, frame checksums {checksums:.6} s")
    }
}

impl Pieces {
    /// Does each piece for `chunks` chunks of a text of `bytes` bytes.
    pub(super) fn measure(text: &str, bytes: u64, chunks: u64) -> anyhow::Result<Self> {
        let chunk_bytes = bytes.div_ceil(chunks.max(1));
        let segment = segment_of(text, chunk_bytes)?;
        Ok(Self {
            ledger: seconds(|| account(chunks, chunk_bytes))?,
            digests: seconds(|| {
                for _ in 0..2 * chunks {
                    black_box(digest(black_box(&segment)));
                }
                Ok(())
            })?,
            checksums: seconds(|| {
                for _ in 0..2 * chunks {
                    black_box(crc32fast::hash(black_box(&segment)));
                }
                Ok(())
            })?,
        })
    }

    pub(super) const fn cpu_seconds(&self) -> f64 {
        self.ledger + self.digests + self.checksums
    }
}

/// The mean seconds of `piece`, which waits for nothing, so that they are CPU time.
fn seconds(piece: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let clock = SystemClock::new();
    let start = clock.now();
    for _ in 0..REPEATS {
        piece()?;
    }
    Ok(clock.now().since(start).as_secs_f64() / f64::from(REPEATS))
}

/// The life of every chunk of a step in its ledger, and the audit.
fn account(chunks: u64, chunk_bytes: u64) -> anyhow::Result<()> {
    let mut ledger = Ledger::new(STEP);
    let node = Some(NodeId(1));
    for sequence in 0..chunks {
        let id = ReceiptId::conceive(STEP, STAGE, 0, 0, sequence, sequence, chunk_bytes);
        let cover = Cover { part: 0, offset: sequence * chunk_bytes, length: chunk_bytes };
        ledger.conceive(ConceivedChunk {
            id,
            input: 0,
            entries: None,
            bytes: chunk_bytes,
            conceived_at: sequence,
            digest: Some(digest(&sequence.to_le_bytes())),
            parents: Vec::new(),
            generation: 0,
            covers: vec![cover],
        })?;
        for station in STRAIGHT {
            ledger.mark(&id, station, node, sequence)?;
        }
        ledger.read(&id, 1, chunk_bytes)?;
    }
    let part = InputPart { input: 0, name: "text".to_owned(), length: Some(chunks * chunk_bytes) };
    ensure!(black_box(audit(&ledger, &[part], None)).balanced(), "the account of a straight step does not balance");
    Ok(())
}

struct Nothing;

impl Suppliers for Nothing {
    fn registered(&mut self, _: &str) -> Option<Box<dyn ItemBatches>> {
        None
    }

    fn one_shot(&mut self, _: u16) -> Option<Box<dyn ItemBatches>> {
        None
    }
}

/// What the word count gives for one chunk of the text.
fn segment_of(text: &str, chunk_bytes: u64) -> anyhow::Result<Vec<u8>> {
    let prepared = programs::word_count()?.prepare(&Params::default())?;
    let stage = prepared.stages.first().context("the word count has no stage")?;
    let source = ResolvedSource::resolve([&SourceSpec::Lines { paths: vec![text.to_owned()] }])?;
    let cut = SourceCutter::new(&source, &mut Nothing)?.cut(chunk_bytes, 1)?.context("the text has no chunk")?;
    let receipt = ReceiptId::conceive(STEP, STAGE, 0, 0, 0, 0, cut.bytes);
    let chunk = TaskChunk { receipt, input: 0, payload: cut.payload };
    let context = TaskContext {
        stop: Arc::default(),
        progress: Arc::default(),
        attempt: Attempt { epoch: 1, number: 1 },
        max_skips: 0,
        partitions: 0,
    };
    let output =
        stage.run(&[chunk], &context).map_err(|failure| anyhow::anyhow!("the word count failed: {failure:?}"))?;
    Ok(output.segments.first().context("the word count gave nothing")?.body.to_vec())
}
