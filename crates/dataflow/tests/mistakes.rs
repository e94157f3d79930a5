//! What the compiler says of the commonest mistakes: where a bound of ours is not met, the way out. The words are those of the
//! workspace's version of Rust; `TRYBUILD=overwrite` takes over those of another, to be read before they are committed.

#[test]
fn the_commonest_mistakes_are_told_with_the_way_out() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
