//! One configuration on every server, and the same command: who is there, who is not yet, and a key that is replaced meanwhile.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::net::TcpListener;

use elastic_flow::admin::{Role, Token};
use elastic_flow::orchestrator::api::{ClusterView, StepView, WorkerView};
use elastic_flow::prelude::StepState;
use elastic_flow::wire::Secret;
use elastic_flow_integration_tests::cluster::{LONG, SOON, own_host, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::http::{self, Answer};
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file, sorted};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Ended, Process, Signal};
use elastic_flow_integration_tests::wait::{wait_for, wait_until};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
/// What a node logs when it has other keys.
const READ_ANEW: &str = "the keys were read anew";

/// Three servers of one configuration, on one machine.
struct Servers {
    listen: String,
    admin: String,
    running: BTreeMap<String, Process>,
    /// Last, so that processes are gone before their folder.
    place: Place,
}

impl Servers {
    fn new() -> Self {
        let host = own_host();
        // Known before anything listens, and free: the host is this test's own.
        let ports = [(); 2].map(|()| TcpListener::bind((host.as_str(), 0)).expect("a port"));
        let [listen, admin] = ports.map(|port| port.local_addr().expect("its address").to_string());
        let servers = Self { listen, admin, running: BTreeMap::new(), place: Place::new() };
        servers.configure("");
        servers
    }

    /// Writes the configuration of all, with `more` behind it.
    fn configure(&self, more: &str) {
        let (listen, admin) = (&self.listen, &self.admin);
        let text = format!(
            "shutdown_grace = \"2s\"\n\
             [servers]\n\
             yam1 = {{ role = \"master\", listen = \"{listen}\", admin = \"{admin}\" }}\n\
             yam2 = {{ role = \"worker\", slots = 1 }}\n\
             yam3 = \"slave\"\n\
             [store]\nurl = \"memory\"\n\
             [heartbeat]\nevery = \"200ms\"\ndead_after = \"1500ms\"\n\
             [distribute]\nchunk_bytes = 2000\n\
             [admin]\nmin_workers = 2\n{more}"
        );
        self.place.write("conf.toml", text);
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.place.command(TESTBED);
        command.args(["--config", "conf.toml"]).args(arguments);
        command
    }

    fn start(&mut self, name: &str, says: &str) {
        let mut process = Process::start(&self.place, name, &mut self.command(&["start", "--name", name]));
        drop(process.line_with(SOON, says));
        self.running.insert(name.to_owned(), process);
    }

    fn start_all(&mut self) {
        self.start("yam1", "listening on");
        self.start("yam2", "worker yam2 of the master at");
        self.start("yam3", "worker yam3 of the master at");
        wait_until(SOON, "the master is ready", || self.readiness() == 200);
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Process::start(&self.place, "command", &mut self.command(arguments)).wait(LONG)
    }

    /// Runs a command that asks the master.
    fn ask_master(&self, arguments: &[&str]) -> Ended {
        let url = format!("http://{}", self.admin);
        self.run(&[arguments, &["--admin", url.as_str()]].concat()).expect_code(0)
    }

    fn get(&self, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("host", self.admin.as_str()), ("authorization", bearer.as_str())];
        http::ask(self.admin.parse().expect("an address"), "GET", path, &headers, "").expect("the master answers")
    }

    fn readiness(&self) -> u16 {
        self.get("/readyz", "").status
    }

    /// A token of the key in a file.
    fn token(&self, key_file: &str) -> String {
        let key = std::fs::read_to_string(self.place.path(key_file)).expect("a key");
        Token::derive(&Secret::parse(&key).expect("a key"), Role::Read).expose().to_owned()
    }

    /// State and name of every worker, as the command shows them.
    fn workers(&self) -> Vec<(String, String)> {
        let shown = self.ask_master(&["workers"]).text();
        let states = ["not joined", "ready", "draining", "other build"];
        let row = |line: &str| {
            let state = states.iter().find(|state| line.contains(*state)).expect("a state");
            let name = line.split_ascii_whitespace().next().expect("a name");
            (name.to_owned(), (*state).to_owned())
        };
        let mut rows: Vec<_> = shown.lines().skip(1).map(row).collect();
        rows.sort();
        rows
    }

    fn wait_states(&self, states: [&str; 2]) {
        let wanted: Vec<_> =
            ["yam2", "yam3"].iter().zip(states).map(|(name, state)| ((*name).to_owned(), state.to_owned())).collect();
        wait_until(SOON, &format!("the workers are {states:?}"), || self.workers() == wanted);
    }

    /// Tells a node to read its keys anew, and waits until it says `says` for the `times`th time.
    fn hang_up(&self, name: &str, says: &str, times: usize) {
        let process = self.running.get(name).expect("it has been started");
        process.signal(Signal::HUP);
        wait_until(SOON, &format!("{name} says {says:?} {times} times"), || {
            process.stderr().matches(says).count() >= times
        });
    }

    fn metric(&self, series: &str, token: &str) -> f64 {
        let text = self.get("/metrics", token).body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

#[test]
fn the_same_command_on_three_servers_is_a_cluster() {
    let mut servers = Servers::new();
    servers.start("yam1", "listening on");
    servers.wait_states(["not joined", "not joined"]);
    assert_eq!(servers.readiness(), 503);
    let token = servers.token("config/elastic-flow/key");
    let workers: Vec<WorkerView> = serde_json::from_str(&servers.get("/api/v1/workers", &token).body).expect("workers");
    let seen: Vec<_> = workers.iter().map(|it| (it.name.as_str(), it.joined, it.node, it.slots)).collect();
    assert_eq!(seen, [("yam2", false, None, 1), ("yam3", false, None, 0)]);
    let cluster: ClusterView = serde_json::from_str(&servers.get("/api/v1/cluster", &token).body).expect("the cluster");
    assert_eq!((cluster.ready, cluster.min_workers, cluster.workers), (false, 2, 0));
    assert_eq!(cluster.address, servers.listen);

    servers.start("yam2", "connected");
    servers.wait_states(["ready", "not joined"]);
    assert_eq!(servers.readiness(), 503);
    servers.start("yam3", "connected");
    servers.wait_states(["ready", "ready"]);
    assert_eq!(servers.readiness(), 200);

    let input = servers.place.write("input.txt", corpus::lines(1, 30_000));
    let counts = servers.place.text("counts");
    servers.ask_master(&["submit", "--program", "word_count", "--input", &input, "--wait", "--output", &counts]);
    assert_equal(&sorted(&servers.place, &servers.place.path("counts")), &counts_of_file(&servers.place, &input));

    servers.running.remove("yam3");
    servers.wait_states(["ready", "not joined"]);
    assert_eq!(servers.readiness(), 503);
}

#[test]
fn a_server_that_is_not_in_the_map_is_told_who_is() {
    let servers = Servers::new();
    let ended = servers.run(&["start", "--name", "yam9"]).expect_code(2);
    assert!(ended.stderr.contains("yam1 (master), yam2 (worker), yam3 (worker)"), "{}", ended.stderr);
    let second = ["start", "--name", "yam1", "--set", "servers.yam4.role=master"];
    let ended = servers.run(&second).expect_code(2);
    assert!(ended.stderr.contains("several masters (yam1, yam4)"), "{}", ended.stderr);
}

#[test]
fn servers_are_shown_with_the_addresses_that_they_advertise() {
    let servers = Servers::new();
    let arguments = ["start", "--name", "yam1", "--advertise", "yam1.example:7117"];
    let mut master = Process::start(&servers.place, "yam1", &mut servers.command(&arguments));
    let line = master.line_with(SOON, "listening on");
    assert!(line.contains(", advertised as yam1.example:7117, "), "{line}");
    let arguments = ["start", "--name", "yam2", "--advertise", "yam2.example:7117"];
    let mut worker = Process::start(&servers.place, "yam2", &mut servers.command(&arguments));
    drop(worker.line_with(SOON, "connected"));
    wait_until(SOON, "its address is shown", || servers.ask_master(&["workers"]).text().contains("yam2.example:7117"));
    let token = servers.token("config/elastic-flow/key");
    let cluster: ClusterView = serde_json::from_str(&servers.get("/api/v1/cluster", &token).body).expect("the cluster");
    assert_eq!(cluster.address, "yam1.example:7117");
    for wrong in ["0.0.0.0:7117", "yam1.example:0", "yam1.example"] {
        let ended = servers.run(&["start", "--name", "yam2", "--advertise", wrong]).expect_code(2);
        assert!(ended.stderr.contains(wrong) && ended.stderr.contains("HOST:PORT"), "{}", ended.stderr);
    }
}

/// Submits a step that does not end before there is a file `marker`, and waits until it works.
fn held_step(servers: &Servers, input: &str) -> u64 {
    let held = servers.place.write("held.txt", "held\n");
    let (side, marker) = (servers.place.text("side"), servers.place.text("marker"));
    let params = [format!("side={side}"), format!("marker={marker}"), "hold=held".to_owned(), "slow=20ms".to_owned()];
    let mut line = vec!["submit", "--json", "--program", "word_count", "--input", input, &held];
    line.extend(params.iter().flat_map(|param| ["--param", param.as_str()]));
    let view: StepView = serde_json::from_slice(&servers.ask_master(&line).stdout).expect("a step");
    wait_runs(&side, 4);
    view.id.0
}

fn security(key_file: &str, old: Option<&str>) -> String {
    let old = old.map(|old| format!("old_key_file = \"{old}\"\n")).unwrap_or_default();
    format!("[security]\nkey_file = \"{key_file}\"\n{old}")
}

#[test]
fn a_key_is_replaced_while_a_step_runs_and_no_worker_is_lost() {
    let mut servers = Servers::new();
    for key in ["one", "two"] {
        servers.run(&["key", "new", key]).expect_code(0);
    }
    let (one, two) = (servers.token("one"), servers.token("two"));
    servers.configure(&security("one", None));
    servers.start_all();
    let input = servers.place.write("input.txt", corpus::lines(2, 60_000));
    let step = held_step(&servers, &input);

    // A bad file changes nothing.
    servers.configure(&security("absent", Some("one")));
    servers.hang_up("yam1", "those in force stay", 1);
    assert_eq!(servers.get("/api/v1/steps", &one).status, 200);

    // In any order: a worker first, then the master; the other worker learns of it after the master.
    servers.configure(&security("two", Some("one")));
    servers.hang_up("yam2", READ_ANEW, 1);
    assert_eq!(servers.get("/api/v1/steps", &two).status, 401);
    // The command line has the new key already, and the master has not.
    assert_eq!(servers.workers().len(), 2);
    servers.hang_up("yam1", READ_ANEW, 1);
    for token in [&one, &two] {
        assert_eq!(servers.get("/api/v1/steps", token).status, 200);
    }
    // A server that comes meanwhile and still has the old key alone is taken.
    servers.place.write("late.toml", security("one", None));
    let late = ["worker", "--config", "late.toml", "--name", "late", "--slots", "1", "--master", &servers.listen];
    let mut process = Process::start(&servers.place, "late", servers.place.command(TESTBED).args(late));
    drop(process.line_with(SOON, "connected"));
    wait_until(SOON, "the use of the old key is counted", || {
        servers.metric("elastic_flow_old_key_uses_total{by=\"node\"}", &two) >= 1.0
    });
    servers.hang_up("yam3", READ_ANEW, 1);
    process.signal(Signal::TERM);
    drop(process.wait(SOON).expect_code(0));

    // The old key goes.
    servers.configure(&security("two", None));
    for name in ["yam3", "yam1", "yam2"] {
        servers.hang_up(name, READ_ANEW, 2);
    }
    assert_eq!((servers.get("/api/v1/steps", &one).status, servers.get("/api/v1/steps", &two).status), (401, 200));
    let refused = Process::start(&servers.place, "late", servers.place.command(TESTBED).args(late));
    let refused = refused.wait(SOON).expect_code(3);
    assert!(refused.stderr.contains("key does not match"), "{}", refused.stderr);
    let key_refusals = || servers.metric("elastic_flow_auth_failures_total{reason=\"key\"}", &two);
    wait_until(SOON, "the refusal is counted", || key_refusals() >= 1.0);

    let path = format!("/api/v1/steps/{step}");
    let state = || serde_json::from_str::<StepView>(&servers.get(&path, &two).body).expect("a step").state;
    assert_eq!(state(), StepState::Running);
    drop(servers.place.write("marker", ""));
    let ended = wait_for(LONG, "the step ends", || Some(state()).filter(|state| state.is_final()));
    assert_eq!(ended, StepState::Completed);
    let counts = servers.place.text("counts");
    servers.ask_master(&["result", &step.to_string(), "--output", &counts]);
    let both = std::fs::read_to_string(&input).expect("the input") + "held\n";
    let both = servers.place.write("both.txt", both);
    assert_equal(&sorted(&servers.place, &servers.place.path("counts")), &counts_of_file(&servers.place, &both));
    for reason in ["silent", "closed", "protocol"] {
        let lost = servers.metric(&format!("elastic_flow_workers_lost_total{{reason=\"{reason}\"}}"), &two);
        assert!(lost < 0.5, "{lost} workers were lost: {reason}");
    }
    for (name, process) in &servers.running {
        let said = process.stderr();
        let keys = ["one", "two"].map(|key| std::fs::read_to_string(servers.place.path(key)).expect("a key"));
        assert!(keys.iter().all(|key| !said.contains(key.trim())), "{name} has shown a key");
        assert!(!said.contains("takes a restart"), "nothing but keys has changed: {said}");
    }

    // The workers that have been here all the time have nothing but the new key to come back with.
    servers.running.remove("yam1");
    servers.start("yam1", "listening on");
    wait_until(SOON, "the workers are back", || servers.readiness() == 200);
}

/// Runs a command of the test program under other limits of open files.
fn limited(servers: &Servers, limit: &str, name: &str) -> Process {
    let mut command = servers.place.command("/bin/sh");
    command.args(["-c", &format!("{limit} && exec \"$0\" \"$@\""), TESTBED]);
    command.args(["--config", "conf.toml", "start", "--name", name]);
    Process::start(&servers.place, name, &mut command)
}

#[test]
fn limits_that_cannot_carry_a_node_are_refused_and_those_that_can_are_raised() {
    let servers = Servers::new();
    let refused = limited(&servers, "ulimit -n 51", "yam1").wait(SOON).expect_code(2);
    assert!(refused.stderr.contains("may have 51 open, but a master of 2 workers takes 52"), "{}", refused.stderr);
    let refused = limited(&servers, "ulimit -n 51", "yam2").wait(SOON).expect_code(2);
    assert!(refused.stderr.contains("a worker of 1 slots beside another one takes 56"), "{}", refused.stderr);
    let mut run = servers.place.command("/bin/sh");
    run.args(["-c", "ulimit -n 60 && exec \"$0\" \"$@\"", TESTBED, "run", "--workers", "20", "--slots", "1"]);
    run.args(["--program", "word_count", "--input", "conf.toml"]);
    let refused = Process::start(&servers.place, "run", &mut run).wait(SOON).expect_code(2);
    assert!(refused.stderr.contains("may have 60 open, but a master of 20 workers takes 88"), "{}", refused.stderr);
    let mut raised = limited(&servers, "ulimit -Sn 51", "yam1");
    drop(raised.line_with(SOON, "listening on"));
    let line = raised.line_with(SOON, "limits of this process");
    assert!(line.contains("open_files_before=51") && !line.contains("open_files=51"), "{line}");
}

#[test]
fn the_configuration_is_checked_and_shown_with_no_secret_in_it() {
    let servers = Servers::new();
    servers.run(&["key", "new", "one"]).expect_code(0);
    servers.configure(&security("one", None));
    let checked = servers.run(&["config", "check"]).expect_code(0).text();
    let rows: Vec<Vec<&str>> = checked.lines().skip(1).map(|line| line.split_ascii_whitespace().collect()).collect();
    let (listen, admin) = (servers.listen.as_str(), servers.admin.as_str());
    assert_eq!(
        rows,
        [
            vec!["NAME", "ROLE", "WHAT", "ADDRESS"],
            vec!["yam1", "master", "cluster", listen],
            vec!["yam1", "master", "admin", admin],
            vec!["yam2", "worker", "connects", "to", listen],
            vec!["yam3", "worker", "connects", "to", listen],
        ]
    );
    let shown = servers.run(&["config", "show", "--set", "retry.grace=7s"]).expect_code(0).text();
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).expect("the line").to_owned();
    assert!(line("grace = \"7s\"").ends_with("# --set") && line("min_workers = 2").contains("# conf.toml:"), "{shown}");
    let key = std::fs::read_to_string(servers.place.path("one")).expect("a key");
    assert!(!shown.contains(key.trim()) && shown.contains("key_file = \"one\""), "{shown}");

    let sets =
        ["retry.grac=1s", "interceptors=nobody", "security.key_file=no", "heartbeat.monitor=file", "store.url=mien:x"];
    let wrong: Vec<&str> = ["config", "check"].into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).collect();
    let refused = servers.run(&wrong).expect_code(2).stderr;
    let monitor = "heartbeat.monitor is \"file\", but has to be one of default, living-file";
    let store = "the store is \"mien\", but has to be one of fs:DIR, memory";
    for named in ["retry.grac is unknown", "\"nobody\"", "cannot read the key file no", monitor, store] {
        assert!(refused.contains(named), "{named} is not in\n{refused}");
    }
    let beyond = ["config", "check", "--set", "servers.yam1.listen=10.0.0.1:7117"];
    let refused = servers.run(&beyond).expect_code(2).stderr;
    assert!(refused.contains("the cluster address of yam1: 10.0.0.1:7117 lies beyond this machine"), "{refused}");
}

#[test]
fn a_token_is_printed_by_role_and_a_shell_is_told_the_commands() {
    let servers = Servers::new();
    servers.run(&["key", "new", "one"]).expect_code(0);
    servers.configure(&security("one", None));
    assert_eq!(servers.run(&["token", "read"]).expect_code(0).text().trim_end(), servers.token("one"));
    let admin = servers.run(&["token", "admin"]).expect_code(0).text();
    assert_eq!((admin.trim_end().len(), admin.trim_end() == servers.token("one")), (64, false));
    drop(servers.run(&["token", "root"]).expect_code(2));
    let script = servers.run(&["completions", "bash"]).expect_code(0).text();
    assert!(script.contains("testbed") && script.contains("completions"), "{script}");
}
