//! A simulated worker: the real deciding code, user code with a virtual cost.

use std::collections::BTreeMap;

use elastic_flow_clock::Mono;
use elastic_flow_orchestrator::worker::{Effect, Event, ExchangeId, WorkerCore, answer};
use elastic_flow_receipt::{NodeId, ReceiptId, StageId};
use elastic_flow_wire::message::{
    Assignment, ChunkRead, FailureKind, Found, Look, Message, Outcome, PartitionId, Pulse, ReadFrom, Segment,
    TaskResult, digest,
};

use super::master::{ENTRIES, OF_SERVERS, read_body, server};
use super::plan::Lies;
use super::world::{Ids, What, World};

/// A worker that is up.
#[derive(Debug)]
pub(super) struct WorkerSim {
    pub(super) core: WorkerCore,
    pub(super) node: NodeId,
    pub(super) life: u64,
    /// Its view of the link to the master.
    pub(super) link: Option<u64>,
    pub(super) frozen_until: Mono,
    /// Workers that it is to be connected to, and whether it is.
    pub(super) peers: BTreeMap<NodeId, bool>,
    /// Chunks that are merged, by partition, of exchanges that are wanted.
    pub(super) merged: BTreeMap<(ExchangeId, PartitionId), Vec<u64>>,
}

impl World {
    pub(super) fn worker_event(&mut self, index: usize, event: Event) -> Result<(), String> {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        let mut effects = Vec::new();
        worker.core.handle(now, event, &mut effects);
        let (link, life) = (worker.link, worker.life);
        for effect in effects {
            match effect {
                Effect::Prepare(notice) => {
                    let event = Event::Prepared(notice.step, Ok(()));
                    self.later(1, 20, What::WorkerEvent { index, life, event: Box::new(event) });
                }
                Effect::Look(look) => {
                    let found = self.look(&look);
                    self.later(1, 200, What::WorkerEvent { index, life, event: Box::new(Event::Found(found)) });
                }
                Effect::Start(assignment, partitions) => {
                    let result = self.work(&assignment, partitions);
                    let most = self.plan.work_ms;
                    self.later(1, most, What::WorkerEvent { index, life, event: Box::new(Event::Finished(result)) });
                }
                Effect::Send(message) => {
                    if let Some(link) = link {
                        self.send(link, What::ToMaster { link, index, message: Box::new(message) });
                    }
                }
                Effect::Merge { exchange, partition, segments } => {
                    self.merge_partition(index, life, (exchange, partition), &segments)?;
                }
                Effect::FinishPartition(exchange, assignment, partitions) => {
                    self.finish_partition(index, life, (exchange, partitions), &assignment);
                }
                Effect::DropPartitions(exchange) => {
                    if let Some(worker) = self.workers[index].as_mut() {
                        worker.merged.retain(|(it, _), _| *it != exchange);
                    }
                }
                Effect::Connect { node: to, address } => {
                    if address != to.to_string() {
                        return Err(format!("{to} is dialled at {address}"));
                    }
                    self.want_peer(index, to);
                }
                Effect::Disconnect(to) => {
                    if let Some(worker) = self.workers[index].as_mut() {
                        worker.peers.remove(&to);
                    }
                }
                Effect::SendPeer(to, message) => self.send_peer(index, to, message),
                Effect::ReplyPeer(to, message) => self.reply_peer(index, to, message),
                Effect::Stop(_) | Effect::Forget(_) | Effect::Observe(_) | Effect::Left => {}
            }
        }
        Ok(())
    }

    /// Looks for files: those of a step may be there, or may not.
    fn look(&mut self, look: &Look) -> Found {
        let lies = self.plan.steps.iter().zip(0..).find(|(_, index)| self.submitted.get(index) == Some(&look.step));
        let absent = match lies.map(|(plan, _)| plan.lies) {
            Some(Lies::Files(lacking)) if self.rng.per_mille(lacking) => vec![0],
            _ => Vec::new(),
        };
        let listed = bytes::Bytes::from_static(if look.question == OF_SERVERS { b"mine" } else { b"" });
        Found { step: look.step, question: digest(&look.question), here: 1, absent, message: String::new(), listed }
    }

    /// Runs user code: reads every chunk of the task, or fails on one.
    fn work(&mut self, assignment: &Assignment, partitions: u32) -> TaskResult {
        let mut numbers = Vec::new();
        let mut chunks = Vec::new();
        for chunk in &assignment.chunks {
            let Some((step, number)) = read_body(&chunk.payload.body) else {
                let message = "simulated failure: the payload is not one of ours".to_owned();
                return answer(
                    assignment,
                    Outcome::Failed {
                        kind: FailureKind::Decode,
                        receipt: Some(chunk.receipt),
                        item: None,
                        message,
                        log_tail: vec![],
                    },
                );
            };
            let plan = &self.plan.steps[step];
            let fails = plan.poison.contains(&number) || self.rng.per_mille(plan.flaky);
            if fails {
                // Sometimes nobody knows on which chunk it was.
                let receipt = self.rng.chance(0.7).then_some(chunk.receipt);
                let message = format!("simulated failure on chunk {number}");
                return answer(
                    assignment,
                    Outcome::Failed { kind: FailureKind::User, receipt, item: Some(3), message, log_tail: vec![] },
                );
            }
            numbers.push(number);
            chunks.push(ChunkRead {
                receipt: chunk.receipt,
                entries: ENTRIES,
                bytes: ENTRIES,
                nanos: 1,
                from: ReadFrom::Place,
            });
        }
        let body = bytes::Bytes::from(elastic_flow_wire::encode_to_vec(&numbers).unwrap_or_default());
        let receipt = assignment.chunks[0].receipt;
        let segments = match partitions {
            0 => vec![Segment { receipt, rows: numbers.len() as u64, digest: 0, body }],
            partitions => by_partition(receipt, &numbers, partitions),
        };
        answer(assignment, Outcome::Done { chunks, segments, nanos: 1, skips: Vec::new() })
    }

    pub(super) fn start_worker(&mut self, index: usize) {
        if self.workers[index].is_some() {
            return;
        }
        let life = self.fresh_life();
        let node = Ids::node(index, life);
        let core =
            WorkerCore::new(server(index), node, self.plan.slots as usize, std::time::Duration::from_secs(2), false);
        let (peers, merged) = (BTreeMap::new(), BTreeMap::new());
        self.workers[index] = Some(WorkerSim { core, node, life, link: None, frozen_until: Mono::ZERO, peers, merged });
        self.later(0, 50, What::Connect { index, life });
        self.later(1, 250, What::WorkerTick { index, life });
        self.later(1, 1_000, What::Pulse { index, life });
    }

    pub(super) fn crash_worker(&mut self, index: usize) {
        let Some(gone) = self.workers[index].take() else { return };
        self.lose_peer(gone.node);
        self.summary.worker_crashes += 1;
        self.lose_link(index);
        self.later(10, 5_000, What::StartWorker(index));
    }

    /// The worker dials; a master that still holds its old link to this incarnation refuses.
    pub(super) fn connect(&mut self, index: usize, life: u64) -> Result<(), String> {
        let Some(worker) = self.workers[index].as_ref().filter(|it| it.life == life && it.link.is_none()) else {
            return Ok(());
        };
        let node = worker.node;
        let taken = self.master.as_ref().is_none_or(|it| it.links.values().any(|(_, known)| *known == node));
        if taken {
            self.later(100, 1_500, What::Connect { index, life });
            return Ok(());
        }
        let link = self.fresh_life();
        if let Some(worker) = self.workers[index].as_mut() {
            worker.link = Some(link);
        }
        self.node_up(index, link, node)?;
        self.worker_event(index, Event::Connected)
    }

    pub(super) fn pulse(&mut self, index: usize) {
        let Some(worker) = self.workers[index].as_ref() else { return };
        let Some(link) = worker.link else { return };
        let working = worker.core.holding().map(|it| (it, 0)).collect();
        let message = Message::Heartbeat(Pulse { working, ..Pulse::default() });
        self.send(link, What::ToMaster { link, index, message: Box::new(message) });
    }
}

/// What a task, or a partition, gives to the stage behind it: each chunk in one partition, and a row that counts nothing in another one.
pub(super) fn by_partition(first: ReceiptId, numbers: &[u64], partitions: u32) -> Vec<Segment> {
    let mut parts = BTreeMap::<u32, Vec<u64>>::new();
    for number in numbers {
        // Elsewhere in each stage, so that the chunks move on.
        let place = number + 3 * u64::from(first.stage.0);
        let partition = u32::try_from(place % u64::from(partitions)).unwrap_or(0);
        parts.entry(partition).or_default().push(*number);
        parts.entry((partition + 7) % partitions).or_default();
    }
    let segment = |(partition, numbers): (u32, Vec<u64>)| {
        let body = bytes::Bytes::from(elastic_flow_wire::encode_to_vec(&numbers).unwrap_or_default());
        let receipt = ReceiptId { partition, stage: StageId(first.stage.0 + 1), ..first };
        Segment { receipt, rows: numbers.len() as u64, digest: digest(&body), body }
    };
    parts.into_iter().map(segment).collect()
}
