//! How often the word count allocates: per distinct word and chunk, never per word.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use elastic_flow_dataflow::seam::{Cutter as _, Program as _, TaskContext};
use elastic_flow_dataflow::source::{ItemBatches, ResolvedSource, SourceCutter, SourceSpec, Suppliers};
use elastic_flow_dataflow::{Flow, IntoProgram, Params, Text, TypedProgram};
use elastic_flow_receipt::{Attempt, ReceiptId, StageId, StepId};
use elastic_flow_wire::message::{Payload, PayloadKind, TaskChunk};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

fn count() {
    // A thread that is ending counts no more.
    let _counted = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CHUNK_BYTES: usize = 2_500_000;
const CHUNKS: usize = 4;

/// Words, some of them long, of a generator without randomness; lines of about 60 bytes.
fn text() -> Vec<u8> {
    let mut text = Vec::with_capacity(CHUNK_BYTES * CHUNKS + 200);
    let mut state = 1_u64;
    while text.len() < CHUNK_BYTES * CHUNKS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = (state >> 40) % 30_000;
        let end = if word.is_multiple_of(10) { "\n" } else { " " };
        let tail = if word.is_multiple_of(97) { "-with-a-tail-that-makes-it-long" } else { "" };
        text.extend_from_slice(format!("Word{word}{tail}{end}").as_bytes());
    }
    text
}

fn receipt(index: usize) -> ReceiptId {
    let sequence = index as u64;
    ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence, check: 0 }
}

/// The text as chunks that end at line borders, shipped.
fn chunks(text: &[u8]) -> Vec<TaskChunk> {
    let mut chunks = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let least = CHUNK_BYTES.min(rest.len());
        let end = rest[least..].iter().position(|&byte| byte == b'\n').map_or(rest.len(), |border| least + border + 1);
        let (lines, after) = rest.split_at(end);
        let mut body = (lines.len() as u64).to_le_bytes().to_vec();
        body.extend_from_slice(lines);
        let receipt = receipt(chunks.len());
        chunks.push(TaskChunk { receipt, input: 0, payload: Payload { kind: PayloadKind::Bytes, body: body.into() } });
        rest = after;
    }
    chunks
}

fn check<M, F>(flow: F, chunks: &[TaskChunk])
where
    F: IntoProgram<M, Item = Text, Element = (Text, u64), Output = Vec<(Text, u64)>>,
{
    let prepared = TypedProgram::new("words", flow).unwrap().prepare(&Params::default()).unwrap();
    let context = TaskContext {
        stop: Arc::new(AtomicBool::new(false)),
        progress: Arc::new(AtomicU64::new(0)),
        attempt: Attempt { epoch: 1, number: 1 },
        max_skips: 0,
        partitions: 0,
    };
    let mut aggregator = (prepared.aggregator)();

    let before = ALLOCATIONS.get();
    for chunk in chunks {
        let output = prepared.stages[0].run(std::slice::from_ref(chunk), &context).unwrap();
        output.segments.iter().for_each(|segment| aggregator.merge(segment).unwrap());
    }
    let output = aggregator.finish().unwrap();
    let allocations = ALLOCATIONS.get() - before;

    let distinct = output.rows();
    let entries = *output.into_any().downcast::<Vec<(Text, u64)>>().unwrap();
    let words: u64 = entries.iter().map(|(_, count)| count).sum();
    assert!(distinct > 25_000 && words > 800_000, "{distinct} distinct of {words} words");
    let allowed = 2 * distinct + 1000 * chunks.len() as u64;
    assert!(allocations <= allowed, "{allocations} allocations, {allowed} allowed");
}

#[test]
fn counting_words_allocates_by_distinct_words_and_chunks() {
    check(|lines: Flow<Text>| lines.words().to_ascii_lowercase().counts(), &chunks(&text()));
}

#[test]
fn counting_words_with_closures_allocates_by_distinct_words_and_chunks() {
    check(
        |lines: Flow<Text>| lines.flat_map(Text::into_words).map(Text::to_ascii_lowercase).counts(),
        &chunks(&text()),
    );
}

#[test]
fn counting_the_words_of_a_file_allocates_by_distinct_words_and_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.txt");
    fs::write(&path, text()).unwrap();
    let source = SourceSpec::Lines { paths: vec![path.to_str().unwrap().to_owned()] };
    let mut cutter = SourceCutter::new(&ResolvedSource::resolve([&source]).unwrap(), &mut NoSuppliers).unwrap();
    let mut chunks = Vec::new();
    while let Some(cut) = cutter.cut(CHUNK_BYTES as u64, u64::MAX).unwrap() {
        chunks.push(TaskChunk { receipt: receipt(chunks.len()), input: cut.input, payload: cut.payload });
    }
    check(|lines: Flow<Text>| lines.words().to_ascii_lowercase().counts(), &chunks);
}

/// The source is files alone.
struct NoSuppliers;

impl Suppliers for NoSuppliers {
    fn registered(&mut self, _: &str) -> Option<Box<dyn ItemBatches>> {
        None
    }

    fn one_shot(&mut self, _: u16) -> Option<Box<dyn ItemBatches>> {
        None
    }
}
