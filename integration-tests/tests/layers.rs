//! Dependencies between the crates of the workspace point down, and the deciding crates know no runtime.
//!
//! What cargo itself says about the workspace is read, so that a new crate or a new arrow is seen without anybody listing it here.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Every published crate and its height, highest first. A crate may depend on lower ones only: those of one height know nothing of
/// each other.
const LAYERS: &[(&str, u32)] = &[
    ("elastic-flow", 8),
    ("elastic-flow-app", 7),
    ("elastic-flow-admin", 6),
    ("elastic-flow-orchestrator", 5),
    ("elastic-flow-dataflow", 4),
    ("elastic-flow-queue", 4),
    ("elastic-flow-transport", 4),
    ("elastic-flow-store-fs", 4),
    ("elastic-flow-store-rocksdb", 4),
    ("elastic-flow-store", 3),
    ("elastic-flow-wire", 2),
    ("elastic-flow-receipt", 1),
    ("elastic-flow-clock", 0),
];

/// Members that are not published: they stand above all layers, and no crate depends on them.
const TOP: &[&str] = &["elastic-flow-examples", "elastic-flow-benches", "elastic-flow-integration-tests", "xtask"];

/// Crates that decide, encode or compute: no runtime in their normal dependencies, however far down.
const WITHOUT_RUNTIME: &[&str] =
    &["elastic-flow-clock", "elastic-flow-receipt", "elastic-flow-queue", "elastic-flow-dataflow"];

/// What a runtime is called.
const RUNTIMES: &[&str] = &["tokio", "async-std", "smol"];

/// What cargo says about the workspace.
struct Metadata(Value);

impl Metadata {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace has a folder");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let args = ["metadata", "--format-version", "1", "--locked"];
        let output = Command::new(cargo).args(args).current_dir(root).output().expect("cargo starts");
        assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
        Self(serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON"))
    }

    /// The name of each package, by id.
    fn names(&self) -> BTreeMap<&str, &str> {
        list(&self.0, "packages").map(|package| (text(package, "id"), text(package, "name"))).collect()
    }

    /// The members of the workspace, with the members that each depends on in its released form.
    fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let members: BTreeSet<_> = list(&self.0, "workspace_members").filter_map(Value::as_str).collect();
        let members: Vec<_> =
            list(&self.0, "packages").filter(|package| members.contains(text(package, "id"))).collect();
        let names: BTreeSet<_> = members.iter().map(|package| text(package, "name")).collect();
        let below = |package| {
            let released = list(package, "dependencies").filter(|it| it["kind"] != "dev");
            released.map(|it| text(it, "name")).filter(|name| names.contains(name)).collect()
        };
        members.into_iter().map(|package| (text(package, "name"), below(package))).collect()
    }

    /// Every package that `name` needs when it is released, however far down.
    fn needs(&self, name: &str) -> BTreeSet<&str> {
        let names = self.names();
        let resolve = self.0.get("resolve").expect("cargo metadata resolves");
        let nodes: BTreeMap<_, _> = list(resolve, "nodes").map(|node| (text(node, "id"), node)).collect();
        let mut open: Vec<&str> = nodes.keys().copied().filter(|id| names.get(id) == Some(&name)).collect();
        assert_eq!(open.len(), 1, "there is one package called {name}");
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            let normal = |dep: &&Value| list(dep, "dep_kinds").any(|kind| kind["kind"].is_null());
            let deps = nodes.get(id).into_iter().flat_map(|node| list(node, "deps")).filter(normal);
            open.extend(deps.map(|dep| text(dep, "pkg")).filter(|id| seen.insert(*id)));
        }
        seen.into_iter().filter_map(|id| names.get(id).copied()).collect()
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).unwrap_or_else(|| panic!("cargo metadata has no list `{key}`")).iter()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("cargo metadata has no text `{key}`"))
}

fn height(name: &str) -> Option<u32> {
    LAYERS.iter().find(|(layer, _)| *layer == name).map(|(_, height)| *height)
}

/// Arrows that do not point down, as sentences.
fn wrong_arrows<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (upper, below) in arrows {
        for lower in below {
            let points_down = match (height(upper), height(lower)) {
                (Some(upper), Some(lower)) => upper > lower,
                (None, Some(_)) => TOP.contains(upper),
                (_, None) => false,
            };
            if !points_down {
                wrong.push(format!("{upper} depends on {lower}, which is not in a layer below it"));
            }
        }
    }
    wrong
}

#[test]
fn every_member_has_its_place() {
    let metadata = Metadata::read();
    let members: BTreeSet<_> = metadata.arrows().into_keys().collect();
    let placed: BTreeSet<_> = LAYERS.iter().map(|(name, _)| *name).chain(TOP.iter().copied()).collect();
    assert_eq!(members, placed);
}

#[test]
fn dependencies_between_crates_point_down() {
    assert_eq!(wrong_arrows(&Metadata::read().arrows()), Vec::<String>::new());
}

#[test]
fn deciding_crates_know_no_runtime() {
    let metadata = Metadata::read();
    for name in WITHOUT_RUNTIME {
        let needs = metadata.needs(name);
        let runtimes: Vec<_> = RUNTIMES.iter().filter(|runtime| needs.contains(*runtime)).collect();
        assert!(runtimes.is_empty(), "{name} needs {runtimes:?}: it takes events and time, and gives commands");
    }
}

#[test]
fn a_runtime_is_seen_where_there_is_one() {
    let metadata = Metadata::read();
    assert!(metadata.needs("elastic-flow-orchestrator").contains("tokio"));
    assert!(metadata.needs("elastic-flow-dataflow").contains("elastic-flow-receipt"));
}

#[test]
fn an_example_uses_what_a_user_has() {
    let metadata = Metadata::read();
    let examples = metadata.arrows().remove("elastic-flow-examples").expect("the examples are a member");
    assert!(
        examples.iter().all(|name| *name == "elastic-flow"),
        "the examples depend on {examples:?}, not on the facade alone"
    );
}

#[test]
fn arrows_up_within_a_row_and_to_the_top_are_found() {
    for (upper, lower, is_wrong) in [
        ("elastic-flow-orchestrator", "elastic-flow-queue", false),
        ("elastic-flow-queue", "elastic-flow-orchestrator", true),
        ("elastic-flow-queue", "elastic-flow-transport", true),
        ("elastic-flow-wire", "elastic-flow-store", true),
        ("elastic-flow-store", "elastic-flow-wire", false),
        ("elastic-flow-receipt", "xtask", true),
        ("elastic-flow-benches", "elastic-flow-wire", false),
        ("elastic-flow-benches", "elastic-flow-examples", true),
        ("elastic-flow-new", "elastic-flow-wire", true),
    ] {
        let arrows = BTreeMap::from([(upper, BTreeSet::from([lower]))]);
        assert_eq!(wrong_arrows(&arrows).len(), usize::from(is_wrong), "{upper} -> {lower}");
    }
}
