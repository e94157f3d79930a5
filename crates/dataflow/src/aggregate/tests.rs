use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use elastic_flow_receipt::{ReceiptId, StageId, StepId};
use elastic_flow_wire::SeqEncoder;
use elastic_flow_wire::message::Segment;
use proptest::prelude::*;

use super::*;
use crate::error::MergeError;
use crate::merger::Merger;
use crate::text::Text;

fn segment<T: Data>(sequence: u64, items: &[T]) -> Segment {
    let mut encoder = SeqEncoder::new();
    items.iter().for_each(|item| encoder.push(item).unwrap());
    let (rows, body) = encoder.finish();
    let receipt = ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence, check: 0 };
    Segment { receipt, rows, digest: 0, body }
}

fn boxed<A: Aggregate<Item: Data> + Clone>(aggregate: &A) -> Box<Aggregating<A>> {
    Box::new(Aggregating::new(aggregate.clone()))
}

/// Cuts items into chunks, merges these in a shuffled order, saves and restores on the way.
fn aggregated<A: Aggregate<Item: Data + Clone> + Clone>(
    aggregate: &A,
    items: &[A::Item],
    cuts: &[usize],
    seed: u64,
) -> A::Output {
    let mut segments = Vec::new();
    let mut rest = items;
    for &cut in cuts {
        let (chunk, after) = rest.split_at(cut.min(rest.len()));
        segments.push(segment(segments.len() as u64, chunk));
        rest = after;
    }
    segments.push(segment(segments.len() as u64, rest));
    segments.sort_by_key(|segment| (segment.receipt.sequence + 1).wrapping_mul(seed | 1).rotate_left(17));
    let mut merger = boxed(aggregate);
    for (index, segment) in segments.iter().enumerate() {
        if index as u64 == seed % 4 {
            let saved = merger.save().unwrap();
            merger = boxed(aggregate);
            merger.restore(&saved).unwrap();
        }
        merger.merge(segment).unwrap();
    }
    merger.finish().unwrap()
}

/// The law: any grouping and order of arrival gives what one chunk gives.
fn law<A>(aggregate: &A, items: &[A::Item], cuts: &[usize], seed: u64) -> Result<A::Output, TestCaseError>
where
    A: Aggregate<Item: Data + Clone, Output: PartialEq + Debug> + Clone,
{
    let whole = aggregated(aggregate, items, &[], 0);
    let parts = aggregated(aggregate, items, cuts, seed);
    prop_assert_eq!(&parts, &whole);
    Ok(whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_grouping_and_order_gives_the_same(
        items in proptest::collection::vec(0_u64..50, 0..40),
        cuts in proptest::collection::vec(0_usize..8, 0..8),
        seed in any::<u64>(),
    ) {
        let sum = items.iter().sum::<u64>();
        prop_assert_eq!(law(&0_u64, &items, &cuts, seed)?, sum);
        let floats: Vec<f64> = items.iter().map(|&n| n as f64 / 7.0).collect();
        prop_assert_eq!(law(&0_f64, &floats, &cuts, seed)?, floats.iter().fold(0.0, |a, b| a + b));
        prop_assert_eq!(law(&Collect::<u64>::new(), &items, &cuts, seed)?, items.clone());
        prop_assert_eq!(law(&Collect::<u64, BTreeSet<u64>>::default(), &items, &cuts, seed)?, items.iter().copied().collect());
        prop_assert_eq!(law(&Count::<u64>::default(), &items, &cuts, seed)?, items.len() as u64);
        prop_assert_eq!(law(&Last::<u64>::default(), &items, &cuts, seed)?, items.last().copied());
        law(&Track::<u64>::default(), &items, &cuts, seed)?;
        let mut greatest = items.clone();
        greatest.sort_unstable_by(|a, b| b.cmp(a));
        greatest.truncate(5);
        prop_assert_eq!(law(&TopN::<u64>::new(5), &items, &cuts, seed)?, greatest);
        prop_assert_eq!(law(&TopN::<u64>::new(0), &items, &cuts, seed)?, Vec::<u64>::new());
        prop_assert_eq!(law(&0_u64.unordered(), &items, &cuts, seed)?, sum);
    }

    #[test]
    fn results_of_their_own_kind_are_merged_part_by_part(
        items in proptest::collection::vec((0_u8..4, 0_u64..50), 0..40),
        cuts in proptest::collection::vec(0_usize..8, 0..8),
        seed in any::<u64>(),
    ) {
        let texts: Vec<String> = items.iter().map(|(_, n)| n.to_string()).collect();
        prop_assert_eq!(law(&String::new(), &texts, &cuts, seed)?, texts.concat());

        let vectors: Vec<Vec<u64>> = items.iter().map(|&(key, n)| vec![n; key.into()]).collect();
        prop_assert_eq!(law(&Vec::<u64>::new(), &vectors, &cuts, seed)?, vectors.concat());

        let options: Vec<Option<u64>> = items.iter().map(|&(key, n)| (key > 1).then_some(n)).collect();
        let present = options.iter().any(Option::is_some).then(|| options.iter().flatten().sum());
        prop_assert_eq!(law(&None::<u64>, &options, &cuts, seed)?, present);

        let mut sums = HashMap::new();
        items.iter().for_each(|&(key, n)| *sums.entry(key).or_insert(0) += n);
        let maps: Vec<HashMap<u8, u64>> = items.iter().map(|&pair| HashMap::from([pair])).collect();
        prop_assert_eq!(law(&HashMap::<u8, u64>::new(), &maps, &cuts, seed)?, sums);

        let mut lists: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        items.iter().for_each(|&(key, n)| lists.entry(key).or_default().push(n));
        let listed: Vec<BTreeMap<u8, Vec<u64>>> = items.iter().map(|&(key, n)| BTreeMap::from([(key, vec![n])])).collect();
        prop_assert_eq!(law(&BTreeMap::<u8, Vec<u64>>::new(), &listed, &cuts, seed)?, lists);

        let pairs: Vec<(u64, String)> = items.iter().map(|&(key, n)| (n, key.to_string())).collect();
        let expected = (items.iter().map(|(_, n)| n).sum(), items.iter().map(|(key, _)| key.to_string()).collect());
        prop_assert_eq!(law(&(0_u64, String::new()), &pairs, &cuts, seed)?, expected);
    }
}

#[test]
fn every_result_is_handed_over_once_with_its_receipt() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let each = ForEach::new(move |receipt: Option<ReceiptId>, word: Text| {
        log.lock().unwrap().push((receipt.unwrap().sequence, word));
    });
    let mut merger = Box::new(Aggregating::new(each));
    merger.merge(&segment(3, &[Text::from("c"), Text::from("d")])).unwrap();
    merger.merge(&segment(0, &[Text::from("a")])).unwrap();
    assert_eq!(merger.finish().unwrap(), 3);
    assert_eq!(*seen.lock().unwrap(), [(3, "c".into()), (3, "d".into()), (0, "a".into())]);
}

#[test]
fn results_after_one_that_never_comes_are_kept_in_order() {
    let mut merger = boxed(&Collect::<u64>::new());
    for sequence in [4, 0, 2] {
        merger.merge(&segment(sequence, &[sequence])).unwrap();
    }
    let saved = merger.save().unwrap();
    assert_eq!(merger.finish().unwrap(), [0, 2, 4]);

    let mut later = boxed(&Collect::<u64>::new());
    later.restore(&saved).unwrap();
    for sequence in [3, 1] {
        later.merge(&segment(sequence, &[sequence])).unwrap();
    }
    assert_eq!(later.finish().unwrap(), [0, 1, 2, 3, 4]);
}

#[test]
fn bytes_of_another_type_are_an_error_that_names_the_chunk() {
    let mut merger = boxed(&Collect::<String>::new());
    let mut wrong = segment(0, &[7_u32]);
    let error = merger.merge(&wrong).unwrap_err();
    assert!(matches!(error, MergeError::Segment { receipt, .. } if receipt == wrong.receipt));
    wrong.body = Bytes::new();
    assert!(merger.merge(&wrong).is_err());
    assert!(matches!(merger.restore(&[1, 2, 3]), Err(MergeError::Saved { .. })));
}
