//! The worker processes of `run`: started at once, told key and master through their standard input, started again when they
//! die, and gone when it closes.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use elastic_flow_clock::{Clock, SystemClock};
use elastic_flow_wire::Secret;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::exit_code::{Failure, USAGE};
use crate::progress::Screen;

/// The line before the secret.
pub(crate) const KEY_LINE: &str = "key ";
/// The line before the build and the file that it belongs to.
pub(crate) const BUILD_LINE: &str = "build ";
/// The line before the master's address.
pub(crate) const MASTER_LINE: &str = "master ";
/// The line that says that the work is done: the end of the input without it means that the parent is gone.
pub(crate) const END_LINE: &str = "end";

/// Wait before a dead worker is started again: doubles up to the largest.
const RESTART_MIN: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(5);
/// A worker that lived so long starts over with the smallest wait.
const LIVED_WELL: Duration = Duration::from_secs(30);
/// Time for what a dead worker has still said.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Bytes of a line that are passed on as one.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// How workers are started.
#[derive(Debug, Clone)]
pub(crate) struct WorkerCommand {
    /// This very binary.
    pub(crate) executable: PathBuf,
    /// The command line of all, but the name.
    pub(crate) arguments: Vec<OsString>,
    /// Whether their lines are passed on as they are.
    pub(crate) raw_lines: bool,
    /// Time to stop once they are told to.
    pub(crate) grace: Duration,
}

/// The worker processes.
#[derive(Debug)]
pub(crate) struct Workers {
    supervisors: JoinSet<()>,
    master: watch::Sender<Option<String>>,
    finish: CancellationToken,
}

impl Workers {
    /// Starts all of them; they wait for [`Workers::set_master`].
    pub(crate) fn start(
        command: &WorkerCommand,
        count: u32,
        secret: &Secret,
        screen: &Arc<Screen>,
    ) -> Result<Self, Failure> {
        let (master, _) = watch::channel(None);
        let finish = CancellationToken::new();
        let mut supervisors = JoinSet::new();
        let first: Result<Vec<_>, Failure> = (1..=count)
            .map(|number| {
                let supervisor = Supervisor {
                    command: command.clone(),
                    name: format!("w{number}"),
                    secret: secret.clone(),
                    master: master.subscribe(),
                    finish: finish.clone(),
                    screen: Arc::clone(screen),
                    clock: SystemClock::new(),
                };
                let child = supervisor.spawn().map_err(|error| {
                    Failure::failed(format!("cannot start {}: {error}", command.executable.display()))
                })?;
                Ok((supervisor, child))
            })
            .collect();
        for (supervisor, child) in first? {
            supervisors.spawn(supervisor.run(child));
        }
        Ok(Self { supervisors, master, finish })
    }

    /// Tells all of them which build this is, as [`crate::build_id::to_line`] says it, and where the master is.
    pub(crate) fn set_master(&self, build: &str, address: &str) {
        self.master.send_replace(Some(format!("{BUILD_LINE}{build}\n{MASTER_LINE}{address}\n")));
    }

    /// Resolves when every worker has refused to start.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub(crate) async fn all_gave_up(&mut self) {
        while self.supervisors.join_next().await.is_some() {}
    }

    /// Tells all of them to stop, and waits until they are gone, by force if need be.
    pub(crate) async fn finish(mut self) {
        self.finish.cancel();
        self.all_gave_up().await;
    }
}

/// Looks after one worker and its successors.
struct Supervisor {
    command: WorkerCommand,
    name: String,
    secret: Secret,
    /// What is said once the master is there.
    master: watch::Receiver<Option<String>>,
    finish: CancellationToken,
    screen: Arc<Screen>,
    clock: SystemClock,
}

impl Supervisor {
    fn spawn(&self) -> io::Result<Child> {
        Command::new(&self.command.executable)
            .args(&self.command.arguments)
            .args(["--name", &self.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches the parent alone, which then stops its workers in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    async fn run(mut self, first: Child) {
        let mut wait = RESTART_MIN;
        let mut next = Some(first);
        while !self.finish.is_cancelled() {
            let born = self.clock.now();
            let child = match next.take() {
                Some(child) => Ok(child),
                None => self.spawn(),
            };
            let ended = match child {
                Ok(child) => self.attend(child).await,
                Err(error) => Err(error),
            };
            if self.finish.is_cancelled() {
                return;
            }
            let code = ended.as_ref().ok().and_then(ExitStatus::code);
            let how = match ended {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            if code == Some(i32::from(USAGE)) {
                self.screen.say(&format!("worker {} refused to start", self.name));
                return;
            }
            if self.clock.now().since(born) >= LIVED_WELL {
                wait = RESTART_MIN;
            }
            self.screen.say(&format!("worker {} died ({how}): starting it again", self.name));
            if self.finish.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
            wait = wait.saturating_mul(2).min(RESTART_MAX);
        }
    }

    /// Sees one process to its end.
    async fn attend(&mut self, mut child: Child) -> io::Result<ExitStatus> {
        let mut lines = JoinSet::new();
        let prefix = if self.command.raw_lines { String::new() } else { format!("{} | ", self.name) };
        if let Some(stdout) = child.stdout.take() {
            lines.spawn(pass_on(stdout, prefix.clone(), Arc::clone(&self.screen)));
        }
        if let Some(stderr) = child.stderr.take() {
            lines.spawn(pass_on(stderr, prefix, Arc::clone(&self.screen)));
        }
        // Held until the process has ended: should this one die meanwhile, the end of it says so.
        let mut stdin = child.stdin.take();
        let early = tokio::select! {
            status = child.wait() => Some(status),
            () = self.talk(stdin.as_mut()) => None,
        };
        let status = match early {
            Some(status) => status,
            None => match tokio::time::timeout(self.command.grace, child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    child.start_kill()?;
                    child.wait().await
                }
            },
        };
        drop(stdin);
        let last_words = async { while lines.join_next().await.is_some() {} };
        // A process that it left behind may hold the pipe open: its words are not waited for.
        tokio::time::timeout(LAST_WORDS, last_words).await.ok();
        status
    }

    /// Hands key and master over, and resolves when the work is done and the process has been told so.
    async fn talk(&mut self, stdin: Option<&mut ChildStdin>) {
        let told = match stdin {
            Some(stdin) => self.try_talk(stdin).await,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if told.is_err() && !self.finish.is_cancelled() {
            // The process is about to be reaped.
            std::future::pending::<()>().await;
        }
    }

    async fn try_talk(&mut self, stdin: &mut ChildStdin) -> io::Result<()> {
        let key = Zeroizing::new(format!("{KEY_LINE}{}\n", *self.secret.reveal_hex()));
        stdin.write_all(key.as_bytes()).await?;
        let finish = self.finish.clone();
        let master = tokio::select! {
            biased;
            () = finish.cancelled() => return Ok(()),
            master = self.master.wait_for(Option::is_some) => master.ok().and_then(|master| master.clone()),
        };
        if let Some(master) = master {
            stdin.write_all(master.as_bytes()).await?;
        }
        finish.cancelled().await;
        stdin.write_all(format!("{END_LINE}\n").as_bytes()).await
    }
}

/// Passes a process's lines on, whatever their encoding.
async fn pass_on(stream: impl AsyncRead + Unpin + Send, prefix: String, screen: Arc<Screen>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => screen.say(&format!("{prefix}{}", String::from_utf8_lossy(line.trim_ascii_end()))),
        }
    }
}
