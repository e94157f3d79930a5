//! Every operator against its iterator, over any cutting of the items into chunks.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use elastic_flow_receipt::{Attempt, ReceiptId, StageId, StepId};
use elastic_flow_wire::SeqEncoder;
use elastic_flow_wire::message::{FailureKind, Payload, PayloadKind, TaskChunk};
use proptest::prelude::*;

use crate::chain::Data;
use crate::flow_error::Verdict;
use crate::params::Params;
use crate::program::{IntoProgram, TypedProgram};
use crate::seam::{Program as _, TaskContext, TaskFailure};
use crate::{Flow, FlowError, FlowResult, Text};

fn chunk<T: Data>(sequence: u64, items: &[T]) -> TaskChunk {
    let mut encoder = SeqEncoder::new();
    items.iter().for_each(|item| encoder.push(item).unwrap());
    let payload = Payload { kind: PayloadKind::Items, body: encoder.finish().1 };
    let receipt = ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence, check: 0 };
    TaskChunk { receipt, input: 0, payload }
}

/// Runs a flow over chunks of `size` items, in tasks of two chunks.
fn run<M, F, T, U, O>(flow: F, items: &[T], size: usize) -> O
where
    F: IntoProgram<M, Item = T, Element = U, Output = O>,
    T: Data,
    U: Data,
    O: Send + Debug + 'static,
{
    let prepared = TypedProgram::new("test", flow).unwrap().prepare(&Params::default()).unwrap();
    let chunks: Vec<_> = (0..).zip(items.chunks(size)).map(|(sequence, items)| chunk(sequence, items)).collect();
    let context = TaskContext {
        stop: Arc::new(AtomicBool::new(false)),
        progress: Arc::new(AtomicU64::new(0)),
        attempt: Attempt { epoch: 1, number: 1 },
        max_skips: 0,
        partitions: 0,
    };
    let mut aggregator = (prepared.aggregator)();
    for task in chunks.chunks(2) {
        let output = prepared.stages[0].run(task, &context).unwrap();
        assert_eq!(output.chunks.len(), task.len());
        assert_eq!(output.segments.len(), if prepared.plan.stages[0].combines { 1 } else { task.len() });
        output.segments.iter().for_each(|segment| aggregator.merge(segment).unwrap());
    }
    assert_eq!(context.progress.load(Ordering::Relaxed), items.len() as u64);
    *aggregator.finish().unwrap().into_any().downcast::<O>().unwrap()
}

/// What the model does with an item: the digit before the last says what becomes of it.
fn judge(n: u64) -> FlowResult<u64> {
    match n / 10 {
        7 => Err(FlowError::skip(format!("{n} is skipped"))),
        8 if n == 88 => Err(FlowError::fail("it ends")),
        8 if n == 89 => Err(FlowError::retry("again")),
        _ => Ok(n),
    }
}

/// What a task gives: items, skips by chunk and position with their items, or how, where and why it failed.
type Ran = Result<(Vec<u64>, Vec<(u64, u64, Vec<u8>)>), (FailureKind, u64, u64, String)>;

/// A task over chunks of `size` items, an item at a time.
fn judge_all(items: &[u64], size: usize, max_skips: usize, bytes: impl Fn(u64) -> Vec<u8>) -> Ran {
    let (mut good, mut skips) = (Vec::new(), Vec::new());
    for (sequence, chunk) in (0..).zip(items.chunks(size)) {
        for (position, n) in (0..).zip(chunk) {
            match judge(*n).map_err(|error| (error.verdict(), error.message().to_owned())) {
                Ok(n) => good.push(n),
                Err((Verdict::Skip, _)) => skips.push((sequence, position, bytes(*n))),
                Err((Verdict::Fail, text)) => return Err((FailureKind::Fail, sequence, position, text)),
                Err((Verdict::Retry, text)) => return Err((FailureKind::User, sequence, position, text)),
            }
            if skips.len() > max_skips {
                let (sequence, position, _) = skips[0];
                let first = items[usize::try_from(sequence * size as u64 + position).unwrap()];
                return Err((FailureKind::Skips, sequence, position, format!("{first} is skipped")));
            }
        }
    }
    Ok((good, skips))
}

/// The same by the engine, of a flow of numbers.
fn run_task<M, F, T>(flow: F, items: &[T], size: usize, max_skips: usize) -> Ran
where
    F: IntoProgram<M, Item = T, Element = u64, Output = Vec<u64>>,
    T: Data,
{
    let prepared = TypedProgram::new("test", flow).unwrap().prepare(&Params::default()).unwrap();
    let chunks: Vec<_> = (0..).zip(items.chunks(size)).map(|(sequence, items)| chunk(sequence, items)).collect();
    let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let context = TaskContext {
        stop,
        progress,
        attempt: Attempt { epoch: 1, number: 1 },
        max_skips: max_skips as u64,
        partitions: 0,
    };
    let output = match prepared.stages[0].run(&chunks, &context) {
        Ok(output) => output,
        Err(TaskFailure::Failed { kind, receipt, item, message }) => {
            return Err((kind, receipt.unwrap().sequence, item.unwrap(), message));
        }
        Err(other) => panic!("{other:?}"),
    };
    let read: u64 = output.chunks.iter().map(|it| it.entries).sum();
    assert_eq!(read, items.len() as u64, "skipped items were read");
    let mut aggregator = (prepared.aggregator)();
    output.segments.iter().for_each(|segment| aggregator.merge(segment).unwrap());
    let good = *aggregator.finish().unwrap().into_any().downcast::<Vec<u64>>().unwrap();
    let skips = output.skips.into_iter().map(|it| {
        assert!(it.error.ends_with("is skipped"), "{}", it.error);
        (it.receipt.sequence, it.item, it.kept.unwrap().body.to_vec())
    });
    Ok((good, skips.collect()))
}

/// The same by an iterator, a key at a time, in the order of the encoded keys (of one byte).
fn by_key<V: Copy, R>(pairs: &[(u8, V)], f: impl Fn(Vec<V>) -> R) -> Vec<(u8, R)> {
    let mut groups: BTreeMap<u8, Vec<V>> = BTreeMap::new();
    pairs.iter().for_each(|&(key, value)| groups.entry(key).or_default().push(value));
    groups.into_iter().map(|(key, values)| (key, f(values))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn element_operators_do_as_iterators_do(n in proptest::collection::vec(0_u64..100, 0..60), size in 1_usize..20) {
        let it = || n.iter().copied();
        prop_assert_eq!(run(|f: Flow<u64>| f, &n, size), n.clone());
        prop_assert_eq!(run(|f: Flow<u64>| f.map(|n| n * 3), &n, size), it().map(|n| n * 3).collect::<Vec<_>>());
        prop_assert_eq!(run(|f: Flow<u64>| f.filter(|n| n % 3 == 0), &n, size), it().filter(|n| n % 3 == 0).collect::<Vec<_>>());
        prop_assert_eq!(run(|f: Flow<u64>| f.reject(|n| n % 3 == 0), &n, size), it().filter(|n| n % 3 != 0).collect::<Vec<_>>());
        prop_assert_eq!(run(|f: Flow<u64>| f.flat_map(|n| 0..n % 4), &n, size), it().flat_map(|n| 0..n % 4).collect::<Vec<_>>());
        prop_assert_eq!(
            run(|f: Flow<u64>| f.filter_map(|n| n.checked_sub(50)), &n, size),
            it().filter_map(|n| n.checked_sub(50)).collect::<Vec<_>>()
        );
        prop_assert_eq!(run(|f: Flow<u64>| f.inspect(|_| ()), &n, size), n.clone());
        prop_assert_eq!(run(|f: Flow<u64>| f.try_map(|n| Ok::<_, String>(n + 1)), &n, size), it().map(|n| n + 1).collect::<Vec<_>>());
        prop_assert_eq!(
            run(|f: Flow<u64>| f.try_flat_map(|n| Ok::<_, String>([n, n])), &n, size),
            it().flat_map(|n| [n, n]).collect::<Vec<_>>()
        );
        prop_assert_eq!(
            run(|f: Flow<u64>| f.try_filter(|n| Ok::<_, String>(n % 2 == 0)), &n, size),
            it().filter(|n| n % 2 == 0).collect::<Vec<_>>()
        );
    }

    #[test]
    fn errors_do_by_their_kind_what_an_item_at_a_time_would(
        n in proptest::collection::vec(0_u64..90, 0..60), size in 1_usize..20, max_skips in 0_usize..8
    ) {
        let encoded = judge_all(&n, size, max_skips, |n| n.to_le_bytes().to_vec());
        prop_assert_eq!(run_task(|f: Flow<u64>| f.try_map(judge), &n, size, max_skips), encoded.clone());
        prop_assert_eq!(
            run_task(|f: Flow<u64>| f.map(|n| n).try_filter(|n| judge(*n).map(|_| true)), &n, size, max_skips),
            encoded.clone()
        );
        prop_assert_eq!(run_task(|f: Flow<u64>| f.try_flat_map(|n| judge(n).map(|n| [n])), &n, size, max_skips), encoded);
        let texts: Vec<Text> = n.iter().map(|n| Text::from(n.to_string().as_str())).collect();
        let text = judge_all(&n, size, max_skips, |n| n.to_string().into_bytes());
        let number = |text: Text| judge(text.to_str_lossy().parse::<u64>()?);
        prop_assert_eq!(run_task(move |f: Flow<Text>| f.words().try_map(number), &texts, size, max_skips), text);
    }

    #[test]
    fn operators_over_a_chunk_do_as_iterators_over_its_slice_do(n in proptest::collection::vec(0_u64..100, 0..60), size in 1_usize..20) {
        let batches = n.chunks(size).flat_map(|chunk| chunk.chunks(3)).map(|batch| batch.iter().sum()).collect::<Vec<u64>>();
        prop_assert_eq!(run(|f: Flow<u64>| f.map_batch(3, |batch| [batch.iter().sum::<u64>()]), &n, size), batches);
        let hash = |acc: u64, n: u64| acc.wrapping_mul(31).wrapping_add(n);
        prop_assert_eq!(
            run(move |f: Flow<u64>| f.fold_chunk(|| 1_u64, hash), &n, size),
            n.chunks(size).map(|chunk| chunk.iter().copied().fold(1, hash)).collect::<Vec<_>>()
        );
        let greatest: Vec<u64> = n.chunks(size).filter_map(|chunk| chunk.iter().copied().max()).collect();
        prop_assert_eq!(run(|f: Flow<u64>| f.reduce_chunk(u64::max), &n, size), greatest);
    }

    #[test]
    fn single_values_do_as_iterators_do(n in proptest::collection::vec(0_u64..100, 0..60), size in 1_usize..20) {
        prop_assert_eq!(run(|f: Flow<u64>| f.count(), &n, size), n.len() as u64);
        prop_assert_eq!(run(|f: Flow<u64>| f.sum(), &n, size), n.iter().sum::<u64>());
        prop_assert_eq!(run(|f: Flow<u64>| f.reduce(u64::min), &n, size), n.iter().copied().min());
        prop_assert_eq!(run(|f: Flow<u64>| f.fold(|| 0, |a, n| a ^ n, |a, b| a ^ b), &n, size), n.iter().fold(0, |a, n| a ^ n));
    }

    #[test]
    fn keyed_operators_do_as_groups_do(pairs in proptest::collection::vec((0_u8..6, 0_u64..100), 0..60), size in 1_usize..20) {
        type Pairs = Flow<(u8, u64)>;
        prop_assert_eq!(run(|f: Pairs| f.map(|(key, _)| key).counts(), &pairs, size), by_key(&pairs, |v| v.len() as u64));
        prop_assert_eq!(run(|f: Pairs| f.count_by_key(), &pairs, size), by_key(&pairs, |v| v.len() as u64));
        prop_assert_eq!(run(|f: Pairs| f.sum_by_key(), &pairs, size), by_key(&pairs, |v| v.iter().sum::<u64>()));
        prop_assert_eq!(run(|f: Pairs| f.min_by_key(), &pairs, size), by_key(&pairs, |v| v.into_iter().min().unwrap()));
        prop_assert_eq!(run(|f: Pairs| f.max_by_key(), &pairs, size), by_key(&pairs, |v| v.into_iter().max().unwrap()));
        prop_assert_eq!(
            run(|f: Pairs| f.reduce_by_key(|a, b| a ^ b), &pairs, size),
            by_key(&pairs, |v| v.into_iter().reduce(|a, b| a ^ b).unwrap())
        );
        prop_assert_eq!(
            run(|f: Pairs| f.fold_by_key(|| (0_u64, 0_u64), |(n, sum), v| (n + 1, sum + v), |a, b| (a.0 + b.0, a.1 + b.1)), &pairs, size),
            by_key(&pairs, |v| (v.len() as u64, v.iter().sum()))
        );
        prop_assert_eq!(
            run(|f: Pairs| f.map_values(|v| v + 1), &pairs, size),
            pairs.iter().map(|&(key, v)| (key, v + 1)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn named_text_operators_do_as_closures_do(lines in proptest::collection::vec("[ a-cA-C\t\u{e9}]{0,40}", 0..20), size in 1_usize..20) {
        let texts: Vec<Text> = lines.iter().map(|line| Text::from(line.as_str())).collect();
        let words: Vec<Text> = texts.iter().cloned().flat_map(Text::into_words).collect();
        let lowered: Vec<Text> = words.iter().cloned().map(Text::to_ascii_lowercase).collect();
        prop_assert_eq!(run(|f: Flow<Text>| f.words(), &texts, size), words);
        prop_assert_eq!(run(|f: Flow<Text>| f.words().to_ascii_lowercase(), &texts, size), lowered.clone());
        prop_assert_eq!(run(|f: Flow<Text>| f.to_ascii_lowercase().words(), &texts, size), lowered.clone());
        let mut counts = BTreeMap::new();
        lowered.into_iter().for_each(|word| *counts.entry(word).or_insert(0_u64) += 1);
        let counts: Vec<(Text, u64)> = counts.into_iter().collect();
        prop_assert_eq!(run(|f: Flow<Text>| f.words().to_ascii_lowercase().counts(), &texts, size), counts.clone());
        prop_assert_eq!(run(|f: Flow<Text>| f.to_ascii_lowercase().words().words().counts(), &texts, size), counts.clone());
        prop_assert_eq!(
            run(|f: Flow<Text>| f.flat_map(Text::into_words).map(Text::to_ascii_lowercase).counts(), &texts, size),
            counts.clone()
        );
        prop_assert_eq!(
            run(|f: Flow<Text>| f.words().to_ascii_lowercase().map(|word| (word, 1_u64)).sum_by_key(), &texts, size),
            counts
        );
    }
}

#[test]
fn what_is_skipped_behind_a_whole_chunk_has_no_item_and_takes_none_of_the_next_chunk() {
    let flow = |numbers: Flow<u64>| {
        let sums = numbers.try_map(judge).fold_chunk(|| 0, |sum, n| sum + n);
        sums.try_map(|sum| Err::<u64, _>(FlowError::skip(format!("sum {sum}"))))
    };
    let prepared = TypedProgram::new("test", flow).unwrap().prepare(&Params::default()).unwrap();
    let (stop, progress) = (Arc::default(), Arc::default());
    let context = TaskContext { stop, progress, attempt: Attempt { epoch: 1, number: 1 }, max_skips: 9, partitions: 0 };
    let output = prepared.stages[0].run(&[chunk(0, &[1_u64, 70]), chunk(1, &[70_u64, 2])], &context).unwrap();
    let skips = output.skips.iter().map(|it| (it.receipt.sequence, it.item, it.error.as_str(), it.kept.is_some()));
    let wanted =
        [(0, 1, "70 is skipped", true), (0, 2, "sum 1", false), (1, 0, "70 is skipped", true), (1, 2, "sum 2", false)];
    assert_eq!(skips.collect::<Vec<_>>(), wanted);
}
