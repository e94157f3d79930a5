//! The list of checks, as data, in the order in which they run: cheap and telling ones first.

use crate::tools::Tool;

/// A check: what it is called, what it shows, what it needs and what it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    /// Its name for `--only`.
    pub(crate) name: &'static str,
    /// What holds when it passes.
    pub(crate) shows: &'static str,
    /// What it needs beyond Rust.
    pub(crate) needs: &'static [Tool],
    /// What it runs.
    pub(crate) action: Action,
}

/// What a check runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// Cargo with these arguments.
    Cargo(&'static [&'static str]),
    /// Rustdoc through cargo, with warnings as errors.
    Rustdoc(&'static [&'static str]),
    /// cargo-deny with these arguments.
    Deny(&'static [&'static str]),
    /// Cargo with these arguments and the RocksDB scope and target folder.
    RocksDb { command: &'static str, targets: &'static [&'static str], trailing: &'static [&'static str] },
    /// Cargo's tests with these arguments, among which those have to be that a document names.
    Tests(&'static [&'static str]),
    /// The fenced blocks of the README and of every walk-through.
    Blocks,
}

/// What every RocksDB command selects: the store, and the command line that opens it by its URL.
///
/// All of them select the same, so that they resolve to the same features and share one build of RocksDB, half an hour of C++ on one
/// core. (By itself, the store asks for fewer features of zstd than a whole program does: that is another RocksDB to cargo.) What is
/// to run with RocksDB, too, is added here with its feature, and then selected by a target such as `--test NAME` or `--bench NAME`.
pub(crate) const ROCKSDB_SCOPE: &[&str] = &[
    "--locked",
    "--package=elastic-flow-store-rocksdb",
    "--package=elastic-flow-app",
    "--package=elastic-flow-benches",
    "--package=elastic-flow-integration-tests",
    "--features=elastic-flow-app/store-rocksdb,elastic-flow-benches/store-rocksdb,elastic-flow-integration-tests/store-rocksdb",
];

/// Packages what is published, as it would be uploaded. Crates that are not published yet resolve to each other's packages.
const PACKAGE: &[&str] = &[
    "package",
    "--locked",
    "--workspace",
    "--exclude=elastic-flow-examples",
    "--exclude=elastic-flow-benches",
    "--exclude=elastic-flow-integration-tests",
    "--exclude=xtask",
    "--no-verify",
    "--allow-dirty",
    "--quiet",
];

/// Everything that CI runs.
pub(crate) const CHECKS: &[Check] = &[
    Check {
        name: "format",
        shows: "the code is formatted",
        needs: &[],
        action: Action::Cargo(&["fmt", "--all", "--check"]),
    },
    Check {
        name: "clippy",
        shows: "no lint of the house warns",
        needs: &[],
        action: Action::Cargo(&["clippy", "--locked", "--all-targets", "--", "-D", "warnings"]),
    },
    Check {
        name: "layers",
        shows: "dependencies between crates point down",
        needs: &[],
        action: Action::Cargo(&["test", "--locked", "--package", "elastic-flow-integration-tests", "--test", "layers"]),
    },
    Check {
        name: "deny",
        shows: "licences, sources and banned crates are as deny.toml says",
        needs: &[Tool::CargoDeny],
        action: Action::Deny(&["--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]),
    },
    Check {
        name: "test",
        shows: "unit, property, contract and integration tests pass, those that docs/from-elixir.md names among them",
        needs: &[Tool::Prometheus, Tool::Schemathesis],
        action: Action::Tests(&["test", "--locked", "--lib", "--bins", "--tests", "--examples"]),
    },
    Check {
        name: "doc-test",
        shows: "the examples in the documentation pass",
        needs: &[],
        action: Action::Cargo(&["test", "--locked", "--doc"]),
    },
    Check {
        name: "rustdoc",
        shows: "the documentation builds without a warning",
        needs: &[],
        action: Action::Rustdoc(&["doc", "--locked", "--no-deps"]),
    },
    Check {
        name: "simulate",
        shows: "2,000 simulated clusters lose nothing and count nothing twice",
        needs: &[],
        action: Action::Cargo(&[
            "run",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "elastic-flow-integration-tests",
            "--bin",
            "simulate",
            "--",
            "--seeds",
            "2000",
        ]),
    },
    Check {
        name: "benches",
        shows: "every benchmark runs once",
        needs: &[],
        action: Action::Cargo(&["bench", "--locked", "--package", "elastic-flow-benches", "--", "--test"]),
    },
    Check {
        name: "blocks",
        shows: "README and walk-throughs do and print what they say",
        needs: &[],
        action: Action::Blocks,
    },
    Check { name: "package", shows: "every published crate packages", needs: &[], action: Action::Cargo(PACKAGE) },
    Check {
        name: "rocksdb-clippy",
        shows: "no lint warns in the RocksDB store",
        needs: &[Tool::Libclang, Tool::Cxx],
        action: Action::RocksDb { command: "clippy", targets: &["--all-targets"], trailing: &["-D", "warnings"] },
    },
    Check {
        name: "rocksdb-test",
        shows: "the RocksDB store keeps the contract of all stores",
        needs: &[Tool::Libclang, Tool::Cxx],
        action: Action::RocksDb { command: "test", targets: &["--lib", "--test", "contract"], trailing: &[] },
    },
    Check {
        name: "rocksdb-end-to-end",
        shows: "a master on RocksDB outlives kill -9, and answers as one on any other store",
        needs: &[Tool::Libclang, Tool::Cxx],
        action: Action::RocksDb {
            command: "test",
            targets: &["--test", "rocksdb", "--test", "outside_store"],
            trailing: &[],
        },
    },
    Check {
        name: "rocksdb-bench",
        shows: "the store's benchmark runs over RocksDB",
        needs: &[Tool::Libclang, Tool::Cxx],
        action: Action::RocksDb { command: "bench", targets: &["--bench", "store"], trailing: &["--test"] },
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_so_that_only_selects_one() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
    }

    #[test]
    fn nothing_changes_the_lock_file_or_rewrites_code() {
        for check in CHECKS {
            if let Action::Cargo(args) | Action::Rustdoc(args) | Action::Tests(args) = check.action {
                assert!(args.contains(&"--locked") || args == ["fmt", "--all", "--check"], "{}", check.name);
            }
        }
    }
}
