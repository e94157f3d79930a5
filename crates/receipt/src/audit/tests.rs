use proptest::prelude::*;

use super::*;
use crate::id::StageId;
use crate::record::{ConceivedChunk, Cover};

const STEP: StepId = StepId(7);
const NODES: [NodeId; 2] = [NodeId(0xa), NodeId(0xb)];

/// A step over files of those lengths, cut at every `size` bytes, before anything has run.
pub(super) fn cut(lengths: &[u64], size: u64) -> (Vec<ConceivedChunk>, Vec<InputPart>) {
    let parts = lengths.iter().enumerate().map(|(index, &length)| InputPart {
        input: 0,
        name: format!("logs/{index}.txt"),
        length: Some(length),
    });
    let mut covers = Vec::new();
    for (part, &length) in (0..).zip(lengths) {
        let offsets = (0..length).step_by(usize::try_from(size).unwrap());
        covers.extend(offsets.map(|offset| Cover { part, offset, length: size.min(length - offset) }));
    }
    let chunks = (0..).zip(covers).map(|(sequence, cover)| ConceivedChunk {
        id: ReceiptId::conceive(STEP, StageId(0), 0, 0, sequence, 1_000, cover.length),
        input: 0,
        entries: None,
        bytes: cover.length,
        conceived_at: 1_000,
        digest: None,
        parents: Vec::new(),
        generation: 0,
        covers: vec![cover],
    });
    (chunks.collect(), parts.collect())
}

fn node_of(chunk: &ConceivedChunk) -> NodeId {
    if chunk.id.sequence.is_multiple_of(2) { NODES[0] } else { NODES[1] }
}

/// Takes a chunk through all stations but the last.
pub(super) fn run(ledger: &mut Ledger, chunk: &ConceivedChunk) {
    let node = Some(node_of(chunk));
    ledger.conceive(chunk.clone()).unwrap();
    let way = [Station::Distributed, Station::Sent, Station::Received, Station::Processed, Station::Returned];
    for (at, station) in (2_000..).zip(way) {
        ledger.mark(&chunk.id, station, node, at).unwrap();
    }
}

pub(super) fn aggregate(ledger: &mut Ledger, chunk: &ConceivedChunk) {
    ledger.read(&chunk.id, 3, chunk.bytes).unwrap();
    ledger.mark(&chunk.id, Station::Aggregated, None, 3_000).unwrap();
}

fn completed(chunks: &[ConceivedChunk]) -> Ledger {
    let mut ledger = Ledger::new(STEP);
    for chunk in chunks {
        run(&mut ledger, chunk);
        aggregate(&mut ledger, chunk);
    }
    ledger
}

#[test]
fn a_table_names_the_program_and_its_parameters_where_they_are_known() {
    let (chunks, parts) = cut(&[1_000], 1_000);
    let mut audit = audit(&completed(&chunks), &parts, None);
    assert!(audit.to_string().starts_with("audit of step 7: balanced\n    "), "{audit}");
    audit.program = "log_report".to_owned();
    audit.params = vec![("day".to_owned(), "2026-11-24".to_owned()), ("note".to_owned(), "a\n\u{1b}[2Jé".to_owned())];
    let expected =
        "audit of step 7: balanced\nprogram log_report\nparam day=2026-11-24\nparam note=a\\n\\u{1b}[2Jé\n    ";
    assert!(audit.to_string().starts_with(expected), "{audit}");
}

#[test]
fn a_completed_step_balances_and_says_so_in_a_line() {
    let (chunks, parts) = cut(&[40_000, 0, 24_000], 1_000);
    let mut ledger = completed(&chunks);
    ledger.drop_duplicate(&chunks[0].id).unwrap();
    ledger.drop_stale(&chunks[1].id).unwrap();
    let audit = audit(&ledger, &parts, None);
    assert!(audit.balanced(), "{audit}");
    let all = Tally { receipts: 64, entries: 192, bytes: 64_000 };
    let Rows { conceived, distributed, sent, received, processed, returned, aggregated, .. } = audit.rows;
    assert_eq!([conceived, distributed, sent, received, processed, returned, aggregated], [all; 7]);
    assert_eq!(audit.rows.open, Tally::default());
    assert_eq!(
        (audit.coverage.at_submission, audit.coverage.covered, audit.coverage.bytes_read),
        (64_000, 64_000, 64_000)
    );
    assert_eq!(
        audit.line(),
        "audit: 64 chunks conceived = 64 aggregated + 0 set aside + 0 abandoned; 64,000 of 64,000 bytes read; \
         1 duplicate dropped, 1 stale dropped: balanced"
    );
}

#[test]
fn the_table_is_as_people_see_it() {
    let (chunks, parts) = cut(&[2_500], 1_000);
    let mut ledger = Ledger::new(STEP);
    chunks.iter().for_each(|chunk| run(&mut ledger, chunk));
    aggregate(&mut ledger, &chunks[0]);
    ledger.mark(&chunks[1].id, Station::Failed, Some(NODES[1]), 1_500_001_000).unwrap();
    ledger.set_error(&chunks[1].id, "line 3:\nnot a number").unwrap();
    ledger.mark(&chunks[1].id, Station::SetAside, None, 2_000_001_000).unwrap();
    let expected = format!(
        "\
audit of step 7: NOT BALANCED (1 receipt without an end)
                              receipts               entries                   bytes
conceived                            3                     3                   2,500
distributed                          3                     3                   2,500
sent                                 3                     3                   2,500
received                             3                     3                   2,500
processed                            3                     3                   2,500
returned                             3                     3                   2,500
aggregated                           1                     3                   1,000
set aside                            1                     0                   1,000
abandoned                            0                     0                       0
open                                 1                     0                     500
retried                              0                     0                       0
dropped as duplicate                 0                     0                       0
dropped as stale                     0                     0                       0
failed                               1                     0                   1,000
balance                       balanced              balanced                balanced
entries of 2 receipts are not known yet
coverage: 1 part, 2,500 at submission, 2,500 covered, 1,000 bytes read
without a final station: 1
  {two}: returned on {a} 0.000 s after it was conceived, 500 bytes, 1 attempt
without a final station, by node: 1
  1 receipt, 0 entries, 500 bytes on {a}
set aside or abandoned: 1
  {one}: set_aside on {b} 2.000 s after it was conceived, 1,000 bytes, 1 attempt, 1 failed: line 3: not a number
set aside or abandoned, by node: 1
  1 receipt, 0 entries, 1,000 bytes on {b}
",
        one = chunks[1].id,
        two = chunks[2].id,
        a = NODES[0],
        b = NODES[1],
    );
    assert_eq!(audit(&ledger, &parts, None).to_string(), expected);
}

#[test]
fn what_was_not_read_as_conceived_is_named_even_where_the_sums_agree() {
    let (mut chunks, parts) = cut(&[4_000], 1_000);
    chunks[3].entries = Some(5);
    let mut ledger = Ledger::new(STEP);
    chunks.iter().for_each(|chunk| run(&mut ledger, chunk));
    for (chunk, (entries, bytes)) in chunks.iter().zip([(3, 1_001), (3, 999), (3, 1_000), (4, 1_000)]) {
        ledger.read(&chunk.id, entries, bytes).unwrap();
        ledger.mark(&chunk.id, Station::Aggregated, None, 1).unwrap();
    }
    let audit = audit(&ledger, &parts, None);
    assert!(audit.balance.bytes.balanced() && !audit.balance.entries.balanced());
    assert!(!audit.balanced());
    let named: Vec<_> = audit.mismatches.iter().map(|mismatch| mismatch.receipt).collect();
    assert_eq!(named, [chunks[0].id, chunks[1].id, chunks[3].id]);
    assert!(audit.line().ends_with("NOT BALANCED (entries -1, 3 read other than conceived)"), "{}", audit.line());
}

#[test]
fn errors_that_cancel_each_other_out_keep_an_audit_from_balancing() {
    let (chunks, parts) = cut(&[2_000], 1_000);
    let mut ledger = Ledger::new(STEP);
    for (chunk, bytes) in chunks.iter().zip([1_001, 999]) {
        run(&mut ledger, chunk);
        ledger.read(&chunk.id, 3, bytes).unwrap();
        ledger.mark(&chunk.id, Station::Aggregated, None, 1).unwrap();
    }
    let audit = audit(&ledger, &parts, None);
    assert!(audit.balance.balanced() && audit.coverage.is_whole() && !audit.balanced());
}

#[test]
fn what_was_aggregated_without_being_read_is_named() {
    let (chunks, parts) = cut(&[2_000], 1_000);
    let mut ledger = Ledger::new(STEP);
    chunks.iter().for_each(|chunk| run(&mut ledger, chunk));
    aggregate(&mut ledger, &chunks[0]);
    ledger.mark(&chunks[1].id, Station::Aggregated, None, 1).unwrap();
    let audit = audit(&ledger, &parts, None);
    let Mismatch { receipt, read, node, .. } = audit.mismatches[0];
    assert_eq!((receipt, read, node), (chunks[1].id, None, Some(NODES[1])));
    assert!(audit.line().ends_with("NOT BALANCED (bytes -1,000, 1 read other than conceived)"), "{}", audit.line());
}

#[test]
fn a_planted_overlap_is_found_by_part_offsets_and_both_receipts() {
    let (mut chunks, parts) = cut(&[3_000, 2_000], 1_000);
    chunks[3].covers[0].length += 100;
    let audit = audit(&completed(&chunks), &parts, None);
    assert!(!audit.balanced());
    let expected = CoverageFault {
        kind: CoverageFaultKind::Overlap,
        input: Some(0),
        part: 1,
        name: "logs/1.txt".to_owned(),
        offset: 1_000,
        length: 100,
        receipts: vec![chunks[3].id, chunks[4].id],
    };
    assert_eq!(audit.coverage.faults, [expected]);
    let line = format!(
        "  overlap: \"logs/1.txt\" (input 0, part 1) from 1,000 to 1,100, at {} and {}\n",
        chunks[3].id, chunks[4].id
    );
    assert!(audit.to_string().contains(&line), "{audit}");
}

#[test]
fn a_part_of_unknown_length_ends_where_its_last_chunk_ends_but_has_no_gap() {
    let (mut chunks, mut parts) = cut(&[3_000, 500], 1_000);
    parts[0].length = None;
    assert!(audit(&completed(&chunks), &parts, None).balanced());
    chunks.remove(1);
    let coverage = audit(&completed(&chunks), &parts, None).coverage;
    assert_eq!((coverage.parts_open_ended, coverage.faults_total), (1, 1));
    assert_eq!((coverage.faults[0].offset, coverage.faults[0].length), (1_000, 1_000));
}

#[test]
fn covers_behind_the_end_or_of_no_part_are_named() {
    let (chunks, mut parts) = cut(&[3_000, 500], 1_000);
    parts.pop();
    parts[0].length = Some(2_400);
    let coverage = audit(&completed(&chunks), &parts, None).coverage;
    let faults: Vec<_> =
        coverage.faults.iter().map(|fault| (fault.kind, fault.part, fault.offset, fault.length)).collect();
    assert_eq!(faults, [(CoverageFaultKind::BeyondEnd, 0, 2_400, 600), (CoverageFaultKind::UnknownPart, 1, 0, 500)]);
}

#[test]
fn what_was_superseded_covers_nothing_and_needs_no_reading() {
    let (mut chunks, parts) = cut(&[2_000], 1_000);
    let again = ConceivedChunk { id: ReceiptId { sequence: 9, ..chunks[0].id }, generation: 1, ..chunks[0].clone() };
    chunks.push(again);
    let mut ledger = Ledger::new(STEP);
    chunks.iter().for_each(|chunk| run(&mut ledger, chunk));
    ledger.mark(&chunks[0].id, Station::Superseded, None, 1).unwrap();
    chunks[1..].iter().for_each(|chunk| aggregate(&mut ledger, chunk));
    let audit = audit(&ledger, &parts, None);
    assert!(audit.balanced(), "{audit}");
    assert!(audit.line().contains("= 2 aggregated + 0 set aside + 0 abandoned + 1 superseded;"), "{}", audit.line());
}

#[test]
fn json_gives_the_same_audit_back() {
    let (chunks, parts) = cut(&[5_000, 3_000], 1_000);
    let mut ledger = completed(&chunks[1..]);
    run(&mut ledger, &chunks[0]);
    let audit = audit(&ledger, &parts, None);
    let json = serde_json::to_value(&audit).unwrap();
    assert_eq!(json["balanced"], false);
    assert_eq!(json["missing"]["by_node"][0]["node"], NODES[0].to_string());
    assert_eq!(json["missing"]["receipts"][0]["last"]["station"], "returned");
    assert_eq!(serde_json::from_value::<Audit>(json).unwrap(), audit);
}

fn lengths() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0..40_u64, 1..6).prop_map(|mut lengths| {
        lengths.push(10);
        lengths
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_planted_nothing_found(lengths in lengths(), size in 1..9_u64) {
        let (chunks, parts) = cut(&lengths, size);
        let audit = audit(&completed(&chunks), &parts, None);
        prop_assert!(audit.balanced(), "{}", audit);
    }

    #[test]
    fn a_planted_loss_is_found_by_name_and_node(lengths in lengths(), size in 1..9_u64, pick in any::<prop::sample::Index>()) {
        let (chunks, parts) = cut(&lengths, size);
        let lost = pick.get(&chunks);
        let mut ledger = Ledger::new(STEP);
        for chunk in &chunks {
            run(&mut ledger, chunk);
            if chunk.id != lost.id {
                aggregate(&mut ledger, chunk);
            }
        }
        let audit = audit(&ledger, &parts, None);
        prop_assert!(!audit.balanced());
        let named: Vec<_> = audit.missing.receipts.iter().map(|named| (named.receipt, named.last)).collect();
        let last = Mark { station: Station::Returned, node: Some(node_of(lost)), at: 2_004 };
        prop_assert_eq!(named, [(lost.id, Some(last))]);
        let sum = Tally { receipts: 1, entries: 0, bytes: lost.bytes };
        prop_assert_eq!(&audit.missing.by_node, &[NodeSum { node: Some(node_of(lost)), sum }]);
        prop_assert!(audit.to_string().contains(&lost.id.to_string()));
    }

    #[test]
    fn a_planted_double_count_is_found_by_name(lengths in lengths(), size in 1..9_u64, pick in any::<prop::sample::Index>()) {
        let (chunks, parts) = cut(&lengths, size);
        let doubled = pick.get(&chunks);
        let mut ledger = completed(&chunks);
        ledger.mark(&doubled.id, Station::Aggregated, Some(NODES[1]), 9).unwrap_err();
        let audit = audit(&ledger, &parts, None);
        prop_assert!(!audit.balanced());
        prop_assert_eq!(audit.conflicts.iter().map(|conflict| conflict.receipt).collect::<Vec<_>>(), [doubled.id]);
        prop_assert!(audit.to_string().contains(&doubled.id.to_string()));
    }

    #[test]
    fn a_planted_gap_is_found_by_part_and_offsets(lengths in lengths(), size in 1..9_u64, pick in any::<prop::sample::Index>()) {
        let (mut chunks, parts) = cut(&lengths, size);
        let cover = chunks.remove(pick.index(chunks.len())).covers[0];
        let audit = audit(&completed(&chunks), &parts, None);
        prop_assert!(!audit.balanced());
        let faults = &audit.coverage.faults;
        prop_assert_eq!(faults.len(), 1);
        let found = Cover { part: faults[0].part, offset: faults[0].offset, length: faults[0].length };
        prop_assert_eq!((faults[0].kind, found), (CoverageFaultKind::Gap, cover));
        prop_assert_eq!(&faults[0].name, &format!("logs/{}.txt", cover.part));
    }

    #[test]
    fn coverage_agrees_with_a_count_of_every_byte(
        lengths in prop::collection::vec(0..20_u64, 1..4),
        covers in prop::collection::vec((0..3_u32, 0..20_u64, 0..8_u64), 0..12),
    ) {
        let mut ledger = Ledger::new(STEP);
        let mut counts: Vec<Vec<u32>> = lengths.iter().map(|_| vec![0; 32]).collect();
        let covers = covers.into_iter().filter(|&(part, ..)| usize::try_from(part).unwrap() < lengths.len());
        // Two covers a chunk, in any order.
        let covers: Vec<Cover> = covers.map(|(part, offset, length)| Cover { part, offset, length }).collect();
        for (sequence, covers) in (0..).zip(covers.chunks(2)) {
            let (mut chunk, _) = cut(&[1], 1);
            chunk[0].id.sequence = sequence;
            chunk[0].covers = covers.to_vec();
            ledger.conceive(chunk.remove(0)).unwrap();
        }
        for cover in &covers {
            (cover.offset..cover.offset + cover.length).for_each(|byte| {
                counts[usize::try_from(cover.part).unwrap()][usize::try_from(byte).unwrap()] += 1;
            });
        }
        let (_, parts) = cut(&lengths, 1);
        let coverage = audit(&ledger, &parts, None).coverage;
        for (part, (length, counts)) in (0..).zip(lengths.iter().zip(&counts)) {
            for (byte, &count) in (0..).zip(counts) {
                let has = |kind| coverage.faults.iter().filter(|fault| {
                    fault.kind == kind && fault.part == part && (fault.offset..fault.offset + fault.length).contains(&byte)
                }).count();
                prop_assert_eq!(has(CoverageFaultKind::Gap), usize::from(count == 0 && byte < *length), "gap {} {}", part, byte);
                prop_assert_eq!(has(CoverageFaultKind::Overlap) > 0, count > 1, "overlap {} {}", part, byte);
                let beyond = if byte < *length { 0 } else { count };
                prop_assert_eq!(has(CoverageFaultKind::BeyondEnd), usize::try_from(beyond).unwrap(), "beyond {} {}", part, byte);
            }
        }
    }
}
