//! A crate as a user has one: in a folder outside of the workspace, with a manifest of its own, and the project's crates by path.
#![allow(clippy::expect_used, reason = "a test tool: a crate that cannot be made or built fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::place::Place;
use crate::process::{Ended, Process};

/// Time for one call of cargo. Where nothing is compiled yet, it compiles every dependency.
const CARGO_WITHIN: Duration = Duration::from_secs(1_200);

/// The workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// A crate outside of the workspace. It lies in its test's place and goes with that.
///
/// It resolves to the versions of the workspace's lock file, without the network, and compiles into the workspace's target folder,
/// so that dependencies are compiled once for all. Its name is its executable's name there: each test takes one of its own.
#[derive(Debug)]
pub struct Outside<'a> {
    place: &'a Place,
    name: String,
    target: PathBuf,
}

impl<'a> Outside<'a> {
    /// Writes a crate called `name`: its manifest below `[package]`, and its files by path. In the manifest, `{workspace}` stands
    /// for the workspace's folder.
    ///
    /// # Panics
    /// A file cannot be written.
    #[must_use]
    pub fn new(place: &'a Place, name: &str, manifest: &str, files: &[(&str, &str)]) -> Self {
        let root = workspace();
        let (package, lock, profile) = inherited(root);
        let manifest = manifest.replace("{workspace}", root.to_str().expect("the workspace has a plain name"));
        // The empty workspace keeps cargo from looking for one further up.
        let whole = format!("[package]\nname = \"{name}\"\n{package}\n{manifest}\n[workspace]\n\n{profile}");
        place.write(&format!("{name}/Cargo.toml"), whole);
        place.write(&format!("{name}/Cargo.lock"), lock);
        for (path, content) in files {
            place.write(&format!("{name}/{path}"), content);
        }
        Self { place, name: name.to_owned(), target: target_folder() }
    }

    /// Runs cargo in the crate, without the network. `args` begin with the subcommand.
    ///
    /// # Panics
    /// Cargo fails; what it said is shown.
    #[expect(clippy::must_use_candidate, reason = "that it succeeds is what most want to know")]
    pub fn cargo(&self, args: &[&str]) -> Ended {
        self.try_cargo(args).expect_code(0)
    }

    /// As [`Outside::cargo`], for what may fail.
    ///
    /// # Panics
    /// Cargo cannot be started, or does not end.
    #[must_use]
    pub fn try_cargo(&self, args: &[&str]) -> Ended {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(args).arg("--offline").current_dir(self.place.path(&self.name));
        command.env("CARGO_TARGET_DIR", &self.target).env("CARGO_TERM_COLOR", "never");
        Process::start(self.place, &format!("cargo-{}", args.first().unwrap_or(&"")), &mut command).wait(CARGO_WITHIN)
    }

    /// The executable that `cargo build` makes of its `src/main.rs`.
    #[must_use]
    pub fn executable(&self) -> PathBuf {
        self.target.join("debug").join(&self.name)
    }
}

impl Drop for Outside<'_> {
    /// Each run's crate has a path, and so artefacts, of its own: they would gather in the target folder.
    ///
    /// Cargo knows them by the names of its targets: none of those may be that of a target of the workspace.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(self.try_cargo(&["clean", "--package", &self.name]));
        }
    }
}

/// What a crate takes over from the workspace: edition and version, the lock file, and the profiles, since a dependency that is to be
/// compiled in another way is compiled again.
fn inherited(root: &Path) -> (String, String, String) {
    let read = |name: &str| fs::read_to_string(root.join(name)).expect("the workspace has a manifest and a lock file");
    let manifest: toml::Table = read("Cargo.toml").parse().expect("cargo has read it");
    let package = manifest.get("workspace").and_then(|it| it.get("package")).expect("the members share it");
    let of_package = ["version", "edition", "rust-version"].into_iter();
    let of_package = of_package.map(|key| (key.to_owned(), package.get(key).expect("the members share it").clone()));
    let profile = manifest.get("profile").map(|profile| ("profile".to_owned(), profile.clone()));
    (
        of_package.collect::<toml::Table>().to_string(),
        read("Cargo.lock"),
        profile.into_iter().collect::<toml::Table>().to_string(),
    )
}

/// The target folder that this test was compiled into.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the system says what it runs");
    let mut above = test.ancestors().skip(1);
    let tagged = above.find(|folder| folder.join("CACHEDIR.TAG").exists());
    tagged.expect("cargo tags its target folder").to_owned()
}
