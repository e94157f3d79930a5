//! Servers on one machine: each a network and a mount namespace of its own, joined by a bridge that belongs to the test.
#![allow(clippy::expect_used, clippy::panic, reason = "a test tool: what goes wrong with it fails the test")]

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::place::Place;

static NETWORKS: AtomicU32 = AtomicU32::new(1);

/// A bridge and the servers on it. Dropping it takes all of them away.
#[derive(Debug)]
pub struct Network {
    /// Of the names of its namespaces, which all processes of the machine see.
    prefix: String,
    servers: Vec<String>,
}

impl Network {
    /// Connects `servers` servers, the first at 10.97.0.1; none where this user may not, with what the system says.
    ///
    /// # Errors
    /// `ip` is not there, or refuses.
    pub fn new(servers: u8) -> Result<Self, String> {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let mut network = Self { prefix: format!("ef-{}-{number}", std::process::id()), servers: Vec::new() };
        let hub = format!("{}-hub", network.prefix);
        let add = |network: &mut Self, name: &str| {
            // A test that was killed left its own behind, and numbers of processes come again.
            ip(&["netns", "del", name]).ok();
            ip(&["netns", "add", name])?;
            network.servers.push(name.to_owned());
            Ok::<_, String>(())
        };
        add(&mut network, &hub)?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        for server in 1..=servers {
            let (name, port) = (network.name(server), format!("port{server}"));
            add(&mut network, &name)?;
            ip(&["-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &hub])?;
            ip(&["-n", &hub, "link", "set", &port, "master", "bridge", "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/24", Self::address(server)), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
        }
        Ok(network)
    }

    /// Where the others reach a server, from 1.
    #[must_use]
    pub fn address(server: u8) -> String {
        format!("10.97.0.{server}")
    }

    /// A command on a server that is called `host` and has a disk of its own.
    #[must_use]
    pub fn command(&self, place: &Place, server: u8, disk: Disk<'_>, host: &str, program: &str) -> Command {
        let mut command = place.command("ip");
        command.args(["netns", "exec", &self.name(server), "unshare", "--uts", "--mount", "--propagation", "private"]);
        // The shell is the program in the end: the process that a test has started is the one that it kills.
        let script = "hostname \"$0\" && mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
        command.args(["sh", "-c", script, host, disk.own, disk.at, program]);
        command
    }

    fn name(&self, server: u8) -> String {
        format!("{}-{server}", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.servers {
            // Its devices go with it, as soon as no process is in it.
            ip(&["netns", "del", name]).ok();
        }
    }
}

/// What a server sees at a path that all of them have.
#[derive(Debug, Clone, Copy)]
pub struct Disk<'a> {
    /// Its own folder.
    pub own: &'a str,
    /// Where it sees it.
    pub at: &'a str,
}

impl Disk<'_> {
    /// A command that sees its own folder, on the network of this process; fails where this user may not mount.
    #[must_use]
    pub fn command(self, place: &Place, program: &str) -> Command {
        let mut command = place.command("unshare");
        command.args(["--mount", "--propagation", "private"]);
        let script = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
        command.args(["sh", "-c", script, self.own, self.at, program]);
        command
    }

    /// Whether this user may do so.
    ///
    /// # Errors
    /// What the system says.
    pub fn check(self, place: &Place) -> Result<(), String> {
        output(&mut self.command(place, "true"))
    }
}

fn ip<A: AsRef<OsStr>>(args: &[A]) -> Result<(), String> {
    output(Command::new("ip").args(args))
}

fn output(command: &mut Command) -> Result<(), String> {
    let ended = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&ended.stderr).trim()))
}
