//! Workers are shown by their names: after they are gone, in the next life of the master, and in accounts from the store.

use elastic_flow_receipt::{Audit, NodeId, Station, StepId};

use super::account::Account;
use super::effects::Event;
use super::rejoin_tests::{Bench, at_work};
use crate::api::ReceiptFilter;
use crate::journal::Record;

const STEP: StepId = StepId(1);

/// A master whose first worker did a chunk; it and three more were lost with the next one, which is set aside for that.
fn after_losses() -> Bench {
    let (mut bench, first) = at_work();
    bench.done(1, &first);
    for node in 1..=4 {
        if node > 1 {
            bench.join(node);
            bench.holding(node, &[]);
        }
        assert_eq!(bench.given(), [1]);
        bench.on(Event::NodeDown { node: NodeId(node), reason: "gone".to_owned() });
    }
    bench
}

fn audit(bench: &Bench) -> Audit {
    bench.core.audit(STEP).unwrap()
}

/// Where the first two chunks were last, as `receipts` lists them.
fn listed(bench: &Bench) -> Vec<Option<String>> {
    let receipts = bench.core.receipts(STEP, &ReceiptFilter { limit: 2, ..ReceiptFilter::default() }).unwrap().unwrap();
    receipts.into_iter().map(|it| it.node).collect()
}

fn assert_named(bench: &Bench) {
    let audit = audit(bench);
    let stopped = &audit.stopped.by_node[0];
    assert_eq!((stopped.node, stopped.sum.receipts), (Some(NodeId(4)), 1));
    assert_eq!(audit.nodes.get(&NodeId(4)).map(String::as_str), Some("w4"));
    let text = audit.to_string();
    assert!(text.contains("\n  1 receipt, 0 entries, 1 bytes on w4\n"), "{text}");
    assert!(!text.contains(&NodeId(4).to_string()), "{text}");
    assert_eq!(listed(bench), [Some("w1".to_owned()), Some("w4".to_owned())]);
}

#[test]
fn a_worker_that_is_gone_keeps_its_name_in_audit_and_receipts() {
    let bench = after_losses();
    assert_named(&bench);
    let named = bench
        .records
        .iter()
        .find_map(|it| if let Record::SetAside(it) = it { Some((it.node.as_str(), it.incarnation)) } else { None });
    assert_eq!(named, Some(("w4", Some(NodeId(4)))), "the journal has it too");
}

#[test]
fn the_next_master_knows_the_names_from_the_journal() {
    let bench = after_losses();
    let next = Bench::over(bench.records, 2);
    assert_named(&next);
    let last = audit(&next).stopped.receipts[0].last.unwrap();
    assert_eq!((last.station, last.node), (Station::SetAside, Some(NodeId(4))));
}

#[test]
fn an_account_keeps_the_names_in_the_store() {
    let mut bench = after_losses();
    bench.join(5);
    bench.holding(5, &[]);
    for _ in 2..4 {
        let (_, assignment) = bench.assigned.remove(0);
        bench.done(5, &assignment);
    }
    let account = bench.core.accounts.get(&STEP).unwrap();
    let bytes = elastic_flow_wire::encode_to_vec(account.as_ref()).unwrap();
    let account: Account = elastic_flow_wire::decode(&bytes).unwrap();
    assert_eq!([1, 4, 5].map(|it| account.name_of(NodeId(it))), ["w1", "w4", "w5"]);
    assert_eq!(account.name_of(NodeId(9)), NodeId(9).to_string(), "what is not known is shown by its incarnation");
    assert!(account.audit().to_string().contains(" on w4 "), "{}", account.audit());
}
