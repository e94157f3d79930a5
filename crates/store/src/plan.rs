//! Which write point fails, and how: a plan as data, and the counter that follows it.
//!
//! A *write point* is one call that changes something: a write call of a store under [`crate::FaultStore`], one file
//! operation under [`crate::FaultFiles`]. They are numbered from 0 in the order in which they come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What befalls a write point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// It fails with an error of the device, and nothing is done.
    Fail,
    /// The disk is full. A file's write has then written a part.
    Full,
    /// Access is refused, and nothing is done.
    Permission,
    /// The process dies before it: this call and all that follow fail.
    Crash,
    /// The process dies in the middle of it: a file's write has written a part; any other call has taken effect or not, as
    /// the seed says.
    Tear,
    /// The machine dies before it: like [`Fault::Crash`], and what was not synced is lost where the injector can tell
    /// ([`crate::FaultFiles`]).
    PowerCut,
}

/// Faults at random, but the same for the same seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomFaults {
    /// On average one write point in so many fails; 0 is never.
    pub one_in: u64,
    /// The kinds to choose from, all as likely.
    pub kinds: Vec<Fault>,
}

/// Which write points fail, and how. Equal plans give equal faults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FaultPlan {
    /// Decides what is drawn: which points fail at random, and where a write is torn.
    pub seed: u64,
    /// Faults by write point.
    pub at: BTreeMap<u64, Fault>,
    /// Faults at the points that `at` does not name.
    pub random: Option<RandomFaults>,
}

impl FaultPlan {
    /// No fault at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// One fault, at write point `point`, counted from 0.
    #[must_use]
    pub fn once(point: u64, fault: Fault) -> Self {
        Self { seed: point, at: BTreeMap::from([(point, fault)]), random: None }
    }

    /// On average one fault in `one_in` write points, drawn from `kinds`.
    #[must_use]
    pub fn random(seed: u64, one_in: u64, kinds: impl Into<Vec<Fault>>) -> Self {
        Self { seed, at: BTreeMap::new(), random: Some(RandomFaults { one_in, kinds: kinds.into() }) }
    }

    /// What befalls write point `point`.
    #[must_use]
    pub fn fault_at(&self, point: u64) -> Option<Fault> {
        if let Some(fault) = self.at.get(&point) {
            return Some(*fault);
        }
        let random = self.random.as_ref()?;
        let drawn = self.draw(point);
        if random.kinds.is_empty() || drawn.checked_rem(random.one_in)? != 0 {
            return None;
        }
        let kind = mix(drawn) % random.kinds.len() as u64;
        random.kinds.get(usize::try_from(kind).ok()?).copied()
    }

    /// A number that depends on the seed and the write point alone.
    fn draw(&self, point: u64) -> u64 {
        mix(mix(self.seed).wrapping_add(point))
    }
}

/// The finisher of splitmix64: every bit of the input moves every bit of the output.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Counts write points and says what befalls each, as a plan has it.
#[derive(Debug, Default)]
pub struct FaultInjector {
    plan: FaultPlan,
    points: AtomicU64,
    injected: AtomicU64,
    has_crashed: AtomicBool,
}

impl FaultInjector {
    /// Follows `plan` from its first write point.
    #[must_use]
    pub fn new(plan: FaultPlan) -> Self {
        Self { plan, ..Self::default() }
    }

    /// Write points met so far.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.points.load(Ordering::SeqCst)
    }

    /// Faults injected so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::SeqCst)
    }

    /// Whether a fault has ended the process, as far as the store is concerned.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.has_crashed.load(Ordering::SeqCst)
    }

    /// Meets the next write point: what befalls it, and a number to draw from for that.
    pub(crate) fn meet(&self) -> Option<(Fault, u64)> {
        let point = self.points.fetch_add(1, Ordering::SeqCst);
        let fault = self.plan.fault_at(point)?;
        self.injected.fetch_add(1, Ordering::SeqCst);
        if matches!(fault, Fault::Crash | Fault::Tear | Fault::PowerCut) {
            self.has_crashed.store(true, Ordering::SeqCst);
        }
        Some((fault, mix(self.plan.draw(point))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_is_met_at_its_point_and_nowhere_else() {
        let injector = FaultInjector::new(FaultPlan::once(2, Fault::Full));
        let met: Vec<_> = (0..5).map(|_| injector.meet().map(|(fault, _)| fault)).collect();
        assert_eq!(met, [None, None, Some(Fault::Full), None, None]);
        assert_eq!((injector.points(), injector.injected(), injector.has_crashed()), (5, 1, false));
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_about_as_often_as_asked() {
        let plan = |seed| FaultPlan::random(seed, 10, [Fault::Fail, Fault::Full]);
        let faults = |plan: &FaultPlan| (0..10_000).map(|point| plan.fault_at(point)).collect::<Vec<_>>();
        assert_eq!(faults(&plan(1)), faults(&plan(1)));
        assert_ne!(faults(&plan(1)), faults(&plan(2)));
        for kind in [Fault::Fail, Fault::Full] {
            let count = faults(&plan(1)).iter().filter(|fault| **fault == Some(kind)).count();
            assert!((350..650).contains(&count), "{count} of {kind:?}");
        }
        assert!(faults(&FaultPlan::random(1, 0, [Fault::Fail])).iter().all(Option::is_none));
        assert!(faults(&FaultPlan::random(1, 1, [])).iter().all(Option::is_none));
    }

    #[test]
    fn only_a_death_counts_as_a_crash() {
        for (fault, dies) in [
            (Fault::Fail, false),
            (Fault::Full, false),
            (Fault::Permission, false),
            (Fault::Crash, true),
            (Fault::Tear, true),
            (Fault::PowerCut, true),
        ] {
            let injector = FaultInjector::new(FaultPlan::once(0, fault));
            injector.meet();
            assert_eq!(injector.has_crashed(), dies, "{fault:?}");
        }
    }
}
