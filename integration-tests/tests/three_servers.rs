//! Three servers without a shared disk, one configuration file and one command: each in a network, a mount and a host name
//! namespace of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;

use elastic_flow::orchestrator::api::{StepView, WorkerView};
use elastic_flow::prelude::{Audit, StepState};
use elastic_flow_integration_tests::cluster::{LONG, SOON};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::namespaces::{Disk, Network};
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file, sorted};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Ended, Process};
use elastic_flow_integration_tests::wait::{skipped, wait_until};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
/// The servers of the configuration: the master, and two that read.
const SERVERS: [(u8, &str); 3] = [(1, "yam1"), (2, "yam2"), (3, "yam3")];

struct Servers {
    network: Network,
    running: BTreeMap<&'static str, Process>,
    /// Last, so that processes are gone before their folder.
    place: Place,
}

impl Servers {
    /// The servers, none of them started; none where this user may not make them.
    fn new() -> Option<Self> {
        let network = match Network::new(3) {
            Ok(network) => network,
            Err(why) => {
                skipped(&format!("three servers need root, to make namespaces: {why}"));
                return None;
            }
        };
        let place = Place::new();
        let servers = Self { network, running: BTreeMap::new(), place };
        for (_, name) in SERVERS {
            servers.place.write(&format!("{name}/own"), name);
        }
        servers.place.write("data/nothing", "");
        let text = format!(
            "shutdown_grace = \"2s\"\n\
             [servers]\n\
             yam1 = {{ role = \"master\", listen = \"{}:7117\", admin = \"127.0.0.1:7118\" }}\n\
             yam2 = {{ role = \"worker\", slots = 1 }}\n\
             yam3 = \"slave\"\n\
             [source]\ndata_roots = [\"{}\"]\n\
             [store]\nurl = \"memory\"\n\
             [security]\nkey_file = \"key\"\ninsecure_plaintext = true\n\
             [heartbeat]\nevery = \"200ms\"\ndead_after = \"1500ms\"\n\
             [retry]\ngrace = \"2s\"\n\
             [distribute]\nchunk_bytes = 20000\n",
            Network::address(1),
            servers.place.text("data"),
        );
        servers.place.write("conf.toml", text);
        servers.run("yam1", &["key", "new", "key"]).expect_code(0);
        Some(servers)
    }

    /// A command on a server.
    fn command(&self, server: &str, arguments: &[&str]) -> std::process::Command {
        let (number, name) = SERVERS.into_iter().find(|(_, name)| *name == server).expect("a server");
        let (own, at) = (self.place.text(name), self.place.text("data"));
        let mut command = self.network.command(&self.place, number, Disk { own: &own, at: &at }, name, TESTBED);
        command.args(["--config", "conf.toml"]).args(arguments);
        command
    }

    fn start(&mut self, server: &'static str, more: &[&str], says: &str) {
        let line = [&["start"], more].concat();
        let mut process = Process::start(&self.place, server, &mut self.command(server, &line));
        drop(process.line_with(SOON, says));
        self.running.insert(server, process);
    }

    fn start_all(&mut self) {
        self.start("yam1", &[], "listening on");
        self.start("yam2", &[], "worker yam2 of the master at");
        self.start("yam3", &[], "worker yam3 of the master at");
        self.wait_joined(2);
    }

    fn wait_joined(&self, count: usize) {
        wait_until(SOON, &format!("{count} workers have joined"), || {
            self.workers().iter().filter(|it| it.joined).count() == count
        });
    }

    fn run(&self, server: &str, arguments: &[&str]) -> Ended {
        Process::start(&self.place, "command", &mut self.command(server, arguments)).wait(LONG)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let ended = self.run("yam1", &[arguments, &["--json"]].concat()).expect_code(0);
        serde_json::from_slice(&ended.stdout).expect("JSON")
    }

    fn workers(&self) -> Vec<WorkerView> {
        self.json(&["workers"])
    }

    /// Submits on the master's server, waits, and gives how it ended.
    fn submit(&self, arguments: &[&str]) -> Ended {
        self.run("yam1", &[&["submit", "--program", "word_count", "--wait", "--output", "out"], arguments].concat())
    }

    /// Compares the last output with what coreutils count in all of these.
    fn assert_counted(&self, files: &[String]) {
        let mut all = Vec::new();
        for file in files {
            all.extend(std::fs::read(self.place.path(file)).expect("a file of the test"));
        }
        let all = self.place.write("all", all);
        let got = sorted(&self.place, &self.place.path("out"));
        assert_equal(&got, &counts_of_file(&self.place, &all));
    }

    fn step(&self, id: u64) -> StepView {
        self.json(&["step", &id.to_string()])
    }

    fn audit(&self, id: u64) -> Audit {
        self.json(&["audit", &id.to_string()])
    }
}

/// The words of one server's log are its own.
fn log_of(seed: u64) -> Vec<u8> {
    corpus::lines(seed, 150_000)
}

#[test]
fn each_worker_reads_its_own_disk_and_what_only_the_master_has_is_shipped() {
    let Some(mut servers) = Servers::new() else { return };
    for (number, name) in SERVERS {
        servers.place.write(&format!("{name}/x.log"), log_of(u64::from(number)));
    }
    servers.place.write("yam3/y.log", log_of(33));
    servers.start_all();
    let glob = format!("each_worker:{}/*.log", servers.place.text("data"));

    servers.submit(&["--input", &glob]).expect_code(0);
    servers.assert_counted(&["yam2/x.log".to_owned(), "yam3/x.log".to_owned(), "yam3/y.log".to_owned()]);
    let audit = servers.audit(1);
    assert!(audit.balanced(), "{audit}");
    assert!(audit.reads.iter().all(|it| it.shipped_bytes == 0 && it.in_place_bytes > 0), "{audit}");
    let receipts = servers.run("yam1", &["receipts", "1"]).expect_code(0).text();
    for name in ["yam2", "yam3"] {
        let own: Vec<&str> = receipts.lines().filter(|line| line.contains(&format!(" {name}:"))).collect();
        assert!(own.len() > 5, "chunks carry the name of their server: {receipts}");
        assert!(own.iter().all(|line| line.split_ascii_whitespace().nth(2) == Some(name)), "{receipts}");
    }

    // The same path, and other files there.
    let path = format!("{}/x.log", servers.place.text("data"));
    servers.submit(&["--input", &path]).expect_code(0);
    servers.assert_counted(&["yam1/x.log".to_owned()]);
    let files = servers.step(2).files;
    let absent: Vec<_> = files.iter().map(|it| (it.worker.as_str(), it.here, it.absent)).collect();
    assert_eq!(absent.len(), 2, "{files:?}");
    assert!(
        files.iter().all(|it| it.absent == 1 && it.message.contains(&path)),
        "named before the first task: {files:?}"
    );
    let audit = servers.audit(2);
    assert!(audit.reads.iter().all(|it| it.in_place_bytes == 0 && it.shipped_bytes > 0), "{audit}");
    let shown = servers.run("yam1", &["step", "2"]).expect_code(0).text();
    assert!(shown.contains("yam2 has none of 1:") && shown.contains("yam3 has none of 1:"), "{shown}");

    // A copy on one server is the same file, and is read there.
    std::fs::copy(servers.place.path("yam1/x.log"), servers.place.path("yam3/x.log")).expect("a copy");
    servers.submit(&["--input", &path]).expect_code(0);
    servers.assert_counted(&["yam1/x.log".to_owned()]);
    let in_place: Vec<_> =
        servers.audit(3).reads.into_iter().filter(|it| it.in_place_bytes > 0).map(|it| it.worker).collect();
    assert_eq!(in_place, ["yam3"]);
    let workers = servers.workers();
    let read = |name: &str| workers.iter().find(|it| it.name == name).map(|it| it.read_in_place_bytes);
    assert!(read("yam3") > read("yam2"), "{workers:?}");
}

#[test]
fn a_wrong_key_and_a_missing_server_are_told_by_name() {
    let Some(mut servers) = Servers::new() else { return };
    for (number, name) in SERVERS {
        servers.place.write(&format!("{name}/x.log"), log_of(u64::from(number)));
    }
    servers.start("yam1", &[], "listening on");
    servers.start("yam2", &[], "worker yam2 of the master at");
    servers.run("yam3", &["key", "new", "other-key"]).expect_code(0);
    let wrong = ["start", "--set", "security.key_file=other-key"];
    let refused = servers.run("yam3", &wrong).expect_code(3);
    assert!(refused.stderr.contains("key does not match"), "{}", refused.stderr);
    servers.wait_joined(1);
    assert!(servers.workers().iter().any(|it| it.name == "yam3" && !it.joined), "{:?}", servers.workers());
    let turned_away =
        format!("a connection was turned away; further ones are counted and summed up address={}", Network::address(3));
    wait_until(SOON, "the master says whom it turned away", || servers.running["yam1"].stderr().contains(&turned_away));

    let glob = format!("each_worker:{}/*.log", servers.place.text("data"));
    let failed = servers.submit(&["--input", &glob]).expect_code(1);
    assert!(failed.stderr.contains("yam3 is missing for 2 s (retry.grace)"), "{}", failed.stderr);
    assert_eq!(servers.step(1).state, StepState::Failed);

    let done = servers.submit(&["--input", &glob, "--allow-missing-servers"]).expect_code(4);
    assert!(done.text().contains("missing: yam3:"), "the gap is named: {}", done.text());
    servers.assert_counted(&["yam2/x.log".to_owned()]);
    assert_eq!(servers.step(2).state, StepState::CompletedWithSkips);

    servers.start("yam3", &[], "worker yam3 of the master at");
    servers.submit(&["--input", &glob]).expect_code(0);
    servers.assert_counted(&["yam2/x.log".to_owned(), "yam3/x.log".to_owned()]);
}

#[test]
fn in_place_a_file_that_no_worker_has_is_not_shipped() {
    let Some(mut servers) = Servers::new() else { return };
    servers.place.write("yam1/x.log", log_of(1));
    servers.start("yam1", &["--set", "source.read=in-place"], "listening on");
    servers.start("yam2", &[], "worker yam2 of the master at");
    servers.wait_joined(1);
    let path = format!("{}/x.log", servers.place.text("data"));
    let failed = servers.submit(&["--input", &path]).expect_code(1);
    assert!(failed.stderr.contains(&path) && failed.stderr.contains("source.read"), "{}", failed.stderr);
    assert!(servers.audit(1).reads.is_empty());
}
