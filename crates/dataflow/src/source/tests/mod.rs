//! What sources promise, over real files.

mod cutting;
mod files;
mod lines;
mod windows;

use std::path::Path;

use elastic_flow_receipt::{ReceiptId, StageId, StepId};
use elastic_flow_wire::message::{Payload, TaskChunk};

use super::*;
use crate::seam::{Cut, Cutter};

/// The lines of `bytes`, by the rule in one sentence.
fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    // What follows the last newline is a line only if there is something.
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

fn chunk(payload: &Payload) -> TaskChunk {
    let receipt = ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence: 0, check: 0 };
    TaskChunk { receipt, input: 0, payload: payload.clone() }
}

fn open_blocks(payload: &Payload) -> Result<Box<dyn Blocks>, OpenFailure> {
    match open(&chunk(payload))? {
        Feed::Lines(blocks) => Ok(blocks),
        other @ (Feed::Items { .. } | Feed::Range(_) | Feed::Gathered(_)) => panic!("not lines: {other:?}"),
    }
}

/// All the lines of a chunk, and the bytes that it accounts for.
fn read(payload: &Payload) -> (Vec<Vec<u8>>, u64) {
    let mut blocks = open_blocks(payload).expect("the chunk opens");
    let mut lines = Vec::new();
    while let Some(block) = blocks.next_block().expect("the chunk reads") {
        assert!(!block.is_empty());
        lines.extend(lines_of(&block));
    }
    assert_eq!(blocks.next_block().expect("the end repeats"), None);
    (lines, blocks.bytes_read())
}

/// The first error of reading an opened chunk.
fn read_error(blocks: &mut dyn Blocks) -> SourceError {
    loop {
        match blocks.next_block() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the chunk reads without an error"),
            Err(error) => return error,
        }
    }
}

fn cut_all(cutter: &mut dyn Cutter, target_bytes: u64, target_items: u64) -> Vec<Cut> {
    std::iter::from_fn(|| cutter.cut(target_bytes, target_items).expect("the source cuts")).collect()
}

fn resolve(paths: &[&Path]) -> ResolvedSource {
    let paths = paths.iter().map(|path| path.to_str().expect("a UTF-8 path").to_owned()).collect();
    ResolvedSource::resolve([&SourceSpec::Lines { paths }]).expect("the files are there")
}

/// No iterator and an empty standard input.
struct NoSuppliers;

impl Suppliers for NoSuppliers {
    fn standard_input(&mut self) -> Box<dyn std::io::Read + Send> {
        Box::new(std::io::empty())
    }

    fn registered(&mut self, _name: &str) -> Option<Box<dyn ItemBatches>> {
        None
    }

    fn one_shot(&mut self, _input: u16) -> Option<Box<dyn ItemBatches>> {
        None
    }
}

fn cutter(source: &ResolvedSource) -> SourceCutter {
    SourceCutter::new(source, &mut NoSuppliers).expect("only files and ranges")
}

/// Sums the covers a part, after making sure that they follow each other without gap or overlap.
fn coverage(cuts: &[Cut], parts: usize) -> Vec<u64> {
    let mut covered = vec![0; parts];
    let mut last = (0, 0);
    for cover in cuts.iter().flat_map(|cut| &cut.covers) {
        assert!((cover.part, cover.offset) >= last, "out of order: {cover:?} after {last:?}");
        last = (cover.part, cover.offset);
        let part = &mut covered[cover.part as usize];
        assert_eq!(*part, cover.offset, "gap or overlap at {cover:?}");
        *part += cover.length;
    }
    covered
}
