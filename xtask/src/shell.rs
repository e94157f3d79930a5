//! The only place that starts processes, prints, and reads the clock.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;

/// Prints a line for whoever runs the tool.
#[expect(clippy::print_stdout, reason = "a developer's tool talks on its standard output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Now, to time a check by.
#[expect(clippy::disallowed_methods, reason = "a tool times what it runs; it decides nothing by it")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Starts processes at the root of the workspace, without standard input.
#[derive(Debug)]
pub(crate) struct Shell {
    root: PathBuf,
}

impl Shell {
    /// The workspace that this tool belongs to.
    pub(crate) fn at_workspace_root() -> anyhow::Result<Self> {
        let package =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = package.parent().context("the workspace of xtask has no folder; run it as `cargo xtask`")?;
        Ok(Self { root: root.to_owned() })
    }

    /// The root of the workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The cargo that started this tool, with `args`.
    pub(crate) fn cargo<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
    }

    /// Any program, with `args`.
    pub(crate) fn command<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.root).stdin(Stdio::null());
        // What cargo tells this package about itself is none of the business of what it starts.
        for (name, _) in std::env::vars_os() {
            let package_only =
                name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
            if package_only {
                command.env_remove(&name);
            }
        }
        command
    }
}

/// This project's folder for what is worth keeping between runs and clones: `${XDG_CACHE_HOME:-~/.cache}/elastic-flow`.
pub(crate) fn cache_folder() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(cache
        .context("neither XDG_CACHE_HOME nor HOME is set; set one, for tools and slow builds to be kept in")?
        .join("elastic-flow"))
}
