//! Replays: what they and the steps before them cover together.

use proptest::prelude::*;

use super::tests::{aggregate, cut, run};
use super::*;
use crate::record::{ConceivedChunk, Cover};

/// A step over `chunks` of which those that `done` says were aggregated, the others set aside.
fn ended(step: u64, chunks: &[ConceivedChunk], done: impl Fn(&ConceivedChunk) -> bool) -> Ledger {
    let mut ledger = Ledger::new(StepId(step));
    for chunk in chunks {
        let chunk = ConceivedChunk { id: ReceiptId { step: StepId(step), ..chunk.id }, ..chunk.clone() };
        run(&mut ledger, &chunk);
        if done(&chunk) {
            aggregate(&mut ledger, &chunk);
        } else {
            ledger.mark(&chunk.id, Station::SetAside, None, 3_000).unwrap();
        }
    }
    ledger
}

/// The chunks that a ledger has not aggregated, as a replay takes them over.
fn left(ledger: &Ledger, chunks: &[ConceivedChunk]) -> Vec<ConceivedChunk> {
    let open = ledger.iter().filter(|receipt| receipt.station() != Some(Station::Aggregated));
    let sequences: Vec<u64> = open.map(|receipt| receipt.id().sequence).collect();
    let left = chunks.iter().filter(|chunk| sequences.contains(&chunk.id.sequence));
    (0..)
        .zip(left)
        .map(|(sequence, chunk)| ConceivedChunk { id: ReceiptId { sequence, ..chunk.id }, ..chunk.clone() })
        .collect()
}

#[test]
fn a_replay_is_audited_together_with_the_step_that_it_replays() {
    let (chunks, parts) = cut(&[4_000, 500], 1_000);
    let first = ended(3, &chunks, |it| it.id.sequence != 2);
    let earlier = Earlier::after(&first, None);
    let replay = ended(4, &left(&first, &chunks), |_| true);
    let audit = audit(&replay, &parts, Some(&earlier));
    assert!(audit.balanced() && audit.coverage.is_whole(), "{audit}");
    assert_eq!(
        audit.line(),
        "audit: 1 chunk conceived = 1 aggregated + 0 set aside + 0 abandoned; 1,000 of 1,000 bytes read; \
         together with step 3: 4,500 of 4,500 bytes read: balanced"
    );
    let text = audit.to_string();
    assert!(text.starts_with("audit of step 4, which replays step 3: balanced\n"), "{text}");
    let lines = "\
aggregated by step 3: 4 receipts, 12 entries, 3,500 bytes
together with step 3: 4,500 of 4,500 bytes read
coverage: 2 parts, 4,500 at submission, 4,500 covered (3,500 of it by step 3), 4,500 bytes read
";
    assert!(text.contains(lines), "{text}");
    let part = |index: usize| {
        let PartCoverage { name, length, covered, covered_before, .. } = &audit.coverage.by_part[index];
        (name.as_str(), *length, *covered, *covered_before)
    };
    assert_eq!(part(0), ("logs/0.txt", Some(4_000), 4_000, 3_000));
    assert_eq!(part(1), ("logs/1.txt", Some(500), 500, 500));
    let json = serde_json::to_value(&audit).unwrap();
    assert_eq!(json["replay_of"], 3);
    assert_eq!(json["coverage"]["proven"], true);
    assert_eq!(json["coverage"]["by_part"][0]["covered_before"], 3_000);
    assert_eq!(json["replayed"]["steps"], serde_json::json!([3]));
    assert_eq!(serde_json::from_value::<Audit>(json).unwrap(), audit);
}

#[test]
fn a_replay_of_a_replay_goes_on_from_both() {
    let (chunks, parts) = cut(&[5_000], 1_000);
    let first = ended(3, &chunks, |it| it.id.sequence < 2);
    let earlier = Earlier::after(&first, None);
    let rest = left(&first, &chunks);
    let second = ended(7, &rest, |it| it.id.sequence == 1);
    let between = audit(&second, &parts, Some(&earlier));
    assert!(between.balanced(), "what was set aside is named, and does not unbalance it: {between}");
    assert!(
        between.line().ends_with("together with step 3: 3,000 of 5,000 bytes read: balanced"),
        "{}",
        between.line()
    );
    let earlier = Earlier::after(&second, Some(&earlier));
    let third = ended(9, &left(&second, &rest), |_| true);
    let audit = audit(&third, &parts, Some(&earlier));
    assert!(audit.balanced() && audit.coverage.is_whole(), "{audit}");
    assert_eq!((audit.rows.conceived.receipts, audit.coverage.covered_before), (2, 3_000));
    let end = "together with steps 7 and 3: 5,000 of 5,000 bytes read: balanced";
    assert!(audit.line().ends_with(end), "{}", audit.line());
}

#[test]
fn what_neither_a_replay_nor_the_step_before_has_is_a_gap() {
    let (chunks, parts) = cut(&[4_000], 1_000);
    let first = ended(3, &chunks, |it| it.id.sequence != 1 && it.id.sequence != 2);
    let replay = ended(4, &left(&first, &chunks)[..1], |_| true);
    let audit = audit(&replay, &parts, Some(&Earlier::after(&first, None)));
    assert!(!audit.balanced() && audit.balance.balanced(), "{audit}");
    let fault = &audit.coverage.faults[0];
    assert_eq!((fault.kind, fault.offset, fault.length), (CoverageFaultKind::Gap, 2_000, 1_000));
    let steps: Vec<u64> = fault.receipts.iter().map(|receipt| receipt.step.0).collect();
    assert_eq!(steps, [4, 3], "the chunks on both sides, whosever they are");
    assert!(audit.line().ends_with("NOT BALANCED (1 fault in the coverage)"), "{}", audit.line());
}

#[test]
fn what_a_replay_does_a_second_time_is_an_overlap() {
    let (chunks, parts) = cut(&[4_000], 1_000);
    let first = ended(3, &chunks, |it| it.id.sequence != 1);
    let replay = ended(4, &chunks[1..3], |_| true);
    let audit = audit(&replay, &parts, Some(&Earlier::after(&first, None)));
    assert!(!audit.balanced(), "{audit}");
    let fault = &audit.coverage.faults[0];
    assert_eq!((fault.kind, fault.offset, fault.length), (CoverageFaultKind::Overlap, 2_000, 1_000));
    assert_eq!(
        fault.receipts,
        [ReceiptId { step: StepId(3), ..chunks[2].id }, ReceiptId { step: StepId(4), ..chunks[2].id }]
    );
}

#[test]
fn without_the_account_of_a_step_before_only_the_own_columns_balance_and_it_says_so() {
    let (chunks, parts) = cut(&[4_000], 1_000);
    let replay = ended(4, &chunks[1..2], |_| true);
    let one = audit(&replay, &parts, Some(&Earlier::unknown(StepId(3))));
    assert!(one.balanced() && !one.coverage.proven && !one.coverage.is_whole(), "{one}");
    assert_eq!(
        one.line(),
        "audit: 1 chunk conceived = 1 aggregated + 0 set aside + 0 abandoned; 1,000 of 1,000 bytes read; \
         coverage not proven without the account of step 3: balanced"
    );
    assert!(one.to_string().contains("\ncoverage not proven without the account of step 3\n"), "{one}");
    assert!(!one.to_string().contains("\ncoverage: "), "{one}");
    let after = Earlier::after(&replay, Some(&Earlier::unknown(StepId(3))));
    let two = audit(&ended(5, &chunks[2..3], |_| true), &parts, Some(&after));
    assert_eq!(
        (&two.replayed.as_ref().unwrap().steps[..], two.replay_of),
        (&[StepId(4), StepId(3)][..], Some(StepId(4)))
    );
    assert!(two.line().contains("not proven without the account of step 3"), "{}", two.line());
    let mut open = Ledger::new(StepId(6));
    run(&mut open, &ConceivedChunk { id: ReceiptId { step: StepId(6), ..chunks[0].id }, ..chunks[0].clone() });
    let open = audit(&open, &parts, Some(&Earlier::unknown(StepId(3))));
    assert!(!open.balanced(), "its own columns still count: {open}");
}

#[test]
fn what_was_wrong_with_a_step_is_wrong_with_its_replay() {
    let (chunks, parts) = cut(&[2_000], 1_000);
    let mut first = Ledger::new(StepId(3));
    for chunk in &chunks {
        let chunk = ConceivedChunk { id: ReceiptId { step: StepId(3), ..chunk.id }, ..chunk.clone() };
        run(&mut first, &chunk);
        if chunk.id.sequence == 0 {
            first.read(&chunk.id, 3, 999).unwrap();
            first.mark(&chunk.id, Station::Aggregated, None, 1).unwrap();
            first.mark(&chunk.id, Station::Aggregated, None, 2).unwrap_err();
        }
    }
    let replay = ended(4, &chunks[1..], |_| true);
    let audit = audit(&replay, &parts, Some(&Earlier::after(&first, None)));
    assert!(audit.coverage.is_whole() && !audit.balanced(), "{audit}");
    let end = "together with step 3: 1,999 of 2,000 bytes read: NOT BALANCED (1 read other than conceived in what is \
               replayed, 1 second end refused in what is replayed)";
    assert!(audit.line().ends_with(end), "{}", audit.line());
}

#[test]
fn nodes_are_named_where_their_names_are_known() {
    let (chunks, parts) = cut(&[3_000], 1_000);
    let mut ledger = Ledger::new(StepId(7));
    chunks.iter().for_each(|chunk| run(&mut ledger, chunk));
    let mut audit = audit(&ledger, &parts, None);
    audit.nodes.insert(NodeId(0xa), "w1".to_owned());
    let text = audit.to_string();
    assert!(text.contains(": returned on w1 0.000 s after"), "{text}");
    assert!(text.contains("  2 receipts, 0 entries, 2,000 bytes on w1\n"), "{text}");
    assert!(text.contains(&format!("  1 receipt, 0 entries, 1,000 bytes on {}\n", NodeId(0xb))), "{text}");
    audit.nodes.insert(NodeId(0xb), "w1".to_owned());
    let text = audit.to_string();
    assert!(text.contains(&format!("1,000 bytes on w1 ({})\n", NodeId(0xb))), "two lives of one name: {text}");
    let json = serde_json::to_value(&audit).unwrap();
    assert_eq!(json["nodes"][NodeId(0xa).to_string()], "w1");
    assert_eq!(serde_json::from_value::<Audit>(json).unwrap(), audit);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_chain_of_replays_covers_the_source_and_a_lost_chunk_of_any_of_them_is_found(
        length in 1..60_u64,
        size in 1..9_u64,
        picks in prop::collection::vec(any::<u8>(), 60),
        lost in any::<prop::sample::Index>(),
    ) {
        let (all, parts) = cut(&[length], size);
        let mut chunks = all.clone();
        let (mut before, mut last) = (None, None);
        for step in 1..4 {
            let ledger = ended(step, &chunks, |it| {
                step == 3 || picks[usize::try_from(it.covers[0].offset).unwrap()] % 3 < u8::try_from(step).unwrap()
            });
            let audit = audit(&ledger, &parts, before.as_ref());
            prop_assert!(audit.balanced() && audit.coverage.is_whole(), "{}", audit);
            let earlier = Earlier::after(&ledger, before.as_ref());
            chunks = left(&ledger, &chunks);
            last = before.replace(earlier).map(|earlier| (earlier, ledger));
        }
        let (mut earlier, ledger) = last.unwrap();
        let planted: Cover = lost.get(&all).covers[0];
        if let Some(place) = earlier.covers.iter().position(|(cover, _)| *cover == planted) {
            earlier.covers.remove(place);
            let audit = audit(&ledger, &parts, Some(&earlier));
            prop_assert!(!audit.balanced());
            let fault = &audit.coverage.faults[0];
            let found = Cover { part: fault.part, offset: fault.offset, length: fault.length };
            prop_assert_eq!((fault.kind, found), (CoverageFaultKind::Gap, planted));
        }
    }
}
