//! What the worker's deciding code does about an exchange: what comes of it, what is given to compute threads, what is told.

use elastic_flow_receipt::NodeId;
use elastic_flow_wire::message::{
    Assignment, ExchangeNotice, FailureKind, Message, Outcome, PartitionAssignment, Segment, TaskResult,
};

use super::core::{Effect, Program, WorkerCore, Working};
use super::exchange::{Exchange, ExchangeId, Ready, bytes_of, exchange_of, id_of};

/// Bytes of parcels of an exchange that is not known yet, at most: what comes beyond is dropped, and given again by its producer.
const EARLY_BYTES_MAX: u64 = 64 << 20;

impl WorkerCore {
    /// An exchange begins, or begins anew: what is here of an earlier one is not wanted any more.
    pub(super) fn on_exchange(&mut self, notice: ExchangeNotice, out: &mut Vec<Effect>) {
        let id = id_of(&notice);
        if self.exchange.as_ref().is_some_and(|it| it.id >= id) {
            return;
        }
        if let Some(before) = self.exchange.take() {
            before.end(out);
        }
        let exchange = self.exchange.insert(Exchange::begin(notice, self.node, out));
        self.early_bytes = 0;
        for (node, parcels) in std::mem::take(&mut self.early) {
            if exchange_of(&parcels) == id {
                exchange.take(node, parcels, out);
            }
        }
    }

    pub(super) fn on_partition(&mut self, assignment: PartitionAssignment) {
        let (step, epoch) = (assignment.receipt.step, assignment.attempt.epoch);
        let id = ExchangeId { step, epoch, generation: assignment.generation };
        if !self.programs.contains_key(&step) {
            return; // its notice was lost: the heartbeat shows that the attempt is not here, and both come again
        }
        if let Some(exchange) = self.current(id) {
            exchange.want(assignment);
        }
    }

    pub(super) fn on_peer_message(&mut self, node: NodeId, message: Message, out: &mut Vec<Effect>) {
        match message {
            Message::Parcels(parcels) => {
                let id = exchange_of(&parcels);
                let known = self.exchange.as_ref().map(|it| it.id).or(self.ended);
                if let Some(exchange) = self.current(id) {
                    exchange.take(node, parcels, out);
                } else if known < Some(id) && self.early_bytes < EARLY_BYTES_MAX {
                    self.early_bytes = self.early_bytes.saturating_add(bytes_of(&parcels));
                    self.early.push((node, parcels));
                }
            }
            Message::Taken(taken) => {
                let id = ExchangeId { step: taken.step, epoch: taken.attempt.epoch, generation: taken.generation };
                if let Some(exchange) = self.current(id) {
                    exchange.on_taken(node, taken.attempt);
                }
            }
            // The transport lets nothing else through.
            Message::Notice(_)
            | Message::Assign(_)
            | Message::Ack(_)
            | Message::Revoke(_)
            | Message::Release(_)
            | Message::Result(_)
            | Message::Heartbeat(_)
            | Message::Credit(_)
            | Message::Draining
            | Message::Goodbye(_)
            | Message::Holding(_)
            | Message::Look(_)
            | Message::Found(_)
            | Message::Exchange(_)
            | Message::Partition(_)
            | Message::Unreached(_) => {}
        }
    }

    pub(super) fn current(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        self.exchange.as_mut().filter(|it| it.id == id)
    }

    /// The exchange that an assignment's output goes into.
    pub(super) fn exchange_for(&self, assignment: &Assignment) -> Option<&Exchange> {
        let id =
            ExchangeId { step: assignment.step, epoch: assignment.attempt.epoch, generation: assignment.generation };
        self.exchange.as_ref().filter(|it| it.id == id)
    }

    /// The output of a finished task, or of a partition, on its way to the owners of the partitions that it is for, if it is for
    /// an exchange: the master gets sums.
    pub(super) fn exchanged(&mut self, mut result: TaskResult, out: &mut Vec<Effect>) -> TaskResult {
        let stage = result.stage;
        let is_given = |segments: &[Segment]| stage.0 == 0 || segments.iter().any(|it| it.receipt.stage > stage);
        let is_given = match &result.outcome {
            Outcome::Done { segments, .. } => result.generation != 0 && is_given(segments),
            Outcome::Failed { .. } | Outcome::NotHere { .. } | Outcome::HandedBack | Outcome::Exchanged { .. } => false,
        };
        if !is_given {
            return result;
        }
        let Outcome::Done { chunks, segments, nanos, skips } = result.outcome else { return result };
        let id = ExchangeId { step: result.step, epoch: result.attempt.epoch, generation: result.generation };
        result.outcome = match self.current(id) {
            Some(exchange) if let Some(message) = exchange.too_much(&segments) => {
                let (kind, receipt, log_tail) = (FailureKind::Resource, result.receipts.first().copied(), Vec::new());
                Outcome::Failed { kind, receipt, item: None, message, log_tail }
            }
            Some(exchange) => {
                let sums = exchange.give(result.attempt, segments, out);
                Outcome::Exchanged { chunks, sums, nanos, skips }
            }
            // Of an exchange that has been begun anew since: nobody wants it.
            None => Outcome::HandedBack,
        };
        result
    }

    /// Says of each partition that is wanted of a worker which cannot run the program that it cannot.
    fn refuse_partitions(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        let Some(Program::Refused(message)) = self.programs.get(&exchange.id.step) else { return };
        let message = message.clone();
        for assignment in exchange.take_wanted() {
            let (kind, receipt, log_tail) = (FailureKind::Program, Some(assignment.receipt), Vec::new());
            let outcome = Outcome::Failed { kind, receipt, item: None, message: message.clone(), log_tail };
            self.hold(answer_partition(&assignment, outcome));
        }
    }

    /// Gives partitions to free compute threads: merging comes before the next task of the source.
    pub(super) fn start_partitions(&mut self, out: &mut Vec<Effect>) {
        self.refuse_partitions();
        while self.busy() < self.slots
            && let Some(exchange) = &mut self.exchange
            && matches!(self.programs.get(&exchange.id.step), Some(Program::Ready))
            && let Some(ready) = exchange.next_ready()
        {
            let (id, partitions) = (exchange.id, exchange.partitions);
            match ready {
                Ready::Merge(partition, segments) => {
                    self.merging = self.merging.saturating_add(1);
                    out.push(Effect::Merge { exchange: id, partition, segments });
                }
                Ready::Finish(assignment) => {
                    let receipts = vec![assignment.receipt];
                    self.working.insert(assignment.attempt, Working { step: id.step, receipts });
                    out.push(Effect::FinishPartition(id, assignment, partitions));
                }
                Ready::Fail(assignment, message) => {
                    let (kind, receipt, log_tail) = (FailureKind::Resource, Some(assignment.receipt), Vec::new());
                    let outcome = Outcome::Failed { kind, receipt, item: None, message, log_tail };
                    self.hold(answer_partition(&assignment, outcome));
                }
                Ready::Differs(assignment, message) => {
                    let outcome = Outcome::NotHere { receipts: vec![assignment.receipt], message };
                    self.hold(answer_partition(&assignment, outcome));
                }
            }
        }
    }
}

/// The result of a partition.
#[must_use]
pub fn answer_partition(assignment: &PartitionAssignment, outcome: Outcome) -> TaskResult {
    TaskResult {
        attempt: assignment.attempt,
        step: assignment.receipt.step,
        stage: assignment.receipt.stage,
        generation: assignment.generation,
        receipts: vec![assignment.receipt],
        outcome,
    }
}
