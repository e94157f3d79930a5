//! `[servers]`: who there is, which role each has, and where each is found.

use std::net::IpAddr;

use elastic_flow_wire::hello::NAME_BYTES_MAX;

use super::{Config, is_name};

/// Most compute threads of a worker.
pub const SLOTS_MAX: u32 = 1024;

/// An entry of `[servers]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// What it is.
    pub role: ServerRole,
    /// Where a master takes workers.
    pub listen: Option<String>,
    /// The address that others use, if it is another than the one that it listens on or connects from.
    pub advertise: Option<String>,
    /// Where its HTTP face listens.
    pub admin: Option<String>,
    /// Compute threads.
    pub slots: Option<u32>,
}

/// The role of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerRole {
    /// The one that distributes.
    Master,
    /// One that computes.
    #[default]
    Worker,
}

impl ServerRole {
    /// Its name, as in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker => "worker",
        }
    }
}

/// What an address of a server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortUse {
    /// A master takes workers here; a worker takes others, to exchange data with them.
    Cluster,
    /// The address that others use for it.
    Advertised,
    /// Its HTTP face listens here.
    Admin,
    /// A worker connects to this master.
    ConnectsTo,
}

impl PortUse {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Advertised => "advertised",
            Self::Admin => "admin",
            Self::ConnectsTo => "connects to",
        }
    }

    /// Whether something listens there.
    #[must_use]
    pub const fn listens(self) -> bool {
        matches!(self, Self::Cluster | Self::Admin)
    }
}

/// An address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// Whose.
    pub name: String,
    /// Its role.
    pub role: ServerRole,
    /// What for.
    pub what: PortUse,
    /// `host:port`.
    pub address: String,
}

impl Config {
    /// The master's entry in `[servers]`, if there is one.
    #[must_use]
    pub fn master_server(&self) -> Option<(&str, &Server)> {
        let mut servers = self.servers.iter().filter(|(_, server)| server.role == ServerRole::Master);
        servers.next().map(|(name, server)| (name.as_str(), server))
    }

    /// Where workers find the master: as `[servers]` has it, else on this machine.
    #[must_use]
    pub fn master_address(&self) -> String {
        let entry = self.master_server().and_then(|(_, server)| server.advertise.clone().or(server.listen.clone()));
        entry.unwrap_or_else(Self::default_listen)
    }

    /// The workers of `[servers]`.
    pub fn worker_servers(&self) -> impl Iterator<Item = (&str, &Server)> {
        let servers = self.servers.iter().filter(|(_, server)| server.role == ServerRole::Worker);
        servers.map(|(name, server)| (name.as_str(), server))
    }

    /// The addresses of all servers; without `[servers]`, those of a master that is told nothing else.
    #[must_use]
    pub fn ports(&self) -> Vec<Port> {
        if self.servers.is_empty() {
            return self.ports_of("master", &Server { role: ServerRole::Master, ..Server::default() });
        }
        self.servers.iter().flat_map(|(name, server)| self.ports_of(name, server)).collect()
    }

    fn ports_of(&self, name: &str, server: &Server) -> Vec<Port> {
        let port = |what, address: String| Port { name: name.to_owned(), role: server.role, what, address };
        let advertised = server.advertise.clone().map(|address| port(PortUse::Advertised, address));
        let (first, admin) = match server.role {
            ServerRole::Master => {
                let listen = server.listen.clone().unwrap_or_else(Self::default_listen);
                let admin = server.admin.clone().unwrap_or_else(|| self.admin.listen.clone());
                (port(PortUse::Cluster, listen), Some(admin))
            }
            ServerRole::Worker => (port(PortUse::ConnectsTo, self.master_address()), server.admin.clone()),
        };
        let takes_others = match (server.role, &server.listen) {
            (ServerRole::Worker, Some(listen)) => Some(port(PortUse::Cluster, listen.clone())),
            (ServerRole::Worker | ServerRole::Master, _) => None,
        };
        let admin = admin.map(|address| port(PortUse::Admin, address));
        [Some(first), takes_others, advertised, admin].into_iter().flatten().collect()
    }
}

/// What is wrong with `[servers]`.
pub(super) fn check(config: &Config, wrong: &mut impl FnMut(&str, String)) {
    let masters: Vec<&str> = config
        .servers
        .iter()
        .filter(|(_, server)| server.role == ServerRole::Master)
        .map(|(name, _)| name.as_str())
        .collect();
    if masters.len() > 1 {
        wrong("servers", format!("names several masters ({}), but a cluster has one", masters.join(", ")));
    }
    for (name, server) in &config.servers {
        if !is_name(name) || name.len() > NAME_BYTES_MAX {
            wrong(
                "servers",
                format!(
                    "has the name {name:?}, but a node's name consists of 1 to {NAME_BYTES_MAX} letters, digits, '.', '_' and '-'"
                ),
            );
        }
        check_server(name, server, wrong);
    }
    check_reachable(config, wrong);
    if let Some((name, master)) = config.master_server() {
        let admin = master.admin.as_ref().unwrap_or(&config.admin.listen);
        if master.listen.as_ref() == Some(admin) && !admin.ends_with(":0") {
            wrong(
                &format!("servers.{name}"),
                format!("listens on {admin} twice: workers and the admin face need a port each"),
            );
        }
    }
}

fn check_server(name: &str, server: &Server, wrong: &mut impl FnMut(&str, String)) {
    let mut key = |key: &str, message: String| wrong(&format!("servers.{name}.{key}"), message);
    match server.slots {
        Some(0) => key("slots", "is 0, but has to be at least 1".to_owned()),
        Some(slots) if slots > SLOTS_MAX => key("slots", format!("is {slots}, but a worker has at most {SLOTS_MAX}")),
        Some(_) | None => {}
    }
    let addresses = [("listen", &server.listen), ("advertise", &server.advertise), ("admin", &server.admin)];
    for (what, address) in addresses.into_iter().filter_map(|(what, address)| Some((what, address.as_ref()?))) {
        match split_address(address) {
            None => key(what, format!("is {address:?}, but an address is host:port")),
            Some((host, port)) if what == "advertise" && (port == 0 || is_unspecified(host)) => {
                key(what, format!("is {address}, but others need a host and a port that they can connect to"));
            }
            Some(_) => {}
        }
    }
    if server.role == ServerRole::Master && server.slots.is_some() {
        key(
            "slots",
            "is set for a master, which does not compute in this version: start a worker beside it".to_owned(),
        );
    }
}

/// Workers of the map find their master by its entry, so that has to name an address that one can connect to.
fn check_reachable(config: &Config, wrong: &mut impl FnMut(&str, String)) {
    let Some((name, master)) = config.master_server() else { return };
    let (Some(listen), None) = (&master.listen, &master.advertise) else { return };
    if config.worker_servers().next().is_none() {
        return;
    }
    if split_address(listen).is_some_and(|(host, port)| port == 0 || is_unspecified(host)) {
        let message =
            format!("is {listen}, where no worker can connect to: say in servers.{name}.advertise where they can");
        wrong(&format!("servers.{name}.listen"), message);
    }
}

/// Host and port of `host:port` or `[v6]:port`.
pub(crate) fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let bare = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
    let plain = !bare.is_empty() && !bare.contains(|c: char| c.is_whitespace() || c == '/');
    // An address of IPv6 without brackets leaves open where its port begins.
    let closed = bare.len() != host.len() || !bare.contains(':');
    (plain && closed).then_some(())?;
    Some((bare, port.parse().ok()?))
}

/// Whether `host` stands for every address of its machine.
pub(crate) fn is_unspecified(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(split_address("yam1:7117"), Some(("yam1", 7117)));
        assert_eq!(split_address("[::1]:0"), Some(("::1", 0)));
        for wrong in ["yam1", ":7117", "yam1:", "yam1:70000", "a b:1", "http://yam1:1", "::1:7117", "[::1:7117", ""] {
            assert_eq!(split_address(wrong), None, "{wrong}");
        }
        assert!(is_unspecified("0.0.0.0") && is_unspecified("::") && !is_unspecified("127.0.0.1"));
    }
}
