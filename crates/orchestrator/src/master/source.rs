//! The thread that opens steps, cuts their sources, and ships what workers do not have.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use elastic_flow_dataflow::seam::{Aggregator, Cover, Cut, Cutter};
use elastic_flow_dataflow::source::{
    Border, ItemBatches, ResolvedSource, ResumableCutter, SourceCutter, Suppliers, ship,
};
use elastic_flow_queue::StepErrorKind;
use elastic_flow_receipt::{Earlier, ReceiptId, StepId};
use elastic_flow_store::Store;
use elastic_flow_wire::message::{Payload, PayloadKind};
use elastic_flow_wire::with_causes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::account::Account;
use super::effects::{Before, Cause, Event, Open, Opened};
use crate::programs::Programs;

/// Jobs that wait: the core asks for one cut at a time, ships a chunk once, and opens one step.
const JOBS: usize = 1_024;
/// Bytes of a split that the master ships, at most: they have to fit into a message.
const SHIP_BYTES_MAX: u64 = 256 << 20;
/// The name of a step's account in the store.
pub(crate) const ACCOUNT: &str = "account";
/// The name of a step's aggregate in the store.
pub(crate) const RESULT: &str = "result";
/// The name of a step's source in the store, kept where it was not cut to its end.
pub(crate) const REST: &str = "source";

/// A step's source on its way through journal and queue: opaque to the deciding code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepSource {
    /// What was found at submission.
    pub(super) resolved: ResolvedSource,
    /// Names iterators that the caller handed over.
    pub(super) handed_over: Option<u64>,
    /// The registered window by which it is cut. A step keeps it, whatever a later master is configured to, so that the rest of a
    /// source, and what is replayed of it, is cut like its beginning.
    pub(super) window: Option<String>,
}

impl StepSource {
    pub(super) fn encode(&self) -> Result<Bytes, String> {
        elastic_flow_wire::encode_to_vec(self).map(Bytes::from).map_err(|it| it.to_string())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        elastic_flow_wire::decode(bytes).map_err(|it| format!("the step's source does not decode: {it}"))
    }
}

/// Iterators that callers handed over, by a number of their own, until their step takes them.
#[derive(Default)]
pub(super) struct HandedOver {
    items: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    last: u64,
    items: BTreeMap<u64, Box<dyn ItemBatches>>,
}

impl HandedOver {
    pub(super) fn put(&self, items: Box<dyn ItemBatches>) -> u64 {
        let mut inner = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last += 1;
        let number = inner.last;
        inner.items.insert(number, items);
        number
    }

    fn take(&self, number: u64) -> Option<Box<dyn ItemBatches>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).items.remove(&number)
    }
}

impl std::fmt::Debug for HandedOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandedOver").finish_non_exhaustive()
    }
}

/// What the thread is to do.
#[derive(Debug)]
pub(super) enum Job {
    Open(Box<Open>),
    Cut { step: StepId, chunks: u32, target_bytes: u64, target_items: u64 },
    Ship(ReceiptId, Payload),
}

/// What the thread answers.
pub(super) enum Answer {
    Event(Event),
    Opened(StepId, Result<(Opened, Box<dyn Aggregator>), Cause>),
}

/// The thread and its queue.
#[derive(Debug)]
pub(super) struct SourceThread {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl SourceThread {
    pub(super) fn start(
        programs: Arc<Programs>,
        store: Arc<dyn Store>,
        handed_over: Arc<HandedOver>,
        answers: mpsc::Sender<Answer>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS);
        let mut worker = Source { programs, store, handed_over, answers, open: None };
        let thread = std::thread::Builder::new().name("source".to_owned()).spawn(move || worker.run(&queue))?;
        Ok(Self { jobs, thread })
    }

    pub(super) fn try_push(&self, job: Job) -> Option<Job> {
        self.jobs.try_send(job).err().map(|error| match error {
            std::sync::mpsc::TrySendError::Full(job) | std::sync::mpsc::TrySendError::Disconnected(job) => job,
        })
    }

    /// Waits for the thread. Blocks as long as the source does: standard input may do so for ever, so nobody has to.
    pub(super) fn detach(self) {
        drop(self.jobs);
        drop(self.thread);
    }
}

struct Source {
    programs: Arc<Programs>,
    store: Arc<dyn Store>,
    handed_over: Arc<HandedOver>,
    answers: mpsc::Sender<Answer>,
    open: Option<(StepId, SourceCutter)>,
}

impl Source {
    fn run(&mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            let answer = match job {
                Job::Open(open) => {
                    let step = open.step;
                    if let Some(question) = question_of_servers(&open) {
                        if self.answers.blocking_send(Answer::Event(Event::AskServers(step, question))).is_err() {
                            return;
                        }
                        continue;
                    }
                    let opened = catch_unwind(AssertUnwindSafe(|| self.open(&open)));
                    Answer::Opened(
                        step,
                        opened.unwrap_or_else(|_| {
                            Err(Cause::new(StepErrorKind::Program, "the program panicked while it was prepared"))
                        }),
                    )
                }
                Job::Cut { step, chunks, target_bytes, target_items } => {
                    let cut = catch_unwind(AssertUnwindSafe(|| self.cut(step, chunks, target_bytes, target_items)));
                    Answer::Event(cut.unwrap_or_else(|_| {
                        let message = "the source's iterator or window panicked";
                        Event::CutFailed(step, Cause::new(StepErrorKind::Input, message))
                    }))
                }
                Job::Ship(receipt, payload) => {
                    let shipped = ship(&payload, SHIP_BYTES_MAX).map_err(|it| with_causes(&it));
                    Answer::Event(Event::Shipped(receipt, shipped))
                }
            };
            if self.answers.blocking_send(answer).is_err() {
                return;
            }
        }
    }

    fn open(&mut self, open: &Open) -> Result<(Opened, Box<dyn Aggregator>), Cause> {
        let Open { step, spec, cut_before, exhausted, .. } = open;
        let program = self.programs.get(&spec.program);
        let program = program.ok_or_else(|| of_program(self.programs.unknown(&spec.program)))?;
        let prepared = crate::programs::prepare(program.as_ref(), &spec.params).map_err(of_program)?;
        let mut aggregator = (prepared.aggregator)();
        let mut opened = Opened {
            plan: prepared.plan.digest(),
            exchanged_stages: u16::try_from(prepared.partitioned.len()).unwrap_or(u16::MAX),
            parts: Vec::new(),
            replays: Vec::new(),
            cuts: true,
            refilled: Vec::new(),
            source: open.source.clone(),
            cut_earlier: Vec::new(),
            earlier: None,
            expanded: false,
            question: None,
        };
        if let Some(old) = spec.replay_of {
            let rest = self.replay(old, aggregator.as_mut(), &mut opened)?;
            let aggregated = opened.earlier.as_ref().map_or(0, |it| it.replayed().aggregated.receipts);
            if aggregated > 0 && !prepared.plan.is_resumable() {
                return Err(of_program(format!(
                    "step {old} has run operators over what its workers exchanged, which saw no more than what it had: its result \
                     cannot be added to; submit the step anew"
                )));
            }
            opened.cuts = rest.is_some();
            opened.source = rest.unwrap_or_default();
        }
        let mut source = StepSource::decode(&opened.source).map_err(of_input)?;
        if !open.answers.is_empty() {
            let expanded = source.resolved.with_answers(&open.answers);
            source.resolved = expanded.map_err(|it| of_input(with_causes(&it)))?;
            opened.source = source.encode().map_err(of_input)?;
            opened.expanded = true;
        }
        opened.question = source.resolved.question_of_files().map_err(|it| of_input(with_causes(&it)))?;
        if opened.parts.is_empty() {
            opened.parts = source.resolved.source_parts();
        }
        let earlier = |covers: &Vec<Cover>| Border { covers: covers.clone(), digest: None, wanted: false };
        let mut borders: Vec<Border> = opened.cut_earlier.iter().map(earlier).collect();
        let wanted = self.refill(cut_before, &mut opened)?;
        if *exhausted && wanted.is_empty() {
            // Everything is cut, and every payload is there: a source that cannot be read again is not needed.
            self.open = None;
            return Ok((opened, aggregator));
        }
        let mut suppliers =
            Supply { programs: &self.programs, handed_over: &self.handed_over, number: source.handed_over };
        let mut cutter =
            SourceCutter::new(&source.resolved, &mut suppliers).map_err(|it| of_input(with_causes(&it)))?;
        let own: Vec<&Before> = cut_before.iter().filter(|it| it.from_source).collect();
        borders.extend(own.iter().map(|it| border(it, wanted.contains(&it.receipt))));
        let old = borders.len().saturating_sub(own.len());
        if !borders.is_empty() {
            let refilled = &mut opened.refilled;
            let mut again = |index: usize, cut: Cut| {
                if let Some(before) = index.checked_sub(old).and_then(|it| own.get(it)) {
                    refilled.push((before.receipt, cut.payload));
                }
            };
            cutter.resume(&borders, &mut again).map_err(|it| of_input(with_causes(&it)))?;
        }
        if !exhausted {
            self.set_window(&source, &mut cutter).map_err(of_program)?;
        }
        self.open = Some((*step, cutter));
        Ok((opened, aggregator))
    }

    /// What is cut from here on is cut by the window that the step was submitted under.
    fn set_window(&self, source: &StepSource, cutter: &mut SourceCutter) -> Result<(), String> {
        let Some(name) = source.window.as_deref() else { return Ok(()) };
        let window = self.programs.window(name).ok_or_else(|| {
            let unknown = self.programs.unknown_window(name);
            format!("{unknown}: the step is cut by the window that it was submitted under; register it, or submit the step anew")
        })?;
        cutter.set_window(window).map_err(|it| with_causes(&it))
    }

    /// What a replay starts from: the kept result, the chunks that are not in it, and what was never cut.
    fn replay(
        &self,
        old: StepId,
        aggregator: &mut dyn Aggregator,
        opened: &mut Opened,
    ) -> Result<Option<Bytes>, Cause> {
        let saved = self.store.get(old, RESULT).map_err(of_store)?;
        let account = self.take_account(old, saved.is_some(), opened)?;
        if let Some(saved) = saved {
            aggregator.restore(&saved).map_err(|it| {
                of_program(format!("the kept result of step {old} does not fit this program: {}", with_causes(&it)))
            })?;
        }
        for payload in self.store.list(old).map_err(of_store)? {
            let Ok(receipt) = payload.name.parse::<ReceiptId>() else { continue };
            // Deletions are not synced: what was kept of a chunk before it was done may be there again after a power cut.
            if account.as_ref().is_some_and(|it| it.has_aggregated(&receipt)) {
                continue;
            }
            let Some(bytes) = self.store.get(old, &payload.name).map_err(of_store)? else { continue };
            let cut: Cut = elastic_flow_wire::decode(&bytes)
                .map_err(|it| not_decoded(&format!("the payload of {receipt}"), &it))?;
            opened.replays.push((receipt, cut));
        }
        opened.replays.sort_by_key(|(receipt, _)| receipt.sequence);
        let rest = self.store.get(old, REST).map_err(of_store)?;
        if opened.replays.is_empty() && rest.is_none() {
            let message = format!("nothing that step {old} left is kept any more; submit the step anew");
            return Err(Cause::new(StepErrorKind::NothingKept, message));
        }
        let Some(rest) = rest else { return Ok(None) };
        let (source, cut_earlier): (Bytes, Vec<Vec<Cover>>) = elastic_flow_wire::decode(&rest)
            .map_err(|it| not_decoded(&format!("what step {old} left of its source"), &it))?;
        opened.cut_earlier = cut_earlier;
        Ok(Some(source))
    }

    /// What the account of a replayed step says of its source, and of what is in its result. The account, if it is there.
    fn take_account(&self, old: StepId, has_result: bool, opened: &mut Opened) -> Result<Option<Account>, Cause> {
        let Some(bytes) = self.store.get(old, ACCOUNT).map_err(of_store)? else {
            opened.earlier = Some(Box::new(Earlier::unknown(old)));
            return Ok(None);
        };
        let account: Account =
            elastic_flow_wire::decode(&bytes).map_err(|it| not_decoded(&format!("the account of step {old}"), &it))?;
        let earlier = account.earlier_of_replay();
        let aggregated = earlier.replayed().aggregated.receipts;
        if aggregated > 0 && !has_result {
            let message = format!(
                "step {old} has no kept result, and {aggregated} of its chunks were in it alone; submit the step anew"
            );
            return Err(Cause::new(StepErrorKind::NothingKept, message));
        }
        opened.parts = account.parts().to_vec();
        opened.earlier = Some(Box::new(earlier));
        Ok(Some(account))
    }

    /// Payloads that a restart of the master has lost, from the store: those that were kept there, and those of a step that is
    /// replayed. What is not there is wanted from the source.
    fn refill(&self, cut_before: &[Before], opened: &mut Opened) -> Result<BTreeSet<ReceiptId>, Cause> {
        let mut wanted = BTreeSet::new();
        let mut replays = opened.replays.iter().map(|(_, cut)| cut.payload.clone()).collect::<Vec<_>>().into_iter();
        for before in cut_before {
            let replayed = if before.from_source { None } else { replays.next() };
            if !before.wanted {
                continue;
            }
            let kept = self.store.get(before.receipt.step, &before.receipt.to_string()).map_err(of_store)?;
            let kept = kept.map(|it| elastic_flow_wire::decode::<Cut>(&it).map(|it| it.payload)).transpose();
            let kept = kept.map_err(|it| not_decoded(&format!("the payload of {}", before.receipt), &it))?;
            match kept.or(replayed) {
                Some(payload) => opened.refilled.push((before.receipt, payload)),
                None => {
                    wanted.insert(before.receipt);
                }
            }
        }
        Ok(wanted)
    }

    fn cut(&mut self, step: StepId, chunks: u32, target_bytes: u64, target_items: u64) -> Event {
        let Some((_, cutter)) = self.open.as_mut().filter(|(open, _)| *open == step) else {
            return Event::CutFailed(step, Cause::new(StepErrorKind::Bug, "its source is not open: a bug"));
        };
        let mut cuts = Vec::new();
        let mut shipped = 0;
        for _ in 0..chunks.max(1) {
            match cutter.cut(target_bytes, target_items) {
                Ok(Some(cut)) => {
                    if cut.payload.kind != PayloadKind::Split {
                        shipped += cut.payload.body.len() as u64;
                    }
                    cuts.push(cut);
                    if shipped >= target_bytes.saturating_mul(4) {
                        break;
                    }
                }
                Ok(None) => return Event::Cut { step, cuts, exhausted: true },
                Err(error) => return Event::CutFailed(step, Cause::new(StepErrorKind::Input, with_causes(&error))),
            }
        }
        Event::Cut { step, cuts, exhausted: false }
    }
}

/// What the servers have to be asked before the step can be opened; none if they have answered, or there is nothing to ask.
fn question_of_servers(open: &Open) -> Option<Bytes> {
    if !open.answers.is_empty() {
        return None;
    }
    // What does not decode is said when it is opened.
    StepSource::decode(&open.source).ok()?.resolved.question_of_globs().ok()?
}

fn of_program(message: String) -> Cause {
    Cause::new(StepErrorKind::Program, message)
}

fn of_input(message: String) -> Cause {
    Cause::new(StepErrorKind::Input, message)
}

fn of_store(error: elastic_flow_store::StoreError) -> Cause {
    Cause::new(StepErrorKind::Store, with_causes(&error))
}

fn not_decoded(what: &str, error: &elastic_flow_wire::CodecError) -> Cause {
    Cause::new(StepErrorKind::Store, format!("{what} does not decode: {error}"))
}

fn border(before: &Before, wanted: bool) -> Border {
    let made_anew = before.cut.payload.kind == PayloadKind::Items;
    Border { covers: before.cut.covers.clone(), digest: made_anew.then_some(before.digest), wanted }
}

struct Supply<'a> {
    programs: &'a Programs,
    handed_over: &'a HandedOver,
    number: Option<u64>,
}

impl Suppliers for Supply<'_> {
    fn registered(&mut self, name: &str) -> Option<Box<dyn ItemBatches>> {
        self.programs.source(name).map(|make| make())
    }

    fn one_shot(&mut self, _input: u16) -> Option<Box<dyn ItemBatches>> {
        self.handed_over.take(self.number?)
    }
}
