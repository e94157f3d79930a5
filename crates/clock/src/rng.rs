//! Randomness from a seed, in streams that do not disturb each other.

/// A seeded source of pseudo-random numbers: the same seed gives the same numbers on every machine. Not for secrets.
///
/// Each part of a run takes a stream of its own by [`SeededRng::fork`], so that a part that draws more or less than before
/// leaves the others as they were.
///
/// ```
/// use elastic_flow_clock::SeededRng;
/// let root = SeededRng::new(7);
/// let (mut net, mut chaos) = (root.fork("net"), root.fork("chaos"));
/// assert_ne!(net.u64(), chaos.u64());
/// assert_eq!(SeededRng::new(7).fork("net").u64(), root.fork("net").u64());
/// ```
#[derive(Debug, Clone)]
pub struct SeededRng {
    seed: u64,
    rng: fastrand::Rng,
}

impl SeededRng {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, rng: fastrand::Rng::with_seed(seed) }
    }

    /// The seed that this stream started from: what a failing run prints.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// An independent stream, decided by this one's seed and `label` alone, never by what was drawn so far.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        // FNV-1a over the label, then the splitmix64 finaliser: neighbouring seeds and labels give unrelated streams.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in label.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self::new(mix(mix(self.seed).wrapping_add(hash)))
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.rng.u64(..)
    }

    /// A number from 0 to `n` - 1, each as likely; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.rng.u64(..n) }
    }

    /// True with `probability`: always from 1 up, never from 0 down, nor where it is not a number.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.rng.f64() < probability
    }

    /// True in so many of a thousand cases: always from 1,000 up.
    pub fn per_mille(&mut self, cases: u32) -> bool {
        self.below(1_000) < u64::from(cases)
    }

    /// One of `items`, each as likely; none where there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.rng.usize(..items.len().max(1)))
    }

    /// Puts `items` in a random order, each order as likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        self.rng.shuffle(items);
    }
}

const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_same_numbers_for_ever() {
        let mut rng = SeededRng::new(42);
        let drawn: Vec<u64> = (0..3).map(|_| rng.u64()).collect();
        assert_eq!(drawn, GOLDEN);
        assert_eq!(SeededRng::new(42).fork("net").seed(), GOLDEN_FORK);
    }

    #[test]
    fn a_fork_depends_on_seed_and_label_and_not_on_what_was_drawn() {
        let mut root = SeededRng::new(1);
        let before = root.fork("a").u64();
        root.u64();
        assert_eq!(root.fork("a").u64(), before);
        let mut seeds: Vec<u64> = (0..100)
            .flat_map(|seed| ["", "a", "b", "ab", "ba"].map(|label| SeededRng::new(seed).fork(label).seed()))
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 500);
    }

    #[test]
    fn draws_keep_within_their_bounds() {
        let mut rng = SeededRng::new(3);
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1_150).contains(&count)), "{seen:?}");
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        assert_eq!(rng.pick::<u8>(&[]), None);
        assert_eq!(rng.pick(&[9]), Some(&9));
    }

    #[test]
    fn chances_come_as_often_as_they_say() {
        let mut rng = SeededRng::new(4);
        assert!((0..1_000).all(|_| rng.chance(1.0) && !rng.chance(0.0) && !rng.chance(f64::NAN)));
        assert!((0..1_000).all(|_| rng.per_mille(1_000) && !rng.per_mille(0)));
        let hits = (0..10_000).filter(|_| rng.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        let hits = (0..10_000).filter(|_| rng.per_mille(250)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
    }

    #[test]
    fn a_shuffle_moves_and_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        SeededRng::new(5).shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    const GOLDEN: [u64; 3] = [14_587_678_697_106_979_209, 9_105_053_682_160_394_182, 14_839_644_324_764_355_487];
    const GOLDEN_FORK: u64 = 8_734_183_356_091_842_759;
}
