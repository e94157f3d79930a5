//! [`Input`]: the beginning of a stage, which reads a chunk whatever it is made of.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_wire::BatchReader;
use elastic_flow_wire::message::{FailureKind, ItemKind};
use memchr::{memchr, memchr_iter};
use serde::Deserialize;

use crate::built::{self, Built};
use crate::chain::{Chain, Data, Outline, cast, is_text, sealed};
use crate::error::ProgramError;
use crate::gather::Upstream;
use crate::run::ChunkRun;
use crate::source::{Blocks, Feed};
use crate::text::{ByteKey, Span, Text, fold_spans};

/// Numbers of a range, and encoded items, between two looks at the stop flag.
const ITEMS_PER_TICK: u64 = 4096;
/// Bytes of the length before an encoded text.
const LENGTH_BYTES: usize = 8;

/// The items that enter a stage: of a source, or of the global reduction before it.
pub struct Input<T> {
    /// The only input that it takes; all of them where none is named.
    only: Option<u16>,
    /// The flow that it comes behind, which a global reduction has ended.
    behind: Option<Result<Built<T, Vec<T>>, ProgramError>>,
    item: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Input<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("only", &self.only).field("behind", &self.behind).finish()
    }
}

impl<T> Input<T> {
    pub(crate) const fn source(only: Option<u16>) -> Self {
        Self { only, behind: None, item: PhantomData }
    }

    pub(crate) const fn behind(built: Result<Built<T, Vec<T>>, ProgramError>) -> Self {
        Self { only: None, behind: Some(built), item: PhantomData }
    }
}

impl<T> sealed::Sealed for Input<T> {}

impl<T: Data> Chain for Input<T> {
    type Item = T;
    type Output = Vec<T>;

    #[inline]
    fn fold<A, F>(&self, run: &ChunkRun<'_>, acc: A, mut f: F) -> A
    where
        F: FnMut(A, T) -> A,
    {
        let Some(feed) = run.take_feed() else { return acc };
        match feed {
            Feed::Lines(blocks) if is_text::<T>() => {
                each_line(run, blocks, acc, |acc, block, start, end| match cast(Text::slice_of(block, start..end)) {
                    Some(item) => f(acc, item),
                    None => acc,
                })
            }
            Feed::Items { body } => {
                let text = is_text::<T>() || TypeId::of::<T>() == TypeId::of::<String>();
                each_encoded(run, &body, if text { ItemKind::Text } else { ItemKind::Encoded }, acc, f)
            }
            Feed::Range(range) if TypeId::of::<T>() == TypeId::of::<u64>() => {
                run.set_bytes(Feed::Range(range.clone()).bytes_read());
                each_number(run, range.start, range.end, acc, |acc, number| match cast(number) {
                    Some(item) => f(acc, item),
                    None => acc,
                })
            }
            Feed::Gathered(items) => each_gathered(run, items, acc, f),
            Feed::Lines(_) => refuse::<T, A>(run, "lines of text, which `Text` stands for", acc),
            Feed::Range(_) => refuse::<T, A>(run, "a range of `u64`", acc),
        }
    }

    #[inline]
    fn fold_bytes<A, F>(&self, run: &ChunkRun<'_>, acc: A, mut f: F) -> A
    where
        F: FnMut(A, Span<'_>) -> A,
    {
        let Some(feed) = run.take_feed() else { return acc };
        match feed {
            Feed::Lines(blocks) => each_line(run, blocks, acc, |acc, block, start, end| {
                f(acc, Span::new(block.get(start..).unwrap_or_default(), end - start))
            }),
            Feed::Items { body } => {
                each_encoded(run, &body, ItemKind::Text, acc, |acc, ByteKey(bytes)| f(acc, Span::whole(bytes)))
            }
            Feed::Gathered(items) => each_gathered(run, items, acc, |acc, text: Text| f(acc, Span::whole(&text))),
            Feed::Range(_) => refuse::<T, A>(run, "a range of `u64`", acc),
        }
    }

    /// Line borders are white space themselves, so that the words of a block are those of its lines.
    #[inline]
    fn fold_words<A, F>(&self, run: &ChunkRun<'_>, acc: A, mut f: F) -> A
    where
        F: FnMut(A, Span<'_>) -> A,
    {
        let Some(feed) = run.take_feed() else { return acc };
        match feed {
            Feed::Lines(blocks) => each_block(run, blocks, acc, |acc, block| {
                let acc = fold_spans(block, acc, &mut f);
                let borders = memchr_iter(b'\n', block).count() as u64;
                let lines = borders + u64::from(block.last() != Some(&b'\n'));
                run.set_position(run.position() + lines);
                acc
            }),
            Feed::Items { body } => {
                each_encoded(run, &body, ItemKind::Text, acc, |acc, ByteKey(bytes)| fold_spans(bytes, acc, &mut f))
            }
            Feed::Gathered(items) => each_gathered(run, items, acc, |acc, text: Text| fold_spans(&text, acc, &mut f)),
            Feed::Range(_) => refuse::<T, A>(run, "a range of `u64`", acc),
        }
    }

    fn takes(&self, input: u16) -> bool {
        match &self.behind {
            Some(built) => built.as_ref().is_ok_and(|built| built.layout.on_workers.takes(input)),
            None => self.only.is_none_or(|only| only == input),
        }
    }

    fn outline(&self) -> Outline {
        let upstream = self.behind.as_ref().map(|built| match built {
            Ok(built) => Ok(Arc::new(Upstream::of(built))),
            Err(error) => Err(error.clone()),
        });
        Outline { item: type_name::<T>(), operators: Vec::new(), partitioned_by: None, upstream }
    }

    fn build(self) -> Result<Built<T, Vec<T>>, ProgramError> {
        match self.behind {
            Some(built) => built,
            None => built::rows(self),
        }
    }
}

/// Folds the items that a global reduction has given.
#[inline]
pub(crate) fn each_gathered<A, T: 'static>(
    run: &ChunkRun<'_>,
    items: Box<dyn Any + Send>,
    acc: A,
    mut f: impl FnMut(A, T) -> A,
) -> A {
    let Ok(items) = items.downcast::<Vec<T>>() else { return refuse::<T, A>(run, "those of another stage", acc) };
    let mut acc = acc;
    for item in *items {
        acc = f(acc, item);
        if run.is_halted() {
            return acc;
        }
        run.set_position(run.position() + 1);
    }
    acc
}

#[cold]
fn refuse<T, A>(run: &ChunkRun<'_>, found: &str, acc: A) -> A {
    let wanted = type_name::<T>();
    run.fail(FailureKind::Program, format!("the program takes items of {wanted}, and its input gives {found}"));
    acc
}

/// Folds the blocks of a chunk; `f` moves the position by the lines that it has seen.
#[inline]
fn each_block<A>(run: &ChunkRun<'_>, mut blocks: Box<dyn Blocks>, acc: A, mut f: impl FnMut(A, &Bytes) -> A) -> A {
    let mut acc = acc;
    loop {
        let before = run.position();
        match blocks.next_block() {
            Ok(Some(block)) => acc = f(acc, &block),
            Ok(None) => break,
            Err(error) => {
                run.fail_source(&error);
                break;
            }
        }
        run.tick(run.position() - before);
        if run.is_halted() {
            break;
        }
    }
    run.set_bytes(blocks.bytes_read());
    acc
}

/// Folds the lines of a chunk, each as its place in its block.
#[inline]
fn each_line<A>(
    run: &ChunkRun<'_>,
    blocks: Box<dyn Blocks>,
    acc: A,
    mut f: impl FnMut(A, &Bytes, usize, usize) -> A,
) -> A {
    each_block(run, blocks, acc, |acc, block| {
        let mut acc = acc;
        let mut line = run.position();
        let mut start = 0;
        while let Some(rest) = block.get(start..).filter(|rest| !rest.is_empty()) {
            let length = memchr(b'\n', rest).unwrap_or(rest.len());
            run.set_position(line);
            acc = f(acc, block, start, start + length);
            if run.is_halted_after(ItemKind::Text, || block.get(start..start + length).unwrap_or_default()) {
                return acc;
            }
            line += 1;
            start += length + 1;
        }
        run.set_position(line);
        acc
    })
}

/// Folds encoded items, one at a time.
#[inline]
fn each_encoded<'de, A, T: Deserialize<'de>>(
    run: &ChunkRun<'_>,
    body: &'de Bytes,
    kind: ItemKind,
    acc: A,
    mut f: impl FnMut(A, T) -> A,
) -> A {
    let mut acc = acc;
    let mut position = 0;
    let mut reader = match BatchReader::unannounced(body) {
        Ok(reader) => reader,
        Err(error) => {
            run.fail(FailureKind::Decode, error.to_string());
            return acc;
        }
    };
    while !run.is_halted() {
        run.set_position(position);
        let before = reader.rest();
        match reader.next_item() {
            Ok(Some(item)) => {
                acc = f(acc, item);
                run.is_halted_after(kind, || item_bytes(kind, before, reader.rest()));
            }
            Ok(None) => break,
            Err(error) => {
                run.fail_item(FailureKind::Decode, error.to_string());
                return acc;
            }
        }
        position += 1;
        if position % ITEMS_PER_TICK == 0 {
            run.tick(ITEMS_PER_TICK);
        }
    }
    run.tick(position % ITEMS_PER_TICK);
    run.set_bytes(body.len() as u64);
    acc
}

/// The bytes of the item between two places of a batch; a text's without its length in front.
fn item_bytes<'a>(kind: ItemKind, before: &'a [u8], after: &[u8]) -> &'a [u8] {
    let item = before.get(..before.len().saturating_sub(after.len())).unwrap_or_default();
    match kind {
        ItemKind::Text => item.get(LENGTH_BYTES..).unwrap_or_default(),
        ItemKind::Encoded => item,
    }
}

/// Folds consecutive numbers.
#[inline]
fn each_number<A>(run: &ChunkRun<'_>, start: u64, end: u64, acc: A, mut f: impl FnMut(A, u64) -> A) -> A {
    let mut acc = acc;
    let mut at = start;
    while at < end && !run.is_halted() {
        let next = end.min(at.saturating_add(ITEMS_PER_TICK));
        for number in at..next {
            run.set_position(number - start);
            acc = f(acc, number);
        }
        if run.is_halted() {
            return acc;
        }
        run.set_position(next - start);
        run.tick(next - at);
        at = next;
    }
    acc
}
