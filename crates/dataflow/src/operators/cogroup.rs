//! `cogroup`: the values of each key in two flows.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::built::{self, Built};
use crate::chain::{Chain, Data, Outline, sealed};
use crate::error::ProgramError;
use crate::flow::Flow;
use crate::input::Input;
use crate::keyed::{self, Entries, Key};
use crate::reduction::Reduction;
use crate::run::ChunkRun;
use crate::sequence::{Runs, Sequenced, in_sequence, push_run};

impl<K: Key, V: Data, A: Chain<Item = (K, V)>> Flow<(K, V), A> {
    /// The values that each key has in this flow and in the other one, each in source order: a global reduction of two flows over
    /// different inputs, which see [`Inputs`](crate::Inputs). A key that one of them lacks has no values there. The keys come in the order of [`Flow::counts`].
    ///
    /// ```
    /// # use elastic_flow_dataflow::params::Params;
    /// # use elastic_flow_dataflow::seam::Program as _;
    /// # use elastic_flow_dataflow::{Flow, Inputs, TypedProgram};
    /// fn of_each_user(inputs: Inputs, (): ()) -> Flow<(u64, (Vec<String>, Vec<f64>))> {
    ///     let names = inputs.items::<(u64, String)>("names");
    ///     names.cogroup(inputs.items::<(u64, f64)>("payments"))
    /// }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let plan = TypedProgram::new("users", of_each_user)?.prepare(&Params::default())?.plan;
    /// assert_eq!(plan.inputs, ["names", "payments"]);
    /// # Ok(())
    /// # }
    /// ```
    #[expect(clippy::type_complexity, reason = "an alias would hide what it gives")]
    pub fn cogroup<W, B>(self, other: Flow<(K, W), B>) -> Flow<(K, (Vec<V>, Vec<W>))>
    where
        W: Data,
        B: Chain<Item = (K, W)>,
    {
        Flow::behind(cogrouped::<Group<K, V, W>, _, _, _, _, _>(self, other, "cogroup"))
    }
}

/// The values of a key in two flows.
pub(super) type Group<K, V, W> = (K, (Vec<V>, Vec<W>));

/// A flow that has been ended in them.
pub(super) type Groups<K, V, W> = Entries<K, (Vec<V>, Vec<W>)>;

/// Both flows by key; the plan shows items of `Shown`.
pub(super) fn cogrouped<Shown, K, V, W, A, B>(
    left: Flow<(K, V), A>,
    right: Flow<(K, W), B>,
    name: &'static str,
) -> Result<Groups<K, V, W>, ProgramError>
where
    K: Key,
    V: Data,
    W: Data,
    A: Chain<Item = (K, V)>,
    B: Chain<Item = (K, W)>,
{
    let (left, right) = (left.chain, right.chain);
    let (of_left, of_right) = (left.outline(), right.outline());
    let partitioned_by = of_left.partitioned_by.or(of_right.partitioned_by);
    let entries = if of_left.upstream.is_none() && of_right.upstream.is_none() {
        grouped::<Shown, _, _, _, _, _>(Sides { left, right, operator: name })?
    } else if partitioned_by.is_some() {
        // They meet in the partitions of their keys, wherever each comes from.
        let left = one_side::<Shown, _, _, V, W, _>(left, name, partitioned_by, Side::Left)?;
        let right = one_side::<Shown, _, _, V, W, _>(right, name, partitioned_by, Side::Right)?;
        left.beside(&right, name)?.closing_in(keyed::tables::<K, _>(Arc::new(Cogrouping::<V, W>(PhantomData))))
    } else {
        // They meet on the master: what is still read there is gathered before.
        grouped::<Shown, _, _, _, _, _>(Sides { left: gathered(left), right: gathered(right), operator: name })?
    };
    let groups = |entries: Vec<(K, State<V, W>)>| {
        let group = |(key, (left, right))| (key, (in_sequence(left), in_sequence(right)));
        entries.into_iter().map(group).collect()
    };
    Ok(entries.ending_in(groups, |groups| groups, keyed::view()))
}

fn gathered<C: Chain<Item: Data>>(chain: C) -> Input<C::Item> {
    Input::behind(chain.build().map(Built::into_items))
}

/// One flow by key, for a merging with the other one.
fn one_side<Shown, K, U, V, W, C>(
    chain: C,
    operator: &'static str,
    partitioned_by: Option<&'static str>,
    wrap: fn(U) -> Side<V, W>,
) -> Result<Entries<K, State<V, W>>, ProgramError>
where
    K: Key,
    U: Data,
    V: Data,
    W: Data,
    C: Chain<Item = (K, U)>,
{
    // The two meet in partitions, whichever of them says so.
    let outline = Outline { partitioned_by, ..chain.outline() }.then::<Shown>(operator);
    let chain = Sequenced { inner: chain, f: move |sequence, (key, value)| (key, (sequence, wrap(value))) };
    keyed::reduced_by(outline, chain, Cogrouping(PhantomData))
}

fn grouped<Shown, K, V, W, A, B>(sides: Sides<A, B>) -> Result<Entries<K, State<V, W>>, ProgramError>
where
    K: Key,
    V: Data,
    W: Data,
    A: Chain<Item = (K, V)>,
    B: Chain<Item = (K, W)>,
{
    let operator = sides.operator;
    if sides.share_an_input() {
        return Err(ProgramError::InputOfBoth { operator });
    }
    let chain = Sequenced { inner: sides, f: |sequence, (key, side)| (key, (sequence, side)) };
    keyed::reduced_to::<Shown, _, _, _>(chain, operator, Cogrouping(PhantomData))
}

/// What is kept of a key.
type State<V, W> = (Runs<V>, Runs<W>);

/// A value of one of two flows.
#[derive(Debug, Serialize, Deserialize)]
enum Side<V, W> {
    Left(V),
    Right(W),
}

/// Two chains over different inputs.
struct Sides<A, B> {
    left: A,
    right: B,
    operator: &'static str,
}

impl<A, B> sealed::Sealed for Sides<A, B> {}

impl<A: Chain, B: Chain> Sides<A, B> {
    fn share_an_input(&self) -> bool {
        (0..=u16::MAX).any(|input| self.left.takes(input) && self.right.takes(input))
    }
}

impl<K: 'static, V: 'static, W: 'static, A: Chain<Item = (K, V)>, B: Chain<Item = (K, W)>> Chain for Sides<A, B> {
    type Item = (K, Side<V, W>);
    type Output = Vec<Self::Item>;

    #[inline]
    fn fold<X, G>(&self, run: &ChunkRun<'_>, acc: X, mut g: G) -> X
    where
        G: FnMut(X, Self::Item) -> X,
    {
        if self.left.takes(run.input()) {
            self.left.fold(run, acc, |acc, (key, value)| g(acc, (key, Side::Left(value))))
        } else {
            self.right.fold(run, acc, |acc, (key, value)| g(acc, (key, Side::Right(value))))
        }
    }

    fn takes(&self, input: u16) -> bool {
        self.left.takes(input) || self.right.takes(input)
    }

    fn outline(&self) -> Outline {
        self.left.outline().with(self.right.outline(), self.operator)
    }

    fn build(self) -> Result<Built<Self::Item, Vec<Self::Item>>, ProgramError>
    where
        Self::Item: Data,
    {
        built::rows(self)
    }
}

/// Keeps all values of both flows.
struct Cogrouping<V, W>(PhantomData<fn(V, W)>);

impl<V: Data, W: Data> Reduction for Cogrouping<V, W> {
    type Value = (u64, Side<V, W>);
    type State = State<V, W>;

    #[inline]
    fn start(&self, (sequence, side): Self::Value) -> Self::State {
        match side {
            Side::Left(value) => (vec![(sequence, vec![value])], Vec::new()),
            Side::Right(value) => (Vec::new(), vec![(sequence, vec![value])]),
        }
    }

    #[inline]
    fn push(&self, states: &mut Vec<Self::State>, index: usize, (sequence, side): Self::Value) {
        if let Some((left, right)) = states.get_mut(index) {
            match side {
                Side::Left(value) => push_run(left, (sequence, value)),
                Side::Right(value) => push_run(right, (sequence, value)),
            }
        }
    }

    #[inline]
    fn merge(&self, states: &mut Vec<Self::State>, index: usize, state: Self::State) {
        if let Some((left, right)) = states.get_mut(index) {
            left.extend(state.0);
            right.extend(state.1);
        }
    }
}
