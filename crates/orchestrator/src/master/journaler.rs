//! The thread that writes the journal and the store: whatever is there when it looks is one batch, synced once (group commit).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use elastic_flow_clock::Clock;
use elastic_flow_dataflow::seam::Cut;
use elastic_flow_receipt::{ReceiptId, StepId};
use elastic_flow_store::{Durability, Store, StoreError};
use tokio::sync::mpsc;

use crate::journal::Record;

/// Jobs that wait for the thread; the loop never waits, so this bounds what it may put in before it stops taking work.
pub(super) const JOBS: usize = 4_096;
/// Records of one batch, at most.
const BATCH_RECORDS_MAX: usize = 4_096;
/// Bytes of one batch, about.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// A write, in the order of the loop's decisions.
#[derive(Debug)]
pub(super) enum Job {
    /// Journal this record, the one of this number.
    Append(u64, Record),
    /// Keep a chunk's payload.
    Keep(ReceiptId, Cut),
    /// Remove everything of a step.
    Forget(StepId),
    /// Remove the chunks' payloads of a step that completed; its result stays.
    Tidy(StepId),
    /// Write the journal anew: these records say all that is not over.
    Rewrite(Vec<Record>),
}

/// What the thread says.
#[derive(Debug)]
pub(super) enum Written {
    /// All records up to and with this number are in the journal.
    Up {
        /// The number.
        number: u64,
        /// Bytes of the batch.
        bytes: u64,
    },
    /// The store failed; the node has to stop.
    Failed(StoreError),
}

/// The thread and its queue.
#[derive(Debug)]
pub(super) struct Journaler {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl Journaler {
    pub(super) fn start(
        store: Arc<dyn Store>,
        durability: Durability,
        clock: Arc<dyn Clock>,
        written: mpsc::Sender<Written>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS);
        let writer = Writer { store, durability, clock, written };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(&queue))?;
        Ok(Self { jobs, thread })
    }

    /// Puts a job in the queue; gives it back if there is no room at the moment, or the thread has ended.
    pub(super) fn try_push(&self, job: Job) -> Option<Job> {
        self.jobs.try_send(job).err().map(|error| match error {
            std::sync::mpsc::TrySendError::Full(job) | std::sync::mpsc::TrySendError::Disconnected(job) => job,
        })
    }

    /// Waits until everything is written. Blocks.
    pub(super) fn join(self) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("the journal's thread panicked");
        }
    }
}

struct Writer {
    store: Arc<dyn Store>,
    durability: Durability,
    clock: Arc<dyn Clock>,
    written: mpsc::Sender<Written>,
}

impl Writer {
    fn run(&self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let mut batch = Batch::default();
            let mut next = Some(first);
            while let Some(job) = next {
                if let Err(error) = self.take(job, &mut batch) {
                    return self.fail(error);
                }
                let full = batch.records.len() >= BATCH_RECORDS_MAX || batch.bytes >= BATCH_BYTES_MAX;
                next = if full { None } else { queue.try_recv().ok() };
            }
            if let Err(error) = self.write(&mut batch) {
                return self.fail(error);
            }
        }
    }

    fn fail(&self, error: StoreError) {
        // The loop has gone if nobody listens, and then nobody is owed anything.
        self.written.blocking_send(Written::Failed(error)).ok();
    }

    fn take(&self, job: Job, batch: &mut Batch) -> Result<(), StoreError> {
        match job {
            Job::Append(number, mut record) => {
                if let Record::Done(done) = &mut record
                    && !self.store.is_durable()
                {
                    // The aggregate lives as long as this store does: its parts are not kept twice.
                    done.segments.clear();
                }
                let bytes = self.encode(&record)?;
                batch.bytes += bytes.len();
                batch.records.push(bytes);
                batch.number = number;
            }
            Job::Keep(receipt, cut) => {
                let bytes = elastic_flow_wire::encode_to_vec(&cut).map_err(|error| StoreError::Invalid {
                    url: self.store.url(),
                    detail: format!("the payload of {receipt} does not encode: {error}"),
                })?;
                self.store.put(receipt.step, &receipt.to_string(), &bytes, self.durability)?;
            }
            Job::Rewrite(records) => {
                self.write(batch)?;
                let mut encoded = Vec::with_capacity(records.len());
                for record in records {
                    encoded.push(self.encode(&record)?);
                }
                self.store.rewrite(&mut encoded.into_iter())?;
            }
            Job::Forget(step) => {
                self.write(batch)?;
                self.store.delete_step(step)?;
            }
            Job::Tidy(step) => {
                self.write(batch)?;
                for payload in self.store.list(step)? {
                    if payload.name.parse::<ReceiptId>().is_ok() {
                        self.store.delete(step, &payload.name)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn encode(&self, record: &Record) -> Result<Vec<u8>, StoreError> {
        record.encode().map_err(|error| StoreError::Invalid {
            url: self.store.url(),
            detail: format!("a journal record does not encode: {error}"),
        })
    }

    fn write(&self, batch: &mut Batch) -> Result<(), StoreError> {
        if batch.records.is_empty() {
            return Ok(());
        }
        let records: Vec<&[u8]> = batch.records.iter().map(Vec::as_slice).collect();
        let begun = self.clock.now();
        self.store.append(&records, self.durability)?;
        metrics::histogram!("elastic_flow_journal_sync_seconds").record(self.clock.now().since(begun).as_secs_f64());
        metrics::counter!("elastic_flow_journal_records_total").increment(records.len() as u64);
        let (number, bytes) = (batch.number, batch.bytes as u64);
        *batch = Batch::default();
        self.written.blocking_send(Written::Up { number, bytes }).ok();
        Ok(())
    }
}

#[derive(Default)]
struct Batch {
    records: Vec<Vec<u8>>,
    bytes: usize,
    number: u64,
}
