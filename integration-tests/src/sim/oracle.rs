//! What must hold in every run, checked as it happens and at its end.

use std::collections::{BTreeMap, BTreeSet};

use elastic_flow_orchestrator::api::ReceiptFilter;
use elastic_flow_orchestrator::journal::Record;
use elastic_flow_orchestrator::master::{Account, MasterCore};
use elastic_flow_queue::{Step, StepState};
use elastic_flow_receipt::{Attempt, Filter, ReceiptId, Station, StepId};
use elastic_flow_wire::message::{Assignment, Message, Outcome, TaskResult};

use super::durable::Durable;
use super::master::{Kept, read_body};
use super::plan::StepPlan;

/// What a run showed to be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// Virtual milliseconds since the start of the run.
    pub at_ms: u64,
    /// What was violated.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {} at {} ms: {}", self.seed, self.at_ms, self.what)
    }
}

/// What a run did: numbers that show that the faults were there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events that were handled.
    pub events: u64,
    /// A number over all events: equal runs have equal ones.
    pub trace: u64,
    /// Messages lost, doubled, and delayed on purpose.
    pub dropped: u64,
    /// Messages delivered twice.
    pub doubled: u64,
    /// Messages delivered late and out of order.
    pub delayed: u64,
    /// Crashes of workers.
    pub worker_crashes: u64,
    /// Crashes of the master.
    pub master_crashes: u64,
    /// Journal records that a crash of the master tore off.
    pub torn_records: u64,
    /// Workers that stood still for a while.
    pub freezes: u64,
    /// Links that broke without a crash.
    pub cuts: u64,
    /// Workers that the monitor counted as not living for a while.
    pub not_living: u64,
    /// Chunks that were aggregated.
    pub aggregated: u64,
    /// Links between workers that broke.
    pub peer_cuts: u64,
    /// Partitions that were worked on.
    pub partitions: u64,
    /// Steps that completed.
    pub completed: u64,
    /// Steps that failed, for the reasons that they may.
    pub failed: u64,
    /// Steps that were cancelled.
    pub cancelled: u64,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.trace = self.trace.rotate_left(5) ^ other.trace;
        self.dropped += other.dropped;
        self.doubled += other.doubled;
        self.delayed += other.delayed;
        self.worker_crashes += other.worker_crashes;
        self.master_crashes += other.master_crashes;
        self.torn_records += other.torn_records;
        self.freezes += other.freezes;
        self.cuts += other.cuts;
        self.not_living += other.not_living;
        self.aggregated += other.aggregated;
        self.peer_cuts += other.peer_cuts;
        self.partitions += other.partitions;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
}

/// The observer of a run.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// What every attempt was given, in all lives of the master.
    attempts: BTreeMap<Attempt, Vec<ReceiptId>>,
    /// What every receipt stands for.
    receipts: BTreeMap<ReceiptId, Vec<u8>>,
    /// What no crash takes back.
    durable: Durable,
    /// Attempts of which a master has had a result: the receipts that a finished one covers, none of one that carries nothing.
    returned: BTreeMap<Attempt, Vec<ReceiptId>>,
}

impl Oracle {
    /// A message that the master sends.
    pub(super) fn sent(&mut self, message: &Message) -> Result<(), String> {
        match message {
            Message::Assign(assignment) => self.assigned(assignment),
            Message::Ack(attempt) => self.acknowledged(*attempt),
            Message::Release(step) if !self.durable.is_over(*step) => {
                Err(format!("workers were told that step {step} is over, which is not durable"))
            }
            _ => Ok(()),
        }
    }

    fn assigned(&mut self, assignment: &Assignment) -> Result<(), String> {
        let receipts: Vec<ReceiptId> = assignment.chunks.iter().map(|it| it.receipt).collect();
        if let Some(done) = receipts.iter().find(|it| self.durable.is_done(it)) {
            return Err(format!("{done} was assigned again although it is done"));
        }
        for chunk in &assignment.chunks {
            let body = self.receipts.entry(chunk.receipt).or_insert_with(|| chunk.payload.body.to_vec());
            if body[..] != chunk.payload.body[..] {
                return Err(format!("two chunks share the receipt {}", chunk.receipt));
            }
        }
        if self.attempts.insert(assignment.attempt, receipts).is_some() {
            return Err(format!("{:?} was given out twice", assignment.attempt));
        }
        Ok(())
    }

    /// A result that reaches the master.
    pub(super) fn returned(&mut self, result: &TaskResult) {
        let receipts = self.returned.entry(result.attempt).or_default();
        // What was exchanged is with the owners, and made again from the source if it is lost.
        if result.generation == 0 && matches!(result.outcome, Outcome::Done { .. }) {
            receipts.clone_from(&result.receipts);
        }
    }

    /// The worker lets go of what it has of the attempt: nothing of that may still be open after a crash.
    ///
    /// A result is taken whole or not at all, so its fate is settled with the first of its receipts: either its own record is
    /// durable, or another's is, and this one can only be dropped.
    fn acknowledged(&self, attempt: Attempt) -> Result<(), String> {
        let Some(receipts) = self.returned.get(&attempt) else {
            return Err(format!("{attempt:?} was acknowledged, and no result of it has come"));
        };
        if receipts.is_empty() || receipts.iter().any(|it| self.durable.settles(it)) {
            return Ok(());
        }
        Err(format!("the result of {attempt:?} was acknowledged before what became of it was in the journal"))
    }

    /// A record that is durable now.
    pub(super) fn durable(&mut self, record: &Record) -> Result<(), String> {
        self.durable.take(record)
    }

    /// A step's submission is acknowledged.
    pub(super) fn submitted(&self, step: StepId) -> Result<(), String> {
        if self.durable.states().contains_key(&step) {
            Ok(())
        } else {
            Err(format!("the submission of step {step} was acknowledged and is not durable"))
        }
    }

    /// A master begins a life on its disk: it has to know again all that is durable there, and nothing else.
    pub(super) fn recovered(&self, core: &MasterCore) -> Result<(), String> {
        for (step, state) in self.durable.states() {
            let found = core.queue().get(*step).map(|it| it.state);
            if found != Some(*state) {
                return Err(format!("step {step} was {state} before the crash and is {found:?} after it"));
            }
        }
        let Some(step) = core.running() else { return Ok(()) };
        let at = |station: Station| -> Result<BTreeSet<ReceiptId>, String> {
            let filter = ReceiptFilter { station: Some(station.name().to_owned()), ..ReceiptFilter::default() };
            let views = core.receipts(step, &filter).map_err(|it| it.to_string())?;
            Ok(views.into_iter().flatten().map(|it| it.id).collect())
        };
        self.as_durable(step, &at(Station::Aggregated)?, &at(Station::SetAside)?)
            .map_err(|it| format!("after the start of a master, step {step}: {it}"))
    }

    /// Every receipt whose end is durable has that end, and no other one has it.
    fn as_durable(
        &self,
        step: StepId,
        aggregated: &BTreeSet<ReceiptId>,
        set_aside: &BTreeSet<ReceiptId>,
    ) -> Result<(), String> {
        for (what, durable, found) in [
            ("aggregated", self.durable.done_of(step), aggregated),
            ("set aside", self.durable.set_aside_of(step), set_aside),
        ] {
            if let Some(lost) = durable.difference(found).next() {
                return Err(format!("{lost} is durably {what}, and not so in its ledger"));
            }
            if let Some(foreign) = found.difference(&durable).next() {
                return Err(format!("{foreign} is {what} in its ledger, and not so durably"));
            }
        }
        Ok(())
    }

    /// What must hold of a step that has ended, planned as `plan`, with what is kept of it.
    pub(super) fn ended(&self, plan: &StepPlan, step: &Step, kept: Option<&Kept>) -> Result<(), String> {
        let empty = BTreeMap::new();
        let counts = kept.map_or(&empty, |it| &it.counts);
        if let Some((chunk, times)) = counts.iter().find(|(_, times)| **times != 1) {
            return Err(format!("chunk {chunk} is in the aggregate {times} times"));
        }
        match kept {
            Some(kept) => self.audited(step.id, counts, &kept.account)?,
            None => self.as_durable(step.id, &BTreeSet::new(), &BTreeSet::new())?,
        }
        for receipt in self.durable.done_of(step.id) {
            let number = self.receipts.get(&receipt).and_then(|it| read_body(it)).map(|(_, number)| number);
            if number.is_none_or(|it| !counts.contains_key(&it)) {
                return Err(format!("{receipt} is durably done, and not in the result that is kept"));
            }
        }
        ends_as_it_may(plan, step, counts)
    }

    fn audited(&self, step: StepId, counts: &BTreeMap<u64, u32>, account: &Account) -> Result<(), String> {
        let audit = account.audit();
        if !audit.balance.balanced() || audit.rows.aggregated.receipts != counts.len() as u64 {
            return Err(format!("the audit disagrees with {} aggregated chunks: {}", counts.len(), audit.line()));
        }
        let at = |station| -> BTreeSet<ReceiptId> {
            let filter = Filter { station: Some(station), ..Filter::default() };
            account.ledger().select(filter, None).map(|it| it.id()).collect()
        };
        self.as_durable(step, &at(Station::Aggregated), &at(Station::SetAside))
    }
}

/// Whether the plan allows this end with these chunks in the result.
fn ends_as_it_may(plan: &StepPlan, step: &Step, counts: &BTreeMap<u64, u32>) -> Result<(), String> {
    let reason = step.reason.as_deref().unwrap_or_default();
    let missing: Vec<u64> = (0..plan.chunks).filter(|it| !counts.contains_key(it)).collect();
    let excuses = ["no worker", "suspected of killing", "simulated failure", "begun anew from the source (17"];
    let excused = excuses.iter().any(|known| reason.contains(known));
    match step.state {
        StepState::Completed if missing.is_empty() => Ok(()),
        StepState::Completed => Err(format!("a completed step lacks the chunks {missing:?}")),
        StepState::Failed if missing.is_empty() => Err(format!("a step failed with nothing missing: {reason}")),
        StepState::Failed if excused => Ok(()),
        StepState::Cancelled if plan.cancel_at_ms.is_some() => Ok(()),
        other => Err(format!("a step ended {other}: {reason}; missing {missing:?}")),
    }
}

#[cfg(test)]
mod tests {
    use elastic_flow_orchestrator::journal::{DoneRecord, SetAsideRecord};
    use elastic_flow_queue::{Caller, QueueRecord, StepEvent, StepSpec};
    use elastic_flow_receipt::{NodeId, StageId};
    use elastic_flow_wire::message::{ChunkRead, FailureKind, ReadFrom};

    use super::*;

    const STEP: StepId = StepId(1);

    fn receipt(sequence: u64) -> ReceiptId {
        ReceiptId { step: STEP, stage: StageId(0), round: 0, partition: 0, sequence, check: 0 }
    }

    const fn attempt(number: u64) -> Attempt {
        Attempt { epoch: 1, number }
    }

    fn done(number: u64, chunks: &[u64]) -> Record {
        let read =
            |it: &u64| ChunkRead { receipt: receipt(*it), entries: 1, bytes: 1, nanos: 1, from: ReadFrom::Place };
        Record::Done(DoneRecord {
            step: STEP,
            attempt: attempt(number),
            stage: StageId(0),
            generation: 0,
            node: "w".to_owned(),
            incarnation: NodeId(1),
            chunks: chunks.iter().map(read).collect(),
            segments: Vec::new(),
            skips: Vec::new(),
        })
    }

    fn set_aside(chunk: u64) -> Record {
        Record::SetAside(SetAsideRecord {
            receipt: receipt(chunk),
            kind: FailureKind::User,
            item: None,
            message: String::new(),
            node: "w".to_owned(),
            incarnation: Some(NodeId(1)),
            failures: 4,
        })
    }

    fn moved(event: StepEvent) -> Record {
        Record::Queue(QueueRecord::Transition { id: STEP, event, wall: 0, reason: None, by: None })
    }

    /// An oracle with a running step, of which these results have come: finished ones with chunks, failed ones without.
    fn oracle(results: &[(u64, &[u64])]) -> Oracle {
        let mut oracle = Oracle::default();
        let submitted = QueueRecord::Submitted { id: STEP, spec: StepSpec::new("sim"), wall: 0, by: Caller::local() };
        oracle.durable(&Record::Queue(submitted)).unwrap();
        oracle.durable(&moved(StepEvent::Start)).unwrap();
        for (number, chunks) in results {
            let outcome = match chunks {
                [] => Outcome::HandedBack,
                _ => Outcome::Done { chunks: Vec::new(), segments: Vec::new(), nanos: 1, skips: Vec::new() },
            };
            oracle.returned(&TaskResult {
                attempt: attempt(*number),
                step: STEP,
                stage: StageId(0),
                generation: 0,
                receipts: chunks.iter().map(|it| receipt(*it)).collect(),
                outcome,
            });
        }
        oracle
    }

    fn may_acknowledge(oracle: &mut Oracle, number: u64) -> bool {
        oracle.sent(&Message::Ack(attempt(number))).is_ok()
    }

    #[test]
    fn a_result_is_acknowledged_once_its_record_is_durable() {
        let mut oracle = oracle(&[(1, &[0, 1])]);
        assert!(!may_acknowledge(&mut oracle, 1));
        oracle.durable(&done(1, &[0, 1])).unwrap();
        assert!(may_acknowledge(&mut oracle, 1));
    }

    #[test]
    fn a_result_that_lost_is_acknowledged_once_what_it_lost_to_is_durable() {
        let mut oracle = oracle(&[(1, &[0, 1]), (2, &[1, 2]), (3, &[3])]);
        oracle.durable(&done(1, &[0, 1])).unwrap();
        assert!(may_acknowledge(&mut oracle, 2), "it can never be taken whole");
        assert!(!may_acknowledge(&mut oracle, 3));
        oracle.durable(&set_aside(3)).unwrap();
        assert!(may_acknowledge(&mut oracle, 3));
    }

    #[test]
    fn a_late_result_is_acknowledged_once_the_end_of_its_step_is_durable() {
        let mut oracle = oracle(&[(1, &[0])]);
        oracle.durable(&moved(StepEvent::RequestCancel)).unwrap();
        assert!(!may_acknowledge(&mut oracle, 1));
        assert!(oracle.sent(&Message::Release(STEP)).is_err());
        oracle.durable(&moved(StepEvent::Cancel)).unwrap();
        assert!(may_acknowledge(&mut oracle, 1));
        assert!(oracle.sent(&Message::Release(STEP)).is_ok());
    }

    #[test]
    fn what_carries_nothing_is_acknowledged_at_once_and_what_never_came_not_at_all() {
        let mut oracle = oracle(&[(1, &[])]);
        assert!(may_acknowledge(&mut oracle, 1));
        assert!(!may_acknowledge(&mut oracle, 2));
    }

    #[test]
    fn a_chunk_has_one_end_in_the_journal() {
        let mut oracle = oracle(&[]);
        oracle.durable(&done(1, &[0])).unwrap();
        assert!(oracle.durable(&done(2, &[0])).is_err());
        assert!(oracle.durable(&set_aside(0)).is_err());
    }

    #[test]
    fn a_ledger_has_the_ends_that_are_durable_and_no_others() {
        let mut oracle = oracle(&[]);
        oracle.durable(&done(1, &[0])).unwrap();
        oracle.durable(&set_aside(1)).unwrap();
        let set = |chunks: &[u64]| chunks.iter().map(|it| receipt(*it)).collect::<BTreeSet<_>>();
        assert_eq!(oracle.as_durable(STEP, &set(&[0]), &set(&[1])), Ok(()));
        assert!(oracle.as_durable(STEP, &set(&[]), &set(&[1])).is_err(), "lost");
        assert!(oracle.as_durable(STEP, &set(&[0]), &set(&[])).is_err(), "lost");
        assert!(oracle.as_durable(STEP, &set(&[0, 2]), &set(&[1])).is_err(), "not durable");
    }
}
