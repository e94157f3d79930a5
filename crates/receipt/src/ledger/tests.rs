use proptest::prelude::*;

use super::*;
use crate::record::Cover;
use crate::station::StationSet;

const STEP: StepId = StepId(7);

fn chunk(partition: u32, sequence: u64) -> ConceivedChunk {
    let conceived_at = 1_000 + sequence;
    let bytes = 100 + sequence;
    ConceivedChunk {
        id: ReceiptId::conceive(STEP, StageId(0), 0, partition, sequence, conceived_at, bytes),
        input: 1,
        entries: sequence.is_multiple_of(2).then_some(10 + sequence),
        bytes,
        conceived_at,
        digest: sequence.is_multiple_of(3).then_some(sequence),
        parents: Vec::new(),
        generation: 0,
        covers: (0..sequence % 4).map(|part| Cover { part: 5, offset: sequence * 8 + part, length: 1 }).collect(),
    }
}

/// A ledger of chunks 0 to `count` - 1, and their receipts.
fn ledger_of(count: u64) -> (Ledger, Vec<ReceiptId>) {
    let mut ledger = Ledger::new(STEP);
    let chunks: Vec<_> = (0..count).map(|sequence| chunk(0, sequence)).collect();
    let ids = chunks.iter().map(|chunk| chunk.id).collect();
    chunks.into_iter().for_each(|chunk| ledger.conceive(chunk).unwrap());
    (ledger, ids)
}

#[test]
fn wrong_receipts_are_refused_and_change_nothing() {
    let (mut ledger, ids) = ledger_of(3);
    let known = ids[1];
    let other_step = ReceiptId { step: StepId(8), ..known };
    let foreign = ReceiptId { check: known.check ^ 1, ..known };
    let unknown = ReceiptId { sequence: 3, ..known };
    let no_lane = ReceiptId { partition: 9, ..known };
    let before = serde_json::to_string(&ledger).unwrap();
    for (receipt, error) in [
        (other_step, LedgerError::OtherStep { receipt: other_step, step: STEP }),
        (foreign, LedgerError::CheckMismatch { receipt: foreign, known }),
        (unknown, LedgerError::Unknown { receipt: unknown }),
        (no_lane, LedgerError::Unknown { receipt: no_lane }),
    ] {
        assert_eq!(ledger.mark(&receipt, Station::Sent, None, 5), Err(error));
        assert_eq!(ledger.read(&receipt, 1, 1), Err(error));
        assert_eq!(ledger.lose(&receipt), Err(error));
        assert_eq!(ledger.set_error(&receipt, "x"), Err(error));
        assert_eq!(ledger.drop_duplicate(&receipt), Err(error));
        assert_eq!(ledger.drop_stale(&receipt), Err(error));
        assert_eq!(ledger.get(&receipt).unwrap_err(), error);
    }
    assert_eq!(ledger.conceive(chunk(0, 1)), Err(LedgerError::AlreadyConceived { receipt: known }));
    let covers = vec![Cover { part: 2, offset: u64::MAX, length: 1 }];
    let beyond = ConceivedChunk { covers, ..chunk(0, 9) };
    assert_eq!(ledger.conceive(beyond), Err(LedgerError::CoverOverflow { receipt: chunk(0, 9).id, part: 2 }));
    assert_eq!(serde_json::to_string(&ledger).unwrap(), before);
    let error = ledger.get(&foreign).unwrap_err().to_string();
    assert!(error.starts_with(&format!("receipt {foreign} is foreign: the chunk of that place is {known}")), "{error}");
}

#[test]
fn the_first_final_station_stays_and_what_comes_after_is_counted() {
    let (mut ledger, ids) = ledger_of(1);
    let node = NodeId(1);
    ledger.mark(&ids[0], Station::Distributed, Some(node), 10).unwrap();
    ledger.mark(&ids[0], Station::Aggregated, None, 20).unwrap();
    let refused =
        LedgerError::AlreadyFinal { receipt: ids[0], station: Station::Aggregated, refused: Station::SetAside };
    assert_eq!(ledger.mark(&ids[0], Station::SetAside, None, 30), Err(refused));
    ledger.mark(&ids[0], Station::Returned, None, 31).unwrap();
    ledger.mark(&ids[0], Station::Retried, None, 32).unwrap();
    ledger.mark(&ids[0], Station::Received, None, 33).unwrap();
    let receipt = ledger.get(&ids[0]).unwrap();
    assert_eq!(receipt.last(), Some(Mark { station: Station::Aggregated, node: Some(node), at: 20 }));
    assert_eq!(receipt.passed(), [Station::Distributed, Station::Aggregated].into_iter().collect::<StationSet>());
    let one = Tally { receipts: 1, entries: 10, bytes: 100 };
    let two = Tally { receipts: 2, entries: 20, bytes: 200 };
    assert_eq!(*ledger.events(), Events { duplicate_dropped: one, stale_dropped: two, ..Events::default() });
    let conflict = Conflict {
        receipt: ids[0],
        station: Station::Aggregated,
        refused: Mark { station: Station::SetAside, node: None, at: 30 },
    };
    assert_eq!(ledger.conflicts(), (1, &[conflict][..]));
}

#[test]
fn a_late_mark_is_kept_among_the_passed_and_moves_nothing_back() {
    let (mut ledger, ids) = ledger_of(1);
    let processed = Mark { station: Station::Processed, node: Some(NodeId(1)), at: 10 };
    ledger.mark(&ids[0], processed.station, processed.node, processed.at).unwrap();
    ledger.mark(&ids[0], Station::Received, Some(NodeId(2)), 11).unwrap();
    let receipt = ledger.get(&ids[0]).unwrap();
    assert_eq!(receipt.last(), Some(processed));
    assert!(receipt.passed().contains(Station::Received));
    assert_eq!((ledger.count(Station::Processed), ledger.count(Station::Received)), (1, 0));
}

#[test]
fn what_was_read_can_be_corrected_until_the_receipt_is_final() {
    let (mut ledger, ids) = ledger_of(1);
    ledger.read(&ids[0], 1, 2).unwrap();
    ledger.read(&ids[0], 3, 4).unwrap();
    ledger.mark(&ids[0], Station::Aggregated, None, 1).unwrap();
    assert_eq!(ledger.read(&ids[0], 5, 6), Err(LedgerError::AlreadyRead { receipt: ids[0] }));
    assert_eq!(ledger.get(&ids[0]).unwrap().read(), Some(Read { entries: 3, bytes: 4 }));
}

#[test]
fn the_way_of_a_chunk_that_failed_is_kept_from_where_it_failed() {
    let (mut ledger, ids) = ledger_of(2);
    let node = Some(NodeId(1));
    let marks = [(Station::Sent, 2), (Station::Failed, 3), (Station::Retried, 4), (Station::Distributed, 5)];
    ledger.mark(&ids[0], Station::Distributed, node, 1).unwrap();
    for (station, at) in marks {
        ledger.mark(&ids[0], station, node, at).unwrap();
        ledger.mark(&ids[1], Station::Distributed, node, at).unwrap();
    }
    ledger.set_error(&ids[0], &"ä".repeat(2_000)).unwrap();
    ledger.lose(&ids[0]).unwrap();
    let record = ledger.get(&ids[0]).unwrap().to_record();
    assert_eq!(record.history, marks.map(|(station, at)| Mark { station, node, at }));
    assert_eq!((record.attempts, record.failures, record.losses), (2, 1, 1));
    assert_eq!(record.error.map(|error| error.len()), Some(1_024));
    assert_eq!(ledger.get(&ids[1]).unwrap().to_record().history, []);
    for at in 0..100 {
        ledger.mark(&ids[0], Station::Retried, None, at).unwrap();
    }
    let history = ledger.get(&ids[0]).unwrap().to_record().history;
    assert_eq!((history.len(), history.last().map(|mark| mark.at)), (64, Some(99)));
}

#[test]
fn a_long_ledger_takes_what_the_docs_say_and_finds_by_sequence() {
    let count = 100_000;
    let mut ledger = Ledger::new(STEP);
    for sequence in 0..count {
        let covers = vec![Cover { part: 0, offset: sequence * 8, length: 8 }];
        ledger.conceive(ConceivedChunk { covers, ..chunk(0, sequence) }).unwrap();
    }
    let bound = Ledger::BYTES_PER_CHUNK * 100_000 / 8 * 9;
    assert!(ledger.entries_bytes() <= bound, "{} bytes of {bound}", ledger.entries_bytes());
    assert_eq!(ledger.find(77_777).map(|receipt| receipt.id()), Some(chunk(0, 77_777).id));
    assert!(ledger.find(count).is_none());
}

#[test]
fn the_binary_form_of_a_record_is_pinned() {
    let (mut ledger, ids) = ledger_of(1);
    ledger.mark(&ids[0], Station::Distributed, Some(NodeId(0xabcd)), 5).unwrap();
    ledger.mark(&ids[0], Station::Failed, Some(NodeId(0xabcd)), 6).unwrap();
    ledger.set_error(&ids[0], "no").unwrap();
    let record = ledger.get(&ids[0]).unwrap().to_record();
    let bytes = bincode::serde::encode_to_vec(&record, bincode::config::standard()).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Id, input, entries, bytes, conceived at, digest; parents, generation, covers and read; attempts, failures and losses;
    // last, passed, history, error.
    let groups = [
        "0700000000fc772f5196",
        "01",
        "010a",
        "64",
        "fbe803",
        "0100",
        "00000000",
        "010100",
        "010701fbcdab06",
        "81",
        "020001fbcdab050701fbcdab06",
        "01026e6f",
    ];
    assert_eq!(hex, groups.concat());
}

/// What a ledger should know, kept the plain way.
#[derive(Debug, Default)]
struct Model {
    receipts: BTreeMap<(u32, u64), ReceiptRecord>,
    events: Events,
    conflicts: u64,
}

impl Model {
    fn conceive(&mut self, chunk: ConceivedChunk) -> bool {
        let ConceivedChunk { id, input, entries, bytes, conceived_at, digest, parents, generation, covers } = chunk;
        let record = ReceiptRecord {
            id,
            input,
            entries,
            bytes,
            conceived_at,
            digest,
            parents,
            generation,
            covers,
            read: None,
            attempts: 0,
            failures: 0,
            losses: 0,
            last: None,
            passed: StationSet::EMPTY,
            history: Vec::new(),
            error: None,
        };
        let key = (id.partition, id.sequence);
        let fresh = !self.receipts.contains_key(&key);
        if fresh {
            self.receipts.insert(key, record);
        }
        fresh
    }

    fn mark(&mut self, key: (u32, u64), mark: Mark) -> bool {
        let Some(record) = self.receipts.get_mut(&key) else { return false };
        let entries = record.entries.or(record.read.map(|read| read.entries)).unwrap_or(0);
        let tally = Tally { receipts: 1, entries, bytes: record.bytes };
        if record.last.is_some_and(|last| last.station.is_final()) {
            if mark.station.is_final() {
                self.conflicts += 1;
            } else if mark.station == Station::Returned {
                self.events.duplicate_dropped += tally;
            } else {
                self.events.stale_dropped += tally;
            }
            return !mark.station.is_final();
        }
        if !record.history.is_empty() || [Station::Failed, Station::Retried].contains(&mark.station) {
            if record.history.is_empty() {
                record.history.extend(record.last);
            }
            record.history.push(mark);
        }
        record.passed.insert(mark.station);
        record.attempts += u16::from(mark.station == Station::Distributed);
        if mark.station == Station::Failed {
            record.failures += 1;
            self.events.failed += tally;
        }
        if mark.station == Station::Retried {
            self.events.retried += tally;
        }
        if record.last.is_none_or(|last| mark.station.may_follow(last.station)) {
            record.last = Some(Mark { node: mark.node.or(record.last.and_then(|last| last.node)), ..mark });
        }
        true
    }
}

#[derive(Debug, Clone)]
enum Op {
    Conceive(u32, u64),
    Mark(u32, u64, Station, Option<NodeId>),
    Read(u32, u64, u64),
    Lose(u32, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let station = prop::sample::select(&Station::ALL[..]);
    let node = prop::option::of((0..3_u128).prop_map(NodeId));
    prop_oneof![
        2 => (0..2_u32, 0..12_u64).prop_map(|(lane, sequence)| Op::Conceive(lane, sequence)),
        4 => (0..2_u32, 0..12_u64, station, node).prop_map(|(lane, sequence, station, node)| Op::Mark(lane, sequence, station, node)),
        1 => (0..2_u32, 0..12_u64, 0..9_u64).prop_map(|(lane, sequence, entries)| Op::Read(lane, sequence, entries)),
        1 => (0..2_u32, 0..12_u64).prop_map(|(lane, sequence)| Op::Lose(lane, sequence)),
    ]
}

/// Applies the same to both, and compares what they answer.
fn apply(ledger: &mut Ledger, model: &mut Model, at: u64, op: &Op) {
    match *op {
        Op::Conceive(lane, sequence) => {
            assert_eq!(ledger.conceive(chunk(lane, sequence)).is_ok(), model.conceive(chunk(lane, sequence)));
        }
        Op::Mark(lane, sequence, station, node) => {
            let taken = ledger.mark(&chunk(lane, sequence).id, station, node, at).is_ok();
            assert_eq!(taken, model.mark((lane, sequence), Mark { station, node, at }));
        }
        Op::Read(lane, sequence, entries) => {
            let taken = ledger.read(&chunk(lane, sequence).id, entries, 1).is_ok();
            let record = model
                .receipts
                .get_mut(&(lane, sequence))
                .filter(|record| record.read.is_none() || !record.last.is_some_and(|last| last.station.is_final()));
            assert_eq!(taken, record.is_some());
            record.into_iter().for_each(|record| record.read = Some(Read { entries, bytes: 1 }));
        }
        Op::Lose(lane, sequence) => {
            let taken = ledger.lose(&chunk(lane, sequence).id).is_ok();
            let record = model.receipts.get_mut(&(lane, sequence));
            assert_eq!(taken, record.is_some());
            record.into_iter().for_each(|record| record.losses += 1);
        }
    }
}

fn assert_same(ledger: &Ledger, model: &Model) {
    let records: Vec<ReceiptRecord> = ledger.iter().map(|receipt| receipt.to_record()).collect();
    let expected: Vec<ReceiptRecord> = model.receipts.values().cloned().collect();
    assert_eq!(records, expected);
    assert_eq!(ledger.len(), u64::try_from(expected.len()).unwrap());
    for station in Station::ALL {
        let at = expected.iter().filter(|record| record.last.is_some_and(|last| last.station == station)).count();
        assert_eq!(ledger.count(station), u64::try_from(at).unwrap(), "{station}");
    }
    let open = expected.iter().filter(|record| record.last.is_none_or(|last| !last.station.is_final())).count();
    assert_eq!(ledger.open(), u64::try_from(open).unwrap());
    assert_eq!(*ledger.events(), model.events);
    assert_eq!(ledger.conflicts().0, model.conflicts);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_ledger_knows_what_a_plain_map_knows(ops in prop::collection::vec(op(), 0..120)) {
        let (mut ledger, mut model) = (Ledger::new(STEP), Model::default());
        for (at, op) in (0..).zip(&ops) {
            apply(&mut ledger, &mut model, at, op);
        }
        assert_same(&ledger, &model);

        let json = serde_json::to_string(&ledger).unwrap();
        assert_same(&serde_json::from_str(&json).unwrap(), &model);
        let bytes = bincode::serde::encode_to_vec(&ledger, bincode::config::standard()).unwrap();
        let (restored, _) = bincode::serde::decode_from_slice::<Ledger, _>(&bytes, bincode::config::standard()).unwrap();
        assert_same(&restored, &model);
        prop_assert_eq!(restored.conflicts(), ledger.conflicts());
    }

    #[test]
    fn pages_put_together_are_the_filtered_whole(
        ops in prop::collection::vec(op(), 0..120),
        station in prop::option::of(prop::sample::select(&Station::ALL[..])),
        node in prop::option::of((0..4_u128).prop_map(NodeId)),
        open in any::<bool>(),
        limit in 1..5_usize,
    ) {
        let (mut ledger, mut model) = (Ledger::new(STEP), Model::default());
        for (at, op) in (0..).zip(&ops) {
            apply(&mut ledger, &mut model, at, op);
        }
        let expected: Vec<ReceiptRecord> = model.receipts.values().filter(|record| {
            let last = record.last;
            station.is_none_or(|station| last.is_some_and(|last| last.station == station))
                && node.is_none_or(|node| last.is_some_and(|last| last.node == Some(node)))
                && (!open || last.is_none_or(|last| !last.station.is_final()))
        }).cloned().collect();
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let Page { receipts, next } = ledger.page(Filter { station, node, open }, after.as_ref(), limit);
            prop_assert!(receipts.len() <= limit);
            paged.extend(receipts);
            after = next;
            if after.is_none() {
                break;
            }
        }
        prop_assert_eq!(paged, expected);
    }
}
