//! What the documents list is what there is.

use std::collections::BTreeSet;
use std::path::Path;

use elastic_flow::queue::StepErrorKind;

#[test]
fn every_kind_of_step_error_has_its_heading_and_no_heading_is_left_over() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let listed: BTreeSet<&str> = headings.iter().copied().collect();
    let kinds: BTreeSet<&str> = StepErrorKind::ALL.into_iter().map(StepErrorKind::name).collect();
    assert_eq!(listed, kinds);
    assert_eq!(headings.len(), listed.len(), "each heading once");
}
