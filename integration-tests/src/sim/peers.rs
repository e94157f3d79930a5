//! The links between simulated workers, and the partitions that they own.

use elastic_flow_orchestrator::worker::{Event, ExchangeId, answer_partition};
use elastic_flow_receipt::NodeId;
use elastic_flow_wire::message::{Message, Outcome, PartitionAssignment, PartitionId, PartitionSum, Segment};

use super::worker::by_partition;
use super::world::{What, World};

impl World {
    fn index_of_node(&self, node: NodeId) -> Option<usize> {
        self.workers.iter().position(|it| it.as_ref().is_some_and(|it| it.node == node))
    }

    pub(super) fn merge_partition(
        &mut self,
        index: usize,
        life: u64,
        (exchange, partition): (ExchangeId, PartitionId),
        segments: &[Segment],
    ) -> Result<(), String> {
        let Some(worker) = self.workers[index].as_mut() else { return Ok(()) };
        let numbers = worker.merged.entry((exchange, partition)).or_default();
        let mut merged = PartitionSum::default();
        for segment in segments {
            if PartitionId::of(&segment.receipt) != partition {
                return Err(format!("a parcel of {} is merged into {partition}", PartitionId::of(&segment.receipt)));
            }
            merged.add(&PartitionSum::of(segment));
            numbers.extend(elastic_flow_wire::decode::<Vec<u64>>(&segment.body).map_err(|it| it.to_string())?);
        }
        let event = Event::Merged { exchange, partition, merged, failed: None };
        let most = self.plan.work_ms;
        self.later(1, most, What::WorkerEvent { index, life, event: Box::new(event) });
        Ok(())
    }

    pub(super) fn finish_partition(
        &mut self,
        index: usize,
        life: u64,
        (exchange, partitions): (ExchangeId, u32),
        assignment: &PartitionAssignment,
    ) {
        let Some(worker) = self.workers[index].as_mut() else { return };
        let receipt = assignment.receipt;
        let numbers = worker.merged.remove(&(exchange, PartitionId::of(&receipt))).unwrap_or_default();
        let planned = self.plan.steps.iter().zip(0..).find(|(_, at)| self.submitted.get(at) == Some(&exchange.step));
        let is_last = planned.is_none_or(|(step, _)| receipt.stage.0 >= step.exchanged_stages);
        let body = bytes::Bytes::from(elastic_flow_wire::encode_to_vec(&numbers).unwrap_or_default());
        let segments = match is_last {
            true => vec![Segment { receipt, rows: numbers.len() as u64, digest: 0, body }],
            false => by_partition(receipt, &numbers, partitions),
        };
        let outcome = Outcome::Done { chunks: Vec::new(), segments, nanos: 1, skips: Vec::new() };
        let event = Event::Finished(answer_partition(assignment, outcome));
        self.summary.partitions += 1;
        let most = self.plan.work_ms;
        self.later(1, most, What::WorkerEvent { index, life, event: Box::new(event) });
    }

    pub(super) fn want_peer(&mut self, index: usize, to: NodeId) {
        let Some(worker) = self.workers[index].as_mut() else { return };
        worker.peers.insert(to, false);
        let from = worker.node;
        self.later(1, 50, What::PeerConnect { from, to });
    }

    /// A worker dials another one, for as long as it takes.
    pub(super) fn peer_connect(&mut self, from: NodeId, to: NodeId) -> Result<(), String> {
        let Some(index) = self.index_of_node(from) else { return Ok(()) };
        let there = self.index_of_node(to).is_some();
        let wanted = self.workers[index].as_mut().and_then(|it| it.peers.get_mut(&to));
        match wanted {
            Some(up) if !*up && there => {
                *up = true;
                self.worker_event(index, Event::PeerUp(to))
            }
            Some(up) if !*up => {
                self.later(100, 1_000, What::PeerConnect { from, to });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn peer_lost(&mut self, from: NodeId, to: NodeId) -> Result<(), String> {
        let Some(index) = self.index_of_node(from) else { return Ok(()) };
        let up = self.workers[index].as_mut().and_then(|it| it.peers.get_mut(&to)).filter(|it| **it);
        let Some(up) = up else { return Ok(()) };
        *up = false;
        self.later(10, 1_000, What::PeerConnect { from, to });
        self.worker_event(index, Event::PeerDown(to))
    }

    /// A worker is gone: those that were connected to it find out.
    pub(super) fn lose_peer(&mut self, to: NodeId) {
        let connected = self.workers.iter().flatten().filter(|it| it.peers.contains_key(&to));
        let froms: Vec<NodeId> = connected.map(|it| it.node).collect();
        for from in froms {
            self.later(0, 5_000, What::PeerLost { from, to });
        }
    }

    /// The links of a worker to others break.
    pub(super) fn cut_peers(&mut self, index: usize) {
        let Some(worker) = self.workers[index].as_ref() else { return };
        let from = worker.node;
        let peers: Vec<NodeId> = worker.peers.keys().copied().collect();
        for to in peers {
            self.summary.peer_cuts += 1;
            self.later(0, 1_000, What::PeerLost { from, to });
        }
    }

    pub(super) fn send_peer(&mut self, index: usize, to: NodeId, message: Message) {
        let Some(from) = self.workers[index].as_ref().map(|it| it.node) else { return };
        self.on_the_way(What::ToPeer { dialler: from, from, to, message: Box::new(message) });
    }

    pub(super) fn reply_peer(&mut self, index: usize, to: NodeId, message: Message) {
        let Some(from) = self.workers[index].as_ref().map(|it| it.node) else { return };
        self.on_the_way(What::ToPeer { dialler: to, from, to, message: Box::new(message) });
    }

    fn on_the_way(&mut self, what: What) {
        if let Some(what) = self.disturbed(what) {
            self.later(1, 6, what);
        }
    }

    /// A message arrives if its link is up, on both ends.
    pub(super) fn deliver_to_peer(
        &mut self,
        dialler: NodeId,
        from: NodeId,
        to: NodeId,
        message: Message,
    ) -> Result<(), String> {
        let other = if dialler == from { to } else { from };
        let up = self.index_of_node(dialler).and_then(|it| self.workers[it].as_ref()?.peers.get(&other).copied());
        match self.index_of_node(to).filter(|_| up == Some(true)) {
            Some(index) => self.worker_event(index, Event::PeerMessage(from, message)),
            None => Ok(()),
        }
    }
}
