//! Executes the fenced blocks of the README and of the walk-throughs, as [`crate::fenced`] reads them.
//!
//! A block runs in `bash` with `set -euo pipefail`, in a process group of its own; what belongs to it and still runs when the document
//! ends is ended by the id of that group. Configuration and state go to a folder of the document, so that no walk-through meets what
//! another one, or the developer, left behind.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::fenced::{Block, begins, blocks, matches};
use crate::named_tests::SKIPPED;
use crate::shell::{Shell, now, say};

/// How long a block may take: the first one builds the release profile.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(20 * 60);
/// How long a background block may take until it has printed what is marked.
const READY_TIME_MAX: Duration = Duration::from_secs(5 * 60);
/// How long a process may take to end when it is asked to.
const END_TIME_MAX: Duration = Duration::from_secs(15);
/// Lines kept of a background block that nobody reads yet.
const LINES_MAX: usize = 1024;

/// Runs every marked block of the README and of each walk-through beside the examples and in the documentation. Gives what blocks
/// said of why this machine cannot run them.
pub(crate) fn check(shell: &Shell) -> anyhow::Result<Vec<String>> {
    let documents = documents(shell.root())?;
    let (mut ran, mut skipped) = (0, Vec::new());
    for document in &documents {
        let text =
            std::fs::read_to_string(document).with_context(|| format!("failed to read {}", document.display()))?;
        let name = document.strip_prefix(shell.root()).unwrap_or(document).display().to_string();
        let blocks = blocks(&text).with_context(|| name.clone())?;
        ran += blocks.len();
        skipped.extend(run_document(shell, &name, &blocks)?);
    }
    ensure!(ran > 0, "no block is marked to be run in {} documents", documents.len());
    say(&format!("{ran} blocks of {} documents ran", documents.len()));
    Ok(skipped)
}

fn documents(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut documents = vec![root.join("README.md")];
    for folder in ["examples", "docs"] {
        let folder = root.join(folder);
        if folder.is_dir() {
            let entries = std::fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
            documents.extend(
                entries
                    .flatten()
                    .map(|entry| entry.path())
                    .filter(|path| path.extension().is_some_and(|it| it == "md")),
            );
        }
    }
    documents.sort();
    Ok(documents)
}

fn run_document(shell: &Shell, name: &str, blocks: &[Block]) -> anyhow::Result<Vec<String>> {
    let mut skipped = Vec::new();
    if blocks.is_empty() {
        return Ok(skipped);
    }
    let folder = tempfile::Builder::new().prefix("elastic-flow-blocks").tempdir().context("failed to make a folder")?;
    let mut groups = Groups(Vec::new());
    for block in blocks {
        let at = format!("{name}:{}", block.line);
        say(&format!("-- {at}"));
        let run = Run { shell, block, folder: folder.path() };
        if block.background {
            run.start(&mut groups).context(at)?;
        } else {
            skipped.extend(cannot_run(&run.to_end(&mut groups).context(at)?));
        }
    }
    Ok(skipped)
}

/// What a block says that this machine lacks.
fn cannot_run(printed: &str) -> Vec<String> {
    let said = printed.lines().filter_map(|line| line.split_once(SKIPPED));
    said.map(|(_, why)| why.trim_end_matches(')').to_owned()).collect()
}

/// One block about to run.
struct Run<'a> {
    shell: &'a Shell,
    block: &'a Block,
    folder: &'a Path,
}

impl Run<'_> {
    fn command(&self) -> Command {
        let script = format!("set -euo pipefail\n{}", self.block.script);
        let mut command = self.shell.command("bash", ["-c", &script]);
        if self.block.temp {
            command.current_dir(self.folder);
        }
        for (name, folder) in
            [("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state"), ("XDG_RUNTIME_DIR", "runtime")]
        {
            command.env(name, self.folder.join(folder));
        }
        command.process_group(0);
        command
    }

    /// Runs the block to its end, and gives what it printed. Its output goes through a file: what it leaves running may keep that open.
    fn to_end(&self, groups: &mut Groups) -> anyhow::Result<String> {
        let printed = tempfile::NamedTempFile::new_in(self.folder).context("failed to make a file for the output")?;
        let mut child = self.command().stdout(printed.reopen()?).spawn().context("failed to start bash")?;
        let id = child.id();
        groups.0.push(Group { id, leader: None });
        let (ended, end) = mpsc::sync_channel(1);
        let waiter = std::thread::spawn(move || {
            // A receiver that has given up has ended the group, and reports that.
            ended.send(child.wait()).is_ok()
        });
        let status = match end.recv_timeout(BLOCK_TIME_MAX) {
            Ok(status) => status.context("failed to wait for bash"),
            Err(_) => {
                Group { id, leader: None }.end();
                Err(anyhow::anyhow!("still running after {} min", BLOCK_TIME_MAX.as_secs() / 60))
            }
        };
        ensure!(waiter.join().is_ok(), "the thread that waits for bash panicked");
        let printed = std::fs::read(printed.path()).context("failed to read the output")?;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        self.judge(status?, &printed)?;
        Ok(printed)
    }

    fn judge(&self, status: ExitStatus, printed: &str) -> anyhow::Result<()> {
        ensure!(status.success(), "ended with {status}\n{}\nafter it had printed:\n{printed}", self.block.script);
        let lines: Vec<_> = printed.lines().map(str::to_owned).collect();
        match &self.block.output {
            Some(expected) if !matches(expected, &lines) => {
                bail!("printed something else than is marked.\nmarked:\n{}\nprinted:\n{printed}", expected.join("\n"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Starts the block, and waits until it has printed what is marked.
    fn start(&self, groups: &mut Groups) -> anyhow::Result<()> {
        let (reader, writer) = std::io::pipe().context("failed to make a pipe")?;
        let mut command = self.command();
        command.stdout(writer.try_clone()?).stderr(writer);
        let leader = command.spawn().context("failed to start bash")?;
        groups.0.push(Group { id: leader.id(), leader: Some(leader) });
        // The command holds the writing end, too: without this the pipe would never end.
        drop(command);
        let (lines, printed) = mpsc::sync_channel(LINES_MAX);
        // Reads on to the end even when nobody listens any more, so that a full pipe stops nobody; ends with its group.
        std::thread::spawn(move || {
            BufReader::new(reader).lines().map_while(Result::ok).for_each(|line| drop(lines.try_send(line)))
        });
        let Some(expected) = &self.block.output else { return Ok(()) };
        let (started, mut seen) = (now(), Vec::new());
        while !begins(expected, &seen) {
            match printed.recv_timeout(READY_TIME_MAX.saturating_sub(started.elapsed())) {
                Ok(line) => seen.push(line),
                Err(cause) => bail!(
                    "{cause} before it printed what is marked.\nmarked:\n{}\nprinted:\n{}",
                    expected.join("\n"),
                    seen.join("\n")
                ),
            }
        }
        Ok(())
    }
}

/// The process groups of a document; ended with it, youngest first.
struct Groups(Vec<Group>);

impl Drop for Groups {
    fn drop(&mut self) {
        self.0.drain(..).rev().for_each(Group::end);
    }
}

/// A process group, and the process that leads it unless something else waits for that.
struct Group {
    id: u32,
    leader: Option<Child>,
}

impl Group {
    /// Ends the group: asks, waits, and insists.
    fn end(mut self) {
        let started = now();
        let mut runs = self.signal("TERM");
        while runs && started.elapsed() < END_TIME_MAX {
            std::thread::sleep(Duration::from_millis(20));
            // An ended leader belongs to its group until somebody has waited for it.
            let leader_ended = self.leader.as_mut().is_none_or(|leader| !matches!(leader.try_wait(), Ok(None)));
            runs = self.signal("0") || !leader_ended;
        }
        if runs {
            self.signal("KILL");
        }
    }

    fn signal(&self, signal: &str) -> bool {
        let mut kill = Command::new("kill");
        kill.args(["-s", signal, "--", &format!("-{}", self.id)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        kill.status().is_ok_and(|status| status.success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(document: &str) -> anyhow::Result<Vec<String>> {
        let shell = Shell::at_workspace_root()?;
        run_document(&shell, "TEST.md", &blocks(document)?)
    }

    #[test]
    fn what_a_block_says_that_it_cannot_run_is_told() {
        let skipped = run("```sh run\necho 'shown 3 (cannot run here: there is no curl)'\necho done\n```").unwrap();
        assert_eq!(skipped, ["there is no curl"]);
    }

    #[test]
    fn a_block_runs_at_the_root_and_what_it_prints_is_compared() {
        run("```sh run\nls Cargo.toml\necho took 3 s\n```\n```text output\nCargo.toml\ntook ... s\n```").unwrap();
        run("```console run\n$ printf 'a\\nb\\n'\na\nb\n```").unwrap();
        let error = format!("{:#}", run("text\n```sh run\necho b\n```\n```text output\na\n```").unwrap_err());
        assert!(
            error.starts_with("TEST.md:2: printed something else than is marked.\nmarked:\na\nprinted:\nb"),
            "{error}"
        );
    }

    #[test]
    fn a_command_that_fails_fails_its_block_even_in_a_pipe_or_in_the_middle() {
        for script in ["false\ntrue", "false | true", "echo $no_such_variable"] {
            assert!(run(&format!("```sh run\n{script}\n```")).is_err(), "{script}");
        }
    }

    #[test]
    fn the_temp_folder_is_empty_at_first_shared_by_the_document_and_not_the_clone() {
        run("```sh run temp\ntest ! -e Cargo.toml\necho kept > left\n```\n```sh run temp\ncat left\n```\n```text output\nkept\n```").unwrap();
    }

    #[test]
    fn state_and_configuration_of_the_developer_are_out_of_reach() {
        run("```sh run temp\necho \"$XDG_STATE_HOME\" \"$XDG_CONFIG_HOME\"\n```\n```text output\n...elastic-flow-blocks...state...config\n```").unwrap();
    }

    #[test]
    fn what_runs_in_the_background_is_awaited_used_and_ended_with_the_document() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let pids = pids.display();
        run(&format!(
            "```sh run background\necho $$ >> {pids}\necho ready to serve\nsleep 600\n```\n```text output\nready ...\n```\n\
             ```sh run\nsleep 600 &\necho $! >> {pids}\nkill -0 $(head -1 {pids})\n```\n"
        ))
        .unwrap();
        let pids = std::fs::read_to_string(folder.path().join("pids")).unwrap();
        assert_eq!(pids.lines().count(), 2);
        for pid in pids.lines() {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(state.is_empty() || state.contains(") Z "), "{pid} still runs: {state}");
        }
    }

    #[test]
    fn a_background_block_that_ends_without_its_line_fails() {
        let error = format!("{:#}", run("```sh run background\necho no\n```\n```text output\nready\n```").unwrap_err());
        assert!(error.contains("before it printed what is marked") && error.ends_with("printed:\nno"), "{error}");
    }
}
