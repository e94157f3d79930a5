//! Ring 1 in small: many seeds pass, a seed repeats itself, and planted bugs are found.

use elastic_flow_integration_tests::sim::{self, Bug};

#[test]
fn no_seed_loses_a_chunk_or_counts_one_twice() {
    for seed in 1_000_000..1_000_200 {
        if let Err(violation) = sim::run(seed, None) {
            panic!("{violation}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        assert_eq!(sim::run(seed, None), sim::run(seed, None), "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found_within_a_hundred_seeds() {
    for bug in Bug::ALL {
        let found = (0..100).find(|seed| sim::run(*seed, Some(bug)).is_err());
        assert!(found.is_some(), "{} was not found", bug.name());
    }
}
