//! A cluster of real processes on loopback: a master, workers, and the questions that tests ask them.
#![allow(clippy::expect_used, clippy::panic, reason = "a test tool: what goes wrong with a cluster fails the test")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use elastic_flow::admin::{Role, Token};
use elastic_flow::orchestrator::api::{ClusterView, FailureView, StepView, WorkerView};
use elastic_flow::prelude::{Audit, StepState};
use elastic_flow::wire::Secret;
use serde::de::DeserializeOwned;

use crate::http::{self, Answer};
#[cfg(target_os = "linux")]
use crate::namespaces::Disk;
use crate::place::Place;
use crate::process::{Ended, Process};
use crate::wait::{wait_for, wait_until};

/// Time for anything that should happen soon, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(60);
/// Time for a step.
pub const LONG: Duration = Duration::from_secs(120);

/// Settings that make failures show early.
const FAST: [&str; 4] =
    ["heartbeat.every=200ms", "heartbeat.dead_after=1500ms", "retry.backoff=10ms", "shutdown_grace=2s"];

/// How a cluster starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// The test program.
    pub program: &'static str,
    /// Workers at the start, named `w1`, `w2` and so on.
    pub workers: usize,
    /// Compute threads of each.
    pub slots: u32,
    /// Whether the master keeps its journal in files.
    pub durable: bool,
    /// Further settings, for all nodes.
    pub sets: Vec<String>,
}

/// A running cluster. Dropping it kills what it started.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    /// An address of this cluster's own where the system has them, so that a master that comes back finds its ports free.
    host: String,
    listen: String,
    admin: String,
    store: String,
    master: Option<Process>,
    workers: Vec<(String, Process)>,
    /// Last, so that processes are gone before their folder.
    place: Place,
}

static CLUSTERS: AtomicU32 = AtomicU32::new(1);

/// A host on loopback that no other test uses, where the system has them: all of 127/8 is loopback on Linux.
#[must_use]
pub fn own_host() -> String {
    if !cfg!(target_os = "linux") {
        return "127.0.0.1".to_owned();
    }
    let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    format!("127.{}.{}.{}", 1 + (process >> 8) % 250, process % 256, 1 + number % 250)
}

impl Cluster {
    /// Starts master and workers, and waits until all of them are there.
    ///
    /// # Panics
    /// They are not.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let place = Place::new();
        let store = if options.durable { format!("fs:{}", place.text("store")) } else { "memory".to_owned() };
        Self::start_in(place, options, store)
    }

    /// As [`Cluster::start`], in a place that is there, with a store of the test's choice.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    #[must_use]
    pub fn start_in(place: Place, options: Options, store: String) -> Self {
        let host = own_host();
        let any = format!("{host}:0");
        let mut cluster =
            Self { host, listen: any.clone(), admin: any, store, master: None, workers: Vec::new(), place, options };
        cluster.start_master();
        for number in 1..=cluster.options.workers {
            cluster.start_worker(&format!("w{number}"));
        }
        cluster.wait_workers(cluster.options.workers);
        cluster
    }

    /// The cluster's folder.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Starts the master, where it was before if it had been started already.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start_master(&mut self) {
        let mut master = self.spawn_master();
        let line = master.line_with(SOON, "\"listen\":");
        let line: serde_json::Value = serde_json::from_str(&line).expect("the master announces itself in JSON");
        self.listen = line["listen"].as_str().expect("where it listens").to_owned();
        let admin = line["admin"].as_str().expect("where its HTTP face listens");
        self.admin = admin.trim_start_matches("http://").to_owned();
        self.master = Some(master);
    }

    /// Starts a master and does not wait for it.
    #[must_use]
    pub fn spawn_master(&self) -> Process {
        let mut command = self.place.command(self.options.program);
        command.args(["master", "--json", "--listen", &self.listen, "--admin", &self.admin, "--store", &self.store]);
        command.args(self.sets());
        Process::start(&self.place, "master", &mut command)
    }

    /// Starts another master on the same store, at ports of its own, and does not wait for it.
    #[must_use]
    pub fn spawn_second_master(&self) -> Process {
        let any = format!("{}:0", self.host);
        let mut command = self.place.command(self.options.program);
        command.args(["master", "--json", "--listen", &any, "--admin", &any, "--store", &self.store]);
        command.args(self.sets());
        Process::start(&self.place, "second-master", &mut command)
    }

    /// Starts a worker of this program and does not wait for it to join.
    pub fn start_worker(&mut self, name: &str) {
        self.start_worker_of(self.options.program, name, &[]);
    }

    /// Starts a worker of any program, with further arguments.
    pub fn start_worker_of(&mut self, program: &str, name: &str, more: &[&str]) {
        let process = self.spawn_worker(program, name, more);
        self.workers.push((name.to_owned(), process));
    }

    /// Starts a worker of this program that reaches the master by another address, with further arguments.
    pub fn start_worker_through(&mut self, master: &str, name: &str, more: &[&str]) {
        let process = self.spawn_worker_through(self.options.program, master, name, more);
        self.workers.push((name.to_owned(), process));
    }

    /// Starts a worker of this program that sees a disk of its own, with further arguments.
    #[cfg(target_os = "linux")]
    pub fn start_worker_on(&mut self, disk: Disk<'_>, name: &str, more: &[&str]) {
        let mut command = disk.command(&self.place, self.options.program);
        self.add_worker_arguments(&mut command, &self.listen, name, more);
        self.workers.push((name.to_owned(), Process::start(&self.place, name, &mut command)));
    }

    /// Starts a worker that the cluster does not keep.
    #[must_use]
    pub fn spawn_worker(&self, program: &str, name: &str, more: &[&str]) -> Process {
        self.spawn_worker_through(program, &self.listen, name, more)
    }

    fn spawn_worker_through(&self, program: &str, master: &str, name: &str, more: &[&str]) -> Process {
        let mut command = self.place.command(program);
        self.add_worker_arguments(&mut command, master, name, more);
        Process::start(&self.place, name, &mut command)
    }

    fn add_worker_arguments(&self, command: &mut Command, master: &str, name: &str, more: &[&str]) {
        let slots = self.options.slots.to_string();
        command.args(["worker", "--master", master, "--name", name, "--slots", &slots]);
        command.args(self.sets()).args(more);
    }

    fn sets(&self) -> Vec<String> {
        let sets = FAST.iter().map(|set| (*set).to_owned()).chain(self.options.sets.iter().cloned());
        sets.flat_map(|set| ["--set".to_owned(), set]).collect()
    }

    /// The master's process.
    ///
    /// # Panics
    /// It has been killed.
    pub fn master(&mut self) -> &mut Process {
        self.master.as_mut().expect("the master has been started")
    }

    /// A worker's process.
    ///
    /// # Panics
    /// There is none of that name.
    pub fn worker(&mut self, name: &str) -> &mut Process {
        let found = self.workers.iter_mut().find(|(its, _)| its == name);
        found.map(|(_, process)| process).expect("a worker of that name")
    }

    /// A further setting, for nodes that are started from here on.
    pub fn set(&mut self, set: &str) {
        self.options.sets.push(set.to_owned());
    }

    /// Kills the master with SIGKILL.
    pub fn kill_master(&mut self) {
        self.master = None;
    }

    /// What is started from now on is of another program, unless a call names one.
    pub fn upgrade(&mut self, program: &'static str) {
        self.options.program = program;
    }

    /// Kills a worker with SIGKILL.
    pub fn kill_worker(&mut self, name: &str) {
        self.workers.retain(|(its, _)| its != name);
    }

    /// Where the master takes workers.
    ///
    /// # Panics
    /// It is not an address.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen.parse().expect("an address")
    }

    /// Where the master takes requests.
    ///
    /// # Panics
    /// It is not an address.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.parse().expect("an address")
    }

    /// A bearer token, derived from the cluster's key.
    ///
    /// # Panics
    /// There is no key.
    #[must_use]
    pub fn token(&self, role: Role) -> String {
        let key = std::fs::read_to_string(self.key_file()).expect("the master has made a key");
        Token::derive(&Secret::parse(&key).expect("a key"), role).expose().to_owned()
    }

    /// The file with the key that the master has made.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.place.path("config/elastic-flow/key")
    }

    /// Asks the master over HTTP as somebody who may do everything.
    ///
    /// # Errors
    /// It is not there.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        let bearer = format!("Bearer {}", self.token(Role::Admin));
        let headers =
            [("host", self.admin.as_str()), ("authorization", bearer.as_str()), ("content-type", "application/json")];
        http::ask(self.admin_addr(), method, path, &headers, body)
    }

    /// Reads something of the API; none while the master is away.
    ///
    /// # Panics
    /// The master refuses, or answers something else.
    pub fn try_get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let answer = self.ask("GET", &format!("/api/v1{path}"), "").ok()?;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        Some(serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error} in {}", answer.body)))
    }

    /// As [`Cluster::try_get`], of a master that is there.
    ///
    /// # Panics
    /// It is not, or as [`Cluster::try_get`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.try_get(path).expect("the master answers")
    }

    /// The workers that are connected.
    ///
    /// # Panics
    /// The master does not answer.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerView> {
        self.get("/workers")
    }

    /// Waits until exactly `count` workers are connected.
    ///
    /// # Panics
    /// They are not.
    pub fn wait_workers(&self, count: usize) {
        wait_until(SOON, &format!("{count} workers are connected"), || {
            let workers = self.try_get::<Vec<WorkerView>>("/workers");
            workers.is_some_and(|workers| workers.iter().filter(|it| it.joined).count() == count)
        });
    }

    /// The cluster in short.
    ///
    /// # Panics
    /// The master does not answer.
    #[must_use]
    pub fn view(&self) -> ClusterView {
        self.get("/cluster")
    }

    /// Runs a command that asks the master.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> Ended {
        self.start_cli(arguments).wait(LONG)
    }

    /// As [`Cluster::cli`], without waiting.
    #[must_use]
    pub fn start_cli(&self, arguments: &[&str]) -> Process {
        let mut command = self.place.command(self.options.program);
        command.args(arguments).args(["--admin", &format!("http://{}", self.admin)]);
        Process::start(&self.place, arguments[0], &mut command)
    }

    /// Submits a step and gives its number.
    ///
    /// # Panics
    /// It is refused.
    #[track_caller]
    pub fn submit(&self, program: &str, arguments: &[&str]) -> u64 {
        let mut line = vec!["submit", "--json", "--program", program];
        line.extend(arguments);
        let ended = self.cli(&line).expect_code(0);
        let view: StepView = serde_json::from_slice(&ended.stdout).expect("a step");
        view.id.0
    }

    /// A step.
    ///
    /// # Panics
    /// There is none of that number.
    #[must_use]
    pub fn step(&self, id: u64) -> StepView {
        self.get(&format!("/steps/{id}"))
    }

    /// Waits until a step has ended, and checks how. The master may be away meanwhile.
    ///
    /// # Panics
    /// It does not end, or otherwise.
    #[track_caller]
    pub fn wait_end(&self, id: u64, state: StepState) -> StepView {
        let view = wait_for(LONG, &format!("step {id} ends"), || {
            self.try_get::<StepView>(&format!("/steps/{id}")).filter(|view| view.state.is_final())
        });
        assert_eq!(view.state, state, "{:?} {:?}", view.reason, self.failures(id));
        view
    }

    /// Waits until a step is in a state.
    ///
    /// # Panics
    /// It does not get there.
    pub fn wait_state(&self, id: u64, state: StepState) {
        wait_until(SOON, &format!("step {id} is {state}"), || {
            self.try_get::<StepView>(&format!("/steps/{id}")).is_some_and(|view| view.state == state)
        });
    }

    /// A step's audit.
    ///
    /// # Panics
    /// There is no such step.
    #[must_use]
    pub fn audit(&self, id: u64) -> Audit {
        self.get(&format!("/steps/{id}/audit"))
    }

    /// A step's failures.
    ///
    /// # Panics
    /// There is no such step.
    #[must_use]
    pub fn failures(&self, id: u64) -> Vec<FailureView> {
        self.get(&format!("/steps/{id}/failures"))
    }

    /// A step's result as the program writes it, lines sorted.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    #[track_caller]
    pub fn output(&self, id: u64) -> Vec<u8> {
        let file = format!("output-{id}");
        let path = self.place.text(&file);
        self.cli(&["result", &id.to_string(), "--output", &path]).expect_code(0);
        crate::oracle_words::sorted(&self.place, &self.place.path(&file))
    }

    /// The host that is this cluster's own.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// What a side file tells: the name of every chunk that ran, in order, and the process that it ran in.
#[must_use]
pub fn runs_of(side: &str) -> Vec<(String, u32)> {
    let text = std::fs::read_to_string(side).unwrap_or_default();
    let run = |line: &str| {
        let (name, process) = line.split_once(' ')?;
        Some((name.to_owned(), process.parse().ok()?))
    };
    text.lines().filter_map(run).collect()
}

/// The names of the chunks that ran, in order.
#[must_use]
pub fn names_of(side: &str) -> Vec<String> {
    runs_of(side).into_iter().map(|(name, _)| name).collect()
}

/// Waits until at least `count` chunks have begun.
///
/// # Panics
/// They do not.
pub fn wait_runs(side: &str, count: usize) {
    wait_until(SOON, &format!("{count} chunks are noted in {side}"), || runs_of(side).len() >= count);
}
