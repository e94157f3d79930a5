//! Keyed reductions: combined in the worker over a whole task, merged on the master in the same way.

use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_receipt::ReceiptId;
use elastic_flow_wire::CodecError;
use elastic_flow_wire::message::{FailureKind, Segment, digest};

use crate::built::{Built, MergerFactory, View, assemble};
use crate::chain::{Chain, Data, Outline, is_text};
use crate::encoded_output::write_encoded;
use crate::error::{MergeError, ProgramError};
use crate::format::write_entries;
use crate::merger::Merger;
use crate::partitioned::{MakeMerging, Merging, merge_failed};
use crate::reduction::{Counting, Reduction};
use crate::run::ChunkRun;
use crate::seam::{TaskContext, TaskFailure, TaskOutput};
use crate::stage::Body;
use crate::table::{Table, merge_segment};

/// What may be a key: it crosses borders, is compared and hashed.
///
/// Behind an exchange ([`Flow::partition`](crate::Flow::partition) and its kind) a key's partition follows from its encoding, so that keys
/// which are equal have to encode equally, as those do whose `Eq` is derived.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "must implement `Serialize`, `DeserializeOwned`, `Eq`, `Hash` and `Send`",
    note = "derive them; floating-point numbers are no keys, since they do not equal themselves"
)]
pub trait Key: Data + Eq + Hash {}

impl<K: Data + Eq + Hash> Key for K {}

/// The result of a keyed reduction: its entries.
pub(crate) type Entries<K, V> = Built<(K, V), Vec<(K, V)>>;

/// Ends a flow of keys in their counts.
pub(crate) fn counts<C>(chain: C) -> Result<Entries<C::Item, u64>, ProgramError>
where
    C: Chain<Item: Key>,
{
    counts_as::<(C::Item, u64), C>(chain, "counts")
}

/// As [`counts`], where the plan shows the items of the end that follows.
pub(crate) fn counts_as<Shown, C>(chain: C, name: &'static str) -> Result<Entries<C::Item, u64>, ProgramError>
where
    C: Chain<Item: Key>,
{
    let outline = chain.outline().then::<Shown>(name);
    let reduction = Arc::new(Counting::<()>(PhantomData));
    let built = assemble(outline, Counts(chain), merger(Arc::clone(&reduction)), |entries| entries, view())?;
    Ok(built.closing_in(tables::<C::Item, _>(reduction)))
}

/// Ends a flow of keys and values in a reduction of the values of each key.
pub(crate) fn reduced<K, C, R>(chain: C, name: &'static str, reduction: R) -> Result<Entries<K, R::State>, ProgramError>
where
    K: Key,
    C: Chain<Item = (K, R::Value)>,
    R: Reduction,
{
    reduced_to::<(K, R::State), K, C, R>(chain, name, reduction)
}

/// As [`reduced`], where the plan shows the items of the end that follows.
pub(crate) fn reduced_to<Shown, K, C, R>(
    chain: C,
    name: &'static str,
    reduction: R,
) -> Result<Entries<K, R::State>, ProgramError>
where
    K: Key,
    C: Chain<Item = (K, R::Value)>,
    R: Reduction,
{
    let outline = chain.outline().then::<Shown>(name);
    reduced_by(outline, chain, reduction)
}

/// As [`reduced`], where the plan says `outline` of it.
pub(crate) fn reduced_by<K, C, R>(
    outline: Outline,
    chain: C,
    reduction: R,
) -> Result<Entries<K, R::State>, ProgramError>
where
    K: Key,
    C: Chain<Item = (K, R::Value)>,
    R: Reduction,
{
    let reduction = Arc::new(reduction);
    let merger = merger(Arc::clone(&reduction));
    let body = Reduced { chain, reduction: Arc::clone(&reduction) };
    let built = assemble(outline, body, merger, |entries| entries, view())?;
    Ok(built.closing_in(tables::<K, R>(reduction)))
}

pub(crate) fn view<K: Data, V: Data>() -> View<Vec<(K, V)>> {
    View {
        rows: |entries| entries.len() as u64,
        write: |entries, format, out| write_entries(entries, format, out),
        encode: write_encoded::<Vec<(K, V)>>,
    }
}

/// Partitions that give what they have merged, for the master to put together.
pub(crate) fn tables<K: Key, R: Reduction>(reduction: Arc<R>) -> MakeMerging {
    Arc::new(move || Box::new(TableMerger { table: Table::<K, R::State>::new(), reduction: Arc::clone(&reduction) }))
}

fn merger<K: Key, R: Reduction>(reduction: Arc<R>) -> MergerFactory<Vec<(K, R::State)>> {
    Arc::new(move || Box::new(TableMerger { table: Table::<K, R::State>::new(), reduction: Arc::clone(&reduction) }))
}

/// Counts its items.
struct Counts<C>(C);

impl<C: Chain<Item: Key>> Body for Counts<C> {
    type Partial = Table<C::Item, u64>;
    type Whole = Vec<(C::Item, u64)>;
    const COMBINES: bool = true;
    const BY_KEY: bool = true;
    const NAME: &'static str = "counts";

    fn takes(&self, input: u16) -> bool {
        self.0.takes(input)
    }

    fn start(&self, _: u32) -> Self::Partial {
        Table::new()
    }

    fn fold(&self, run: &ChunkRun<'_>, table: &mut Self::Partial) {
        let start = |()| 1;
        let change = |counts: &mut Vec<u64>, index, ()| {
            if let Some(count) = counts.get_mut(index) {
                *count += 1;
            }
        };
        let table = if is_text::<C::Item>() {
            self.0.fold_bytes(run, table, |table, key| {
                table.upsert_bytes(key.bytes(), (), start, change);
                table
            })
        } else {
            self.0.fold(run, table, |table, key| {
                table.upsert(key, (), start, change);
                table
            })
        };
        check_room(run, table.is_full());
    }

    fn encode(&self, table: Self::Partial) -> Result<(u64, Bytes), CodecError> {
        table.encode()
    }

    fn split(&self, table: Self::Partial, partitions: u32) -> Result<Vec<(u32, u64, Bytes)>, CodecError> {
        table.split(partitions)
    }

    fn whole(&self, runs: &[ChunkRun<'_>]) -> Result<Self::Whole, CodecError> {
        entries_of(self, runs)
    }
}

/// Reduces the values of each key.
struct Reduced<C, R> {
    chain: C,
    reduction: Arc<R>,
}

impl<K, C, R> Body for Reduced<C, R>
where
    K: Key,
    C: Chain<Item = (K, R::Value)>,
    R: Reduction,
{
    type Partial = Table<K, R::State>;
    type Whole = Vec<(K, R::State)>;
    const COMBINES: bool = true;
    const BY_KEY: bool = true;
    const NAME: &'static str = "reduced";

    fn takes(&self, input: u16) -> bool {
        self.chain.takes(input)
    }

    fn start(&self, _: u32) -> Self::Partial {
        Table::new()
    }

    fn fold(&self, run: &ChunkRun<'_>, table: &mut Self::Partial) {
        let reduction = self.reduction.as_ref();
        let table = self.chain.fold(run, table, |table, (key, value)| {
            let change = |states: &mut Vec<R::State>, index, value| reduction.push(states, index, value);
            table.upsert(key, value, |value| reduction.start(value), change);
            table
        });
        check_room(run, table.is_full());
    }

    fn encode(&self, table: Self::Partial) -> Result<(u64, Bytes), CodecError> {
        table.encode()
    }

    fn split(&self, table: Self::Partial, partitions: u32) -> Result<Vec<(u32, u64, Bytes)>, CodecError> {
        table.split(partitions)
    }

    fn whole(&self, runs: &[ChunkRun<'_>]) -> Result<Self::Whole, CodecError> {
        entries_of(self, runs)
    }
}

/// All entries of what a body makes of the runs.
fn entries_of<K: Key, V>(
    body: &impl Body<Partial = Table<K, V>>,
    runs: &[ChunkRun<'_>],
) -> Result<Vec<(K, V)>, CodecError> {
    let mut table = body.start(0);
    runs.iter().for_each(|run| body.fold(run, &mut table));
    table.into_entries()
}

fn check_room(run: &ChunkRun<'_>, full: bool) {
    if full {
        run.fail(FailureKind::Resource, MergeError::TableFull.to_string());
    }
}

/// Merges tables: on the master, or on the owner of a partition.
struct TableMerger<K, R: Reduction> {
    table: Table<K, R::State>,
    reduction: Arc<R>,
}

impl<K: Key, R: Reduction> Merger<Vec<(K, R::State)>> for TableMerger<K, R> {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        merge_segment(&mut self.table, segment, self.reduction.as_ref())
    }

    fn save(&self) -> Result<Bytes, MergeError> {
        self.table.encode().map(|(_, body)| body).map_err(|source| MergeError::Encode { source })
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError> {
        let restored = self.table.merge_encoded(saved, None, self.reduction.as_ref());
        restored.map_err(|source| MergeError::Saved { source })
    }

    fn finish(self: Box<Self>) -> Result<Vec<(K, R::State)>, MergeError> {
        self.table.into_entries().map_err(|source| MergeError::Encode { source })
    }
}

impl<K: Key, R: Reduction> Merging for TableMerger<K, R> {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        merge_segment(&mut self.table, segment, self.reduction.as_ref())
    }

    fn finish(self: Box<Self>, receipt: ReceiptId, _: &TaskContext) -> Result<TaskOutput, TaskFailure> {
        let encoded = self.table.encode().map_err(|source| merge_failed(receipt, MergeError::Encode { source }));
        let (rows, body) = encoded?;
        let segment = Segment { receipt, rows, digest: digest(&body), body };
        Ok(TaskOutput { chunks: Vec::new(), segments: vec![segment], skips: Vec::new() })
    }
}
