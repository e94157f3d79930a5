//! `map_values`: the second part of each pair.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::map_values`] adds.
    MapValues, "MapValues"
}

impl<K: 'static, V, C: Chain<Item = (K, V)>> Flow<(K, V), C> {
    /// Makes another value of the second part of each pair.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("tens", |pairs: Flow<(u8, u64)>| pairs.map_values(|n| n * 10))?;
    /// assert_eq!(program.on([(1, 2_u64), (3, 4)])?, [(1, 20), (3, 40)]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn map_values<W, F>(self, f: F) -> Flow<(K, W), MapValues<C, F>>
    where
        W: 'static,
        F: Fn(V) -> W + Shareable,
    {
        Flow::of(MapValues { inner: self.chain, f })
    }
}

impl<K, V, W, C, F> Chain for MapValues<C, F>
where
    K: 'static,
    W: 'static,
    C: Chain<Item = (K, V)>,
    F: Fn(V) -> W + Shareable,
{
    type Item = (K, W);
    chain_link!("map_values");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, |acc, (key, value)| g(acc, (key, (self.f)(value))))
    }
}
