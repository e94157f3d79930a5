//! Global reductions against naive models: over any cutting into chunks, whatever the order in which results arrive, and with a
//! master that is started again half-way.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use elastic_flow_receipt::{Attempt, ReceiptId, StageId, StepId};
use elastic_flow_wire::SeqEncoder;
use elastic_flow_wire::message::{Payload, PayloadKind, Segment, TaskChunk};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::chain::{Data, Shareable};
use crate::error::ProgramError;
use crate::params::Params;
use crate::program::{Inputs, IntoProgram, TypedProgram};
use crate::seam::{Program as _, TaskContext};
use crate::{Flow, Text};

/// How a source is cut and worked on.
#[derive(Debug, Clone)]
struct How {
    /// Items a chunk.
    size: usize,
    /// Which chunk comes when: each is worked on, in tasks of two, in the order of these numbers.
    order: Vec<u16>,
    /// After how many tasks the master is started again.
    restart: usize,
    /// Partitions that an exchange has, where there is one.
    partitions: u32,
}

fn how() -> impl Strategy<Value = How> {
    (1_usize..8, vec(any::<u16>(), 64), 0_usize..8, 1_u32..5).prop_map(|(size, order, restart, partitions)| How {
        size,
        order,
        restart,
        partitions,
    })
}

fn context() -> TaskContext {
    let attempt = Attempt { epoch: 1, number: 1 };
    TaskContext { stop: Arc::default(), progress: Arc::default(), attempt, max_skips: 0, partitions: 0 }
}

fn chunks<T: Data>(input: u16, first: u64, size: usize, items: &[T]) -> Vec<TaskChunk> {
    let chunk = |(sequence, items): (u64, &[T])| {
        let mut encoder = SeqEncoder::new();
        items.iter().for_each(|item| encoder.push(item).unwrap());
        let payload = Payload { kind: PayloadKind::Items, body: encoder.finish().1 };
        let receipt = ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence, check: 0 };
        TaskChunk { receipt, input, payload }
    };
    (first..).zip(items.chunks(size)).map(chunk).collect()
}

fn run_chunks<M, F, U, O>(flow: F, chunks: Vec<TaskChunk>, how: &How) -> O
where
    F: IntoProgram<M, Element = U, Output = O>,
    U: Data,
    O: Send + Debug + 'static,
{
    let prepared = TypedProgram::<F::Item, U, O>::new("test", flow).unwrap().prepare(&Params::default()).unwrap();
    let mut ordered: Vec<_> = how.order.iter().cycle().zip(chunks).collect();
    ordered.sort_by_key(|(place, _)| **place);
    let chunks: Vec<_> = ordered.into_iter().map(|(_, chunk)| chunk).collect();
    let mut aggregator = (prepared.aggregator)();
    let exchanged = |to: bool| if to { how.partitions } else { 0 };
    // What each partition of each stage is given, until all is there.
    let mut given = BTreeMap::<(StageId, u32), Vec<Segment>>::new();
    for (index, task) in chunks.chunks(2).enumerate() {
        if index == how.restart {
            let saved = aggregator.save().unwrap();
            aggregator = (prepared.aggregator)();
            aggregator.restore(&saved).unwrap();
        }
        let context = TaskContext { partitions: exchanged(!prepared.partitioned.is_empty()), ..context() };
        let output = prepared.stages[0].run(task, &context).unwrap();
        for segment in output.segments {
            match segment.receipt.stage {
                StageId(0) => aggregator.merge(&segment).unwrap(),
                stage => given.entry((stage, segment.receipt.partition)).or_default().push(segment),
            }
        }
    }
    for stage in &prepared.partitioned {
        for partition in 0..how.partitions {
            let mut merged = stage.begin();
            let segments = given.remove(&(stage.id(), partition)).unwrap_or_default();
            if segments.is_empty() {
                continue;
            }
            segments.iter().for_each(|segment| merged.merge(segment).unwrap());
            let (step, stage_id, sequence) = (StepId(1), stage.id(), partition.into());
            let receipt = ReceiptId { step, stage: stage_id, round: 0, partition, sequence, check: 0 };
            let context = TaskContext { partitions: exchanged(stage.to().is_some()), ..context() };
            for segment in merged.finish(receipt, &context).unwrap().segments {
                assert_eq!(Some(segment.receipt.stage), stage.to().or(Some(stage_id)));
                match stage.to() {
                    None => aggregator.merge(&segment).unwrap(),
                    Some(to) => given.entry((to, segment.receipt.partition)).or_default().push(segment),
                }
            }
        }
    }
    assert!(given.is_empty(), "a stage was given something after its turn");
    *aggregator.finish().unwrap().into_any().downcast::<O>().unwrap()
}

/// Runs a flow over items.
fn run<M, F, T, U, O>(flow: F, items: &[T], how: &How) -> O
where
    F: IntoProgram<M, Item = T, Element = U, Output = O>,
    T: Data,
    U: Data,
    O: Send + Debug + 'static,
{
    run_chunks(flow, chunks(0, 0, how.size, items), how)
}

/// Runs a flow over two inputs.
fn run_two<F, U>(flow: F, left: &[(u8, u16)], right: &[(u8, u32)], how: &How) -> Vec<U>
where
    F: Fn(Flow<(u8, u16)>, Flow<(u8, u32)>) -> Flow<U> + Shareable,
    U: Data + Debug,
{
    let mut all = chunks(0, 0, how.size, left);
    all.extend(chunks(1, all.len() as u64, how.size, right));
    run_chunks(move |inputs: Inputs, (): ()| flow(inputs.items("left"), inputs.items("right")), all, how)
}

/// The values of each key, in source order.
fn groups<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, Vec<V>> {
    let mut groups = BTreeMap::<K, Vec<V>>::new();
    pairs.into_iter().for_each(|(key, value)| groups.entry(key).or_default().push(value));
    groups
}

/// As SQL has it: every pair of a key, or none beside what is alone.
#[expect(clippy::type_complexity, reason = "an alias would hide what it gives")]
fn full_join<V: Copy, W: Copy>(left: &[(u8, V)], right: &[(u8, W)]) -> Vec<(u8, (Option<V>, Option<W>))> {
    fn of<V: Copy>(pairs: &[(u8, V)], key: u8) -> Vec<Option<V>> {
        let values: Vec<_> = pairs.iter().filter(|pair| pair.0 == key).map(|pair| Some(pair.1)).collect();
        if values.is_empty() { vec![None] } else { values }
    }
    let mut joined = Vec::new();
    for key in 0..=u8::MAX {
        for left in of(left, key) {
            joined.extend(of(right, key).into_iter().map(|right| (key, (left, right))));
        }
    }
    joined.retain(|(_, (left, right))| left.is_some() || right.is_some());
    joined
}

proptest! {
    #[test]
    fn each_item_once(items in vec(0_u16..40, 0..60), how in how()) {
        let mut expected = items.clone();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(run(|n: Flow<u16>| n.count_distinct(), &items, &how), expected.len() as u64);
        prop_assert_eq!(run(|n: Flow<u16>| n.uniq().count(), &items, &how), expected.len() as u64);
        prop_assert_eq!(run(|n: Flow<u16>| n.uniq(), &items, &how), expected);
    }

    #[test]
    fn texts_once(items in vec("[ab]{0,2}", 0..30), how in how()) {
        let texts: Vec<Text> = items.iter().map(|it| Text::from(it.as_str())).collect();
        let mut expected = texts.clone();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(run(|texts: Flow<Text>| texts.uniq(), &texts, &how), expected);
    }

    #[test]
    fn the_first_of_each_key_is_that_of_the_source(items in vec(0_u16..400, 0..60), how in how()) {
        let first: BTreeMap<u16, u16> = items.iter().rev().map(|n| (n % 7, *n)).collect();
        let expected: Vec<u16> = first.into_values().collect();
        prop_assert_eq!(run(|n: Flow<u16>| n.uniq_by(|n| n % 7), &items, &how), expected);
    }

    #[test]
    fn groups_are_in_source_order(items in vec(0_u16..400, 0..60), how in how()) {
        let expected: Vec<_> = groups(items.iter().map(|n| (n % 7, *n))).into_iter().collect();
        prop_assert_eq!(&run(|n: Flow<u16>| n.group_by(|n| n % 7), &items, &how), &expected);
        prop_assert_eq!(run(|n: Flow<u16>| n.map(|n| (n % 7, n)).group_by_key(), &items, &how), expected);
    }

    #[test]
    fn a_sort_is_that_of_a_slice(items in vec(0_u16..400, 0..60), how in how()) {
        let mut expected = items.clone();
        expected.sort_by_key(|n| n % 7);
        prop_assert_eq!(&run(|n: Flow<u16>| n.sort_by_key(|n| n % 7), &items, &how), &expected);
        prop_assert_eq!(run(|n: Flow<u16>| n.sort_by(|a, b| (a % 7).cmp(&(b % 7))), &items, &how), expected);
        let mut expected = items.clone();
        expected.sort();
        prop_assert_eq!(run(|n: Flow<u16>| n.sort(), &items, &how), expected);
    }

    #[test]
    fn a_few_are_those_of_the_whole(items in vec(0_u16..400, 0..60), n in 0_usize..12, how in how()) {
        let first = |mut items: Vec<u16>| { items.truncate(n); items };
        let mut expected = items.clone();
        expected.sort_by_key(|item| Reverse(*item));
        prop_assert_eq!(run(move |items: Flow<u16>| items.top(n), &items, &how), first(expected));
        // Equal by the order, and to be told apart by their place alone.
        let mut expected = items.clone();
        expected.sort_by_key(|item| item % 7);
        let compare = |a: &u16, b: &u16| (a % 7).cmp(&(b % 7));
        prop_assert_eq!(run(move |items: Flow<u16>| items.take_sort(n, compare), &items, &how), first(expected));
        prop_assert_eq!(run(move |items: Flow<u16>| items.take(n), &items, &how), first(items.clone()));
        prop_assert_eq!(run(|items: Flow<u16>| items.first(), &items, &how), items.first().copied());
    }

    #[test]
    fn joins_are_those_of_sql(
        left in vec((0_u8..9, any::<u16>()), 0..20),
        right in vec((3_u8..12, any::<u32>()), 0..20),
        how in how(),
    ) {
        let full = full_join(&left, &right);
        let pairs = |keep: fn(&(Option<u16>, Option<u32>)) -> bool| full.iter().filter(move |(_, it)| keep(it)).copied();
        prop_assert_eq!(&run_two(|a, b| a.full_join(b), &left, &right, &how), &full);
        let inner: Vec<_> = full.iter().filter_map(|&(key, (a, b))| Some((key, (a?, b?)))).collect();
        prop_assert_eq!(&run_two(|a, b| a.join(b), &left, &right, &how), &inner);
        let lefts: Vec<_> = full.iter().filter_map(|&(key, (a, b))| Some((key, (a?, b)))).collect();
        prop_assert_eq!(run_two(|a, b| a.left_join(b), &left, &right, &how), lefts);
        let rights: Vec<_> = full.iter().filter_map(|&(key, (a, b))| Some((key, (a, b?)))).collect();
        prop_assert_eq!(run_two(|a, b| a.right_join(b), &left, &right, &how), rights);
        let anti: Vec<_> = pairs(|it| it.1.is_none()).filter_map(|(key, (a, _))| Some((key, a?))).collect();
        prop_assert_eq!(&run_two(|a, b| a.anti_join(b), &left, &right, &how), &anti);
        let mut sorted = left.clone();
        sorted.sort_by_key(|pair| pair.0);
        let semi: Vec<_> = sorted.into_iter().filter(|pair| !anti.iter().any(|alone| alone.0 == pair.0)).collect();
        prop_assert_eq!(run_two(|a, b| a.semi_join(b), &left, &right, &how), semi);
        let (lefts, mut rights) = (groups(left.clone()), groups(right.clone()));
        let mut both: BTreeMap<u8, (Vec<u16>, Vec<u32>)> =
            lefts.into_iter().map(|(key, values)| (key, (values, rights.remove(&key).unwrap_or_default()))).collect();
        both.extend(rights.into_iter().map(|(key, values)| (key, (Vec::new(), values))));
        prop_assert_eq!(run_two(|a, b| a.cogroup(b), &left, &right, &how), both.into_iter().collect::<Vec<_>>());
    }

    /// What has been merged meets on the master: with what is still read, and with what else has been merged.
    #[test]
    fn reduced_flows_meet_on_the_master(
        left in vec((0_u8..9, 0_u16..900), 0..20),
        right in vec((3_u8..12, any::<u32>()), 0..20),
        how in how(),
    ) {
        let sums: Vec<(u8, u16)> = groups(left.clone()).into_iter().map(|(key, all)| (key, all.iter().sum())).collect();
        let counts: Vec<(u8, u64)> = groups(right.clone()).into_iter().map(|(key, all)| (key, all.len() as u64)).collect();
        let full = full_join(&sums, &right);
        prop_assert_eq!(run_two(|a, b| a.sum_by_key().full_join(b), &left, &right, &how), full);
        let even: Vec<_> = right.iter().copied().filter(|(_, n)| n % 2 == 0).collect();
        let rights: Vec<_> = full_join(&sums, &even).into_iter().filter_map(|(key, (a, b))| Some((key, (a, b?)))).collect();
        let joined = run_two(|a, b| a.sum_by_key().right_join(b.filter(|(_, n)| n % 2 == 0)), &left, &right, &how);
        prop_assert_eq!(joined, rights);
        let swapped: Vec<_> = full_join(&left, &counts);
        let joined = run_two(|a, b| a.full_join(b.map(|(key, _)| key).counts()), &left, &right, &how);
        prop_assert_eq!(joined, swapped);
        let both: Vec<_> =
            full_join(&sums, &counts).into_iter().filter_map(|(key, (a, b))| Some((key, (a?, b?)))).collect();
        let joined = run_two(|a, b| a.sum_by_key().join(b.map(|(key, _)| key).counts()), &left, &right, &how);
        prop_assert_eq!(joined, both);
        let merged: Vec<(u8, u64)> = groups(sums.into_iter().map(|(key, sum)| (key, u64::from(sum))).chain(counts))
            .into_iter()
            .map(|(key, all)| (key, all.iter().sum()))
            .collect();
        let flow = |a: Flow<(u8, u16)>, b: Flow<(u8, u32)>| {
            let sums = a.sum_by_key().map(|(key, sum)| (key, u64::from(sum)));
            sums.merge(b.map(|(key, _)| key).counts()).sum_by_key().sort()
        };
        prop_assert_eq!(run_two(flow, &left, &right, &how), merged);
    }

    /// What is exchanged is what would have been gathered, whatever the number of partitions.
    #[test]
    fn an_exchange_changes_no_result(
        left in vec((0_u8..9, 0_u16..900), 0..40),
        right in vec((3_u8..12, any::<u32>()), 0..20),
        how in how(),
    ) {
        let sums: Vec<(u8, u16)> = groups(left.clone()).into_iter().map(|(key, all)| (key, all.iter().sum())).collect();
        let keys: Vec<u8> = sums.iter().map(|(key, _)| *key).collect();
        prop_assert_eq!(&run(|pairs: Flow<(u8, u16)>| pairs.partition().sum_by_key(), &left, &how), &sums);
        let grouped: Vec<_> = groups(left.clone()).into_iter().collect();
        prop_assert_eq!(run(|pairs: Flow<(u8, u16)>| pairs.partition().group_by_key(), &left, &how), grouped);
        prop_assert_eq!(run(|pairs: Flow<(u8, u16)>| pairs.map(|it| it.0).partition().uniq(), &left, &how), keys);
        let most = sums.iter().map(|(_, sum)| *sum).max();
        let flow = |pairs: Flow<(u8, u16)>| pairs.partition().sum_by_key().map(|(_, sum)| sum).reduce(u16::max);
        prop_assert_eq!(run(flow, &left, &how), most);
        let mut odd: Vec<_> = sums.iter().copied().filter(|(_, sum)| sum % 2 == 1).collect();
        let mut found = run(|pairs: Flow<(u8, u16)>| pairs.partition().sum_by_key().filter(|(_, sum)| sum % 2 == 1), &left, &how);
        found.sort_unstable();
        prop_assert_eq!(&found, &odd);
        odd.sort_by_key(|(key, sum)| (*sum, *key));
        let flow = |pairs: Flow<(u8, u16)>| {
            let odd = pairs.partition().sum_by_key().filter(|(_, sum)| sum % 2 == 1);
            odd.sort_by_key(|(key, sum)| (*sum, *key)).map(|(key, sum)| (key, u64::from(sum)))
        };
        let widened: Vec<_> = odd.into_iter().map(|(key, sum)| (key, u64::from(sum))).collect();
        prop_assert_eq!(run(flow, &left, &how), widened);
        // Every key in one partition, and there in source order.
        let by_key = run(|pairs: Flow<(u8, u16)>| pairs.partition_by(|it| it.0).map_batch(usize::MAX, |all| {
            groups(all).into_iter().collect::<Vec<_>>()
        }), &left, &how);
        let mut keys_of: Vec<_> = by_key;
        keys_of.sort();
        prop_assert_eq!(&keys_of, &groups(left.clone()).into_iter().collect::<Vec<_>>());
        let mut shuffled = run(|pairs: Flow<(u8, u16)>| pairs.shuffle().map(|it| it), &left, &how);
        shuffled.sort_unstable();
        let mut all = left.clone();
        all.sort_unstable();
        prop_assert_eq!(shuffled, all);
        prop_assert_eq!(run(|pairs: Flow<(u8, u16)>| pairs.shuffle(), &left, &how), left.clone());
        let mut joined = full_join(&left, &right);
        joined.retain(|(_, (left, right))| left.is_some() && right.is_some());
        let joined: Vec<_> = joined.into_iter().filter_map(|(key, (a, b))| Some((key, (a?, b?)))).collect();
        prop_assert_eq!(run_two(|a, b| a.partition().join(b), &left, &right, &how), joined);
    }

    /// Behind each other: what a stage on the master gives does not depend on how the one before it was cut either.
    #[test]
    fn stages_behind_each_other(items in vec(0_u16..400, 0..60), how in how()) {
        let mut counts: Vec<(u16, usize)> =
            groups(items.iter().map(|n| (n % 7, ()))).into_iter().map(|(key, all)| (key, all.len())).collect();
        counts.retain(|(_, count)| *count > 1);
        let by_count = groups(counts.into_iter().map(|(key, count)| (count as u64, key)));
        let expected: Vec<_> = by_count.into_iter().rev().take(3).collect();
        let flow = |n: Flow<u16>| {
            let often = n.map(|n| n % 7).counts().filter(|(_, count)| *count > 1);
            often.map(|(key, count)| (count, key)).group_by_key().take_sort(3, |a, b| b.0.cmp(&a.0))
        };
        prop_assert_eq!(run(flow, &items, &how), expected);
    }
}

proptest! {
    /// Three exchanges in a row: how often each pair occurs, the sum of that over each of its halves, how often each sum occurs.
    #[test]
    fn exchanges_follow_each_other(pairs in vec((0_u8..6, 0_u16..6), 0..60), how in how()) {
        let flow = |pairs: Flow<(u8, u16)>| {
            let occurrences = pairs.partition().counts();
            let of_key = occurrences.map(|((key, value), times)| (key, times * u64::from(value + 1)));
            let sums = of_key.partition().sum_by_key().filter(|(_, sum)| sum % 5 != 0);
            sums.map(|(key, sum)| (key % 2, sum)).partition_by(|it| it.0).map(|it| it.1).partition().counts()
        };
        let mut sums = BTreeMap::<u8, u64>::new();
        pairs.iter().for_each(|(key, value)| *sums.entry(*key).or_default() += u64::from(value + 1));
        let expected = groups(sums.into_values().filter(|sum| sum % 5 != 0).map(|sum| (sum, ())));
        let expected: Vec<_> = expected.into_iter().map(|(sum, times)| (sum, times.len() as u64)).collect();
        prop_assert_eq!(run(flow, &pairs, &how), expected);
    }

    /// A flow that has been exchanged meets one that is read, in a second exchange, from either side.
    #[test]
    fn exchanged_flows_join(
        left in vec((0_u8..5, 0_u16..9), 0..30),
        right in vec((0_u8..5, 0_u32..9), 0..30),
        how in how(),
    ) {
        let sums = |values: BTreeMap<u8, Vec<u16>>| {
            values.into_iter().map(|(key, it)| (key, it.into_iter().sum::<u16>())).collect::<Vec<_>>()
        };
        let sums = sums(groups(left.iter().copied()));
        let mut expected = full_join(&sums, &right);
        expected.sort_unstable();
        let mut joined = run_two(|left, right| left.partition().sum_by_key().partition().full_join(right), &left, &right, &how);
        joined.sort_unstable();
        prop_assert_eq!(&joined, &expected);
        let mut joined =
            run_two(|left, right| right.full_join(left.partition().sum_by_key().partition()), &left, &right, &how);
        joined.sort_unstable();
        let mut swapped: Vec<_> = expected.iter().map(|(key, (left, right))| (*key, (*right, *left))).collect();
        swapped.sort_unstable();
        prop_assert_eq!(joined, swapped);
        // Both sides, and a third exchange behind: the number of pairs of each key.
        let both = |left: Flow<(u8, u16)>, right: Flow<(u8, u32)>| {
            let (left, right) = (left.partition().sum_by_key(), right.partition().max_by_key());
            left.partition().join(right).map(|(key, _)| key).partition().counts()
        };
        let keys = |of: &mut dyn Iterator<Item = u8>| of.collect::<std::collections::BTreeSet<_>>();
        let (lefts, rights) = (keys(&mut left.iter().map(|it| it.0)), keys(&mut right.iter().map(|it| it.0)));
        let expected: Vec<_> = lefts.intersection(&rights).map(|key| (*key, 1)).collect();
        prop_assert_eq!(run_two(both, &left, &right, &how), expected);
    }
}

#[test]
fn a_state_goes_along_a_chunk_and_no_further() {
    let how = How { size: 4, order: vec![0], restart: 99, partitions: 1 };
    let sums = |n: Flow<u16>| {
        n.scan_chunk(
            || 0,
            |sum, n| {
                *sum += n;
                (*sum < 20).then_some(*sum)
            },
        )
    };
    assert_eq!(run(sums, &[1, 2, 3, 4, 5, 6, 7, 8, 9_u16], &how), [1, 3, 6, 10, 5, 11, 18, 9]);
}

#[test]
fn a_flow_does_not_join_itself_unseen() {
    let twice = |inputs: Inputs, (): ()| inputs.items::<(u8, u8)>("one").join(inputs.items::<(u8, u8)>("one"));
    let error = TypedProgram::new("p", twice).unwrap().prepare(&Params::default()).unwrap_err();
    assert_eq!(error, ProgramError::InputOfBoth { operator: "join" });
    let merged = |inputs: Inputs, (): ()| {
        let sums = inputs.items::<(u8, u64)>("one").sum_by_key();
        sums.merge(inputs.items::<u8>("one").counts()).count()
    };
    let error = TypedProgram::new("p", merged).unwrap().prepare(&Params::default()).unwrap_err();
    assert_eq!(error, ProgramError::InputOfBoth { operator: "merge" });
}

/// A join of a join: stages are numbered in the order in which they can run, and each names those that it reads.
#[test]
fn joins_of_joins_are_one_plan() {
    let flow = |inputs: Inputs, (): ()| {
        let sizes = inputs.items::<(char, u32)>("sizes").sum_by_key();
        let names = inputs.items::<(char, String)>("names");
        let kinds = inputs.items::<(char, u8)>("kinds").uniq();
        names
            .join(sizes)
            .join(kinds)
            .map(|(kind, ((name, size), n))| (kind, (name, size + u32::from(n))))
            .group_by_key()
    };
    let prepared = TypedProgram::new("p", flow).unwrap().prepare(&Params::default()).unwrap();
    let plan = &prepared.plan;
    let stages: Vec<_> =
        plan.stages.iter().map(|it| (it.id.0, it.from.iter().map(|id| id.0).collect::<Vec<_>>())).collect();
    assert_eq!(stages, [(0, vec![]), (1, vec![]), (2, vec![0, 1]), (3, vec![]), (4, vec![2, 3]), (5, vec![4])]);
    assert_eq!(plan.exchanges.iter().map(|it| it.from.0).collect::<Vec<_>>(), [0, 1, 3]);
    assert!(plan.explain().contains("stage 4, on the master, behind 2 and 3\n"), "{}", plan.explain());
    assert_eq!(plan.inputs, ["sizes", "names", "kinds"]);
    let sizes = chunks(0, 0, 1, &[('x', 7_u32), ('y', 1), ('x', 3)]);
    let names = chunks(1, 3, 1, &[('x', "a".to_owned()), ('x', "b".to_owned()), ('z', "c".to_owned())]);
    let kinds = chunks(2, 6, 1, &[('x', 1_u8), ('x', 1)]);
    let all: Vec<_> = [sizes, names, kinds].concat();
    let how = How { size: 1, order: vec![3, 1, 4, 1, 5, 9, 2, 6], restart: 2, partitions: 1 };
    let expected = [('x', vec![("a".to_owned(), 11), ("b".to_owned(), 11)])];
    assert_eq!(run_chunks(flow, all, &how), expected);
}

#[test]
fn an_exchange_is_in_the_plan_and_is_refused_where_it_does_nothing() {
    let plan = |flow: fn(Inputs, ()) -> Flow<(u8, u64)>| {
        TypedProgram::new("p", flow).unwrap().prepare(&Params::default()).map(|it| it.plan)
    };
    let exchanged = plan(|inputs, ()| {
        let sums = inputs.items::<(u8, u64)>("one").partition().sum_by_key();
        sums.map(|(key, sum)| (key, sum + 1)).sum_by_key()
    });
    let explained = exchanged.unwrap().explain();
    let (first, second) = explained.split_once("exchange: hash\n").unwrap();
    assert!(first.contains("stage 0, one result a task\n"), "{explained}");
    assert!(second.starts_with("stage 1, one result a partition, behind 0\n  partitioned "), "{explained}");
    assert!(second.ends_with("exchange: gather\n"), "{explained}");
    let error = plan(|inputs, ()| inputs.items::<(u8, u64)>("one").sum_by_key().partition().sum_by_key()).unwrap_err();
    assert_eq!(error, ProgramError::NotAtSource { operator: "partition" });
    let error = plan(|inputs, ()| inputs.items::<(u8, u64)>("one").sum_by_key().shuffle().sum_by_key()).unwrap_err();
    assert_eq!(error, ProgramError::NotAtSource { operator: "shuffle" });
    let joined = |inputs: Inputs, (): ()| {
        let sums = inputs.items::<(u8, u64)>("one").partition().sum_by_key().filter(|(_, sum)| *sum > 1);
        sums.join(inputs.items::<(u8, u64)>("two"))
    };
    let error = TypedProgram::new("p", joined).unwrap().prepare(&Params::default()).unwrap_err();
    assert_eq!(error, ProgramError::ExchangedSide { operator: "join" });
    let sorted = |inputs: Inputs, (): ()| inputs.items::<u8>("one").partition().sort();
    let error = TypedProgram::new("p", sorted).unwrap().prepare(&Params::default()).unwrap_err();
    assert_eq!(error, ProgramError::NotByKey { operator: "sort" });
}
