//! What the checks need beyond Rust: found, installed, or named with what to install.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::shell::{Shell, cache_folder, say};

/// The version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// A program or library that a check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// Checks licences, sources and bans.
    CargoDeny,
    /// The C++20 compiler that RocksDB is built with.
    Cxx,
    /// The library with which RocksDB's C header is read.
    Libclang,
    /// Prometheus itself and promtool, which the metrics are shown to.
    Prometheus,
    /// Sends the HTTP face what its OpenAPI document allows, and what it does not.
    Schemathesis,
}

impl Tool {
    /// Sees to it that the tool is there.
    pub(crate) fn provide(self, shell: &Shell) -> anyhow::Result<()> {
        match self {
            Self::CargoDeny => cargo_deny(shell).map(drop),
            Self::Cxx => provide_package(shell, "a C++20 compiler", has_cxx, "g++"),
            Self::Libclang => provide_package(shell, "libclang", || libclang().is_some(), "libclang-dev"),
            Self::Prometheus => provide_package(
                shell,
                "Prometheus",
                || runs("promtool", "--version") && runs("prometheus", "--version"),
                "prometheus",
            ),
            Self::Schemathesis => schemathesis(shell),
        }
    }
}

/// What the test of the OpenAPI document runs, with all that it needs, pinned.
const SCHEMATHESIS: &str = include_str!("../../integration-tests/schemathesis.txt");

/// Installs schemathesis into the folder of the cache where its test looks for it, unless these very versions are there.
fn schemathesis(shell: &Shell) -> anyhow::Result<()> {
    let root = cache_folder()?.join("schemathesis");
    let installed = root.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|versions| versions == SCHEMATHESIS) {
        return Ok(());
    }
    let python = "python3";
    let makes_environments = || {
        let ensured = Command::new(python).args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
        ensured.is_ok_and(|status| status.success())
    };
    provide_package(shell, "Python with its venv module", makes_environments, "python3-venv")?;
    say(&format!("installing schemathesis into {}", root.display()));
    let requirements = shell.root().join("integration-tests").join("schemathesis.txt");
    let mut make = shell.command(python, ["-m", "venv", "--clear"]);
    make.arg(&root);
    let mut install = shell.command(root.join("bin").join("python"), ["-m", "pip", "install", "--quiet"]);
    install.args(["--disable-pip-version-check", "--requirement"]).arg(&requirements);
    for command in [&mut make, &mut install] {
        let status = command.status().with_context(|| format!("failed to start {python}"))?;
        ensure!(
            status.success(),
            "schemathesis could not be installed: {python} says above why; {} has the versions",
            requirements.display()
        );
    }
    // Last, so that what was cut short is made anew.
    std::fs::write(&installed, SCHEMATHESIS).with_context(|| format!("failed to write {}", installed.display()))
}

/// The pinned cargo-deny: the one in the path if it is of that version, else one installed into the cache.
pub(crate) fn cargo_deny(shell: &Shell) -> anyhow::Result<PathBuf> {
    let is_pinned = |program: &Path| {
        let output = shell.command(program, ["--version"]).stderr(Stdio::null()).output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).trim() == format!("cargo-deny {CARGO_DENY_VERSION}")
        })
    };
    let in_path = PathBuf::from("cargo-deny");
    if is_pinned(&in_path) {
        return Ok(in_path);
    }
    let root = cache_folder()?.join(format!("cargo-deny-{CARGO_DENY_VERSION}"));
    let cached = root.join("bin").join("cargo-deny");
    if is_pinned(&cached) {
        return Ok(cached);
    }
    say(&format!("installing cargo-deny {CARGO_DENY_VERSION} into {}", root.display()));
    let build = root.join("build");
    let mut install =
        shell.cargo(["install", "--quiet", "--locked", "--version", CARGO_DENY_VERSION, "cargo-deny", "--root"]);
    // Beside the workspace's own folders and settings: what is installed must not depend on this clone.
    install.arg(&root).arg("--target-dir").arg(&build).current_dir(std::env::temp_dir());
    let status = install.status().context("failed to start cargo")?;
    ensure!(
        status.success() && is_pinned(&cached),
        "cargo-deny {CARGO_DENY_VERSION} could not be installed; do so with `cargo install --locked cargo-deny@{CARGO_DENY_VERSION}`, \
         or leave it out with --skip deny"
    );
    std::fs::remove_dir_all(&build).with_context(|| format!("failed to remove {}", build.display()))?;
    Ok(cached)
}

/// Installs `package` by the system's package manager if `is_there` says no, or says what to install.
fn provide_package(shell: &Shell, what: &str, is_there: impl Fn() -> bool, package: &str) -> anyhow::Result<()> {
    if is_there() {
        return Ok(());
    }
    if !(is_root() && runs("apt-get", "--version")) {
        bail!(
            "a check needs {what}, which is not there; install it (Debian, Ubuntu: sudo apt-get install {package}; elsewhere the \
             system's package of that name), or leave the check out with --skip NAME (--list shows what each needs)"
        );
    }
    say(&format!("installing {what}: apt-get install {package}"));
    let install = ["install", "--yes", "--quiet", "--no-install-recommends", package];
    for args in [&["update", "--quiet"][..], &install] {
        let status =
            shell.command("apt-get", args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).status();
        ensure!(status.context("failed to start apt-get")?.success(), "apt-get {} failed", args.join(" "));
    }
    ensure!(
        is_there(),
        "{what} is not found although {package} is installed; put it into the PATH, or set LIBCLANG_PATH or CXX"
    );
    Ok(())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn runs(program: &str, arg: &str) -> bool {
    Command::new(program)
        .arg(arg)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn has_cxx() -> bool {
    match std::env::var("CXX") {
        Ok(named) => runs(&named, "--version"),
        Err(_) => runs("c++", "--version"),
    }
}

/// The file of libclang, looked for where the crate that loads it looks.
fn libclang() -> Option<PathBuf> {
    let named = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let configured = Command::new("llvm-config").arg("--libdir").output().ok().filter(|output| output.status.success());
    let configured = configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let usual = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/Library/Developer/CommandLineTools/usr/lib",
        "/opt/homebrew/opt/llvm/lib",
    ];
    let versioned = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let versioned =
        versioned.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm")));
    let folders = named
        .into_iter()
        .chain(configured)
        .chain(versioned.map(|path| path.join("lib")))
        .chain(usual.map(PathBuf::from));
    folders.into_iter().find_map(|folder| libclang_in(&folder))
}

fn libclang_in(folder: &Path) -> Option<PathBuf> {
    if folder.is_file() {
        return Some(folder.to_owned());
    }
    let is_libclang = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == "libclang.dylib"
            || name.starts_with("libclang.so")
            || (name.starts_with("libclang-") && name.contains(".so") && !name.contains("cpp"))
    };
    let mut found: Vec<_> =
        std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(is_libclang).collect();
    found.sort();
    found.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_known_by_its_file_name_and_its_siblings_are_not_taken_for_it() {
        for (name, is) in [
            ("libclang.so", true),
            ("libclang.so.1", true),
            ("libclang-14.so.1", true),
            ("libclang.dylib", true),
            ("libclang-cpp.so.14", false),
            ("libclangAST.a", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), "").unwrap();
            assert_eq!(libclang_in(folder.path()).is_some(), is, "{name}");
        }
    }

    #[test]
    fn what_is_there_is_not_installed_again() {
        let shell = Shell::at_workspace_root().unwrap();
        assert!(provide_package(&shell, "a thing that is there", || true, "no-such-package").is_ok());
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_does_not_count_as_there() {
        assert!(runs("true", "--version"));
        assert!(!runs("false", "--no-such-option"));
        assert!(!runs("no-such-program-anywhere", "--version"));
    }
}
