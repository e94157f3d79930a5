//! What a command starts from: the program's registrations, the configuration, the key, the build.

use std::ffi::OsString;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use elastic_flow_dataflow::seam::Program;
use elastic_flow_dataflow::source::DataRoots;
use elastic_flow_orchestrator::{Interceptors, MasterConfig, NodeConfig, Programs};
use elastic_flow_wire::Secret;

use crate::app::App;
use crate::args::Common;
use crate::build_id::build_id;
use crate::config::{Config, ENV_LOG, Sources, is_name};
use crate::exit_code::Failure;
use crate::key_file;
use crate::logging::{self, LogTail};
use crate::paths::UserFolders;

/// A command's surroundings.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) app: &'a App,
    pub(crate) common: &'a Common,
    pub(crate) config: Config,
    pub(crate) programs: Arc<Programs>,
    folders: UserFolders,
}

/// A cluster's secret, and whether somebody gave it on purpose.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) secret: Secret,
    pub(crate) given: bool,
}

impl<'a> Context<'a> {
    /// Reads and checks the configuration.
    pub(crate) fn new(app: &'a App, common: &'a Common, flags: Flags) -> Result<Self, Failure> {
        let sources = Sources {
            file: common.config.clone(),
            environment: std::env::vars_os().collect(),
            sets: common.sets.clone(),
            flags: flags.0,
        };
        let config = sources.load().map_err(|errors| Failure::usage(errors.to_string()))?;
        let folders = UserFolders::from_environment(|name| std::env::var_os(name));
        Ok(Self { app, common, config, programs: app.programs()?, folders })
    }

    /// Starts the log.
    pub(crate) fn start_log(&self, default_level: &str, node: Option<&str>) -> Result<LogTail, Failure> {
        let level = match (&self.common.log, std::env::var_os(ENV_LOG).map(OsString::into_string)) {
            (Some(level), _) => level.clone(),
            (None, Some(Ok(level))) => level,
            (None, Some(Err(_))) => return Err(Failure::usage(format!("{ENV_LOG} is not UTF-8"))),
            (None, None) => default_level.to_owned(),
        };
        logging::install(&level, self.common.log_format, node).map_err(Failure::usage)
    }

    /// The program that a step runs: the one named, the configured one, or the only one.
    pub(crate) fn program(&self, named: Option<&str>) -> Result<Arc<dyn Program>, Failure> {
        let names = self.programs.names();
        let name = match (named.or(self.config.program.as_deref()), names.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only.as_str(),
            (None, []) => return Err(Failure::usage("no program is registered: call App::program before main")),
            (None, _) => {
                return Err(Failure::usage(format!("which program? name one with --program: {}", names.join(", "))));
            }
        };
        self.programs.get(name).ok_or_else(|| {
            Failure::usage(format!("there is no program {name:?}: this binary has {}", names.join(", ")))
        })
    }

    /// The configured interceptors, in order.
    pub(crate) fn interceptors(&self) -> Result<Interceptors, Failure> {
        let named = self.config.interceptors.iter().map(|name| self.app.find_interceptor(name));
        named.collect()
    }

    /// The key of this cluster: the file named on purpose, else the user's own, made at the first start.
    pub(crate) fn key(&self) -> Result<Key, Failure> {
        let usage = |error: key_file::KeyFileError| Failure::usage(error.to_string());
        match &self.config.security.key_file {
            Some(path) => Ok(Key { secret: key_file::read(path).map_err(usage)?, given: true }),
            None => {
                let path = self.own_key_file()?;
                Ok(Key { secret: key_file::read_or_create(&path).map_err(usage)?, given: false })
            }
        }
    }

    /// The key of a cluster that runs already: never made anew.
    #[cfg(feature = "admin")]
    pub(crate) fn existing_key(&self) -> Result<Secret, Failure> {
        let path = match &self.config.security.key_file {
            Some(path) => path.clone(),
            None => self.own_key_file()?,
        };
        key_file::read(&path).map_err(|error| Failure::usage(error.to_string()))
    }

    fn own_key_file(&self) -> Result<PathBuf, Failure> {
        self.folders.key_file().ok_or_else(|| Failure::usage(key_file::KeyFileError::NoPlace.to_string()))
    }

    /// Where a master keeps its store if nothing says otherwise.
    pub(crate) fn default_store(&self) -> Result<String, Failure> {
        if cfg!(not(feature = "store-fs")) {
            return Ok("memory".to_owned());
        }
        let folder = self.folders.store(&self.config.cluster);
        folder.map(|folder| format!("fs:{}", folder.display())).ok_or_else(|| {
            Failure::usage("neither HOME nor XDG_STATE_HOME says where the store would be: name one with --store")
        })
    }

    /// Refuses an address beyond loopback unless a key was given on purpose and plain text is allowed there.
    /// Says whether it lies beyond.
    pub(crate) fn check_exposure(&self, what: &str, address: &str, key: &Key) -> Result<bool, Failure> {
        match address.to_socket_addrs() {
            Ok(resolved) if resolved.clone().all(|address| address.ip().is_loopback()) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                return Err(Failure::usage(format!("{what} {address} is not an address: write host:port")));
            }
            // A name that nobody knows yet is not this machine's.
            Err(_) => {}
        }
        if !key.given {
            return Err(Failure::usage(format!(
                "{what} {address} lies beyond this machine, which takes a key given on purpose: make one with `key new FILE`, \
                 copy it to every server, and name it in security.key_file or ELASTIC_FLOW_KEY_FILE"
            )));
        }
        if !self.config.security.insecure_plaintext {
            return Err(Failure::usage(format!(
                "{what} {address} lies beyond this machine, and this version does not encrypt: stay on 127.0.0.1, or set \
                 security.insecure_plaintext = true if that network is trusted (every frame is still authenticated)"
            )));
        }
        Ok(true)
    }

    /// What every node needs.
    pub(crate) fn node(&self, name: String, key: Key, build: u128) -> NodeConfig {
        NodeConfig {
            cluster: self.config.cluster.clone(),
            name,
            secret: Some(key.secret),
            key_given: key.given,
            compress: self.config.compress,
            heartbeat_every: self.config.heartbeat.every,
            dead_after: self.config.heartbeat.dead_after,
            insecure_plaintext: self.config.security.insecure_plaintext,
            build,
            shutdown_grace: self.config.shutdown_grace,
        }
    }

    pub(crate) fn master_config(&self, node: NodeConfig, listen: String) -> Result<MasterConfig, Failure> {
        Ok(MasterConfig {
            node,
            listen,
            method: self.app.find_method(&self.config.method)?,
            settings: self.config.settings.clone(),
            durability: self.config.store.durability,
            keep_payloads: self.config.store.keep_payloads,
            keep_results: self.config.store.keep_results,
        })
    }

    /// The folders from which a worker reads splits. Where none is configured, a worker of this machine's own cluster may read
    /// what its user can; one of a cluster of servers reads nothing, and is sent the bytes.
    pub(crate) fn data_roots(&self, beyond: bool) -> Result<DataRoots, Failure> {
        match &self.config.data_roots {
            Some(folders) => {
                DataRoots::under(folders).map_err(|error| Failure::usage(format!("source.data_roots: {error}")))
            }
            None if beyond => {
                DataRoots::under(std::iter::empty::<&Path>()).map_err(|error| Failure::usage(error.to_string()))
            }
            None => Ok(DataRoots::unrestricted()),
        }
    }
}

/// A command's own flags that set keys.
#[derive(Debug, Default)]
pub(crate) struct Flags(Vec<(&'static str, &'static str, String)>);

impl Flags {
    /// Adds a flag, if it was given.
    #[must_use]
    pub(crate) fn with(mut self, flag: &'static str, key: &'static str, value: Option<&String>) -> Self {
        self.0.extend(value.map(|value| (flag, key, value.clone())));
        self
    }
}

/// The digest of this executable.
pub(crate) fn this_build() -> Result<u128, Failure> {
    build_id().map_err(|error| Failure::failed(format!("cannot read this program's own executable: {error}")))
}

/// Compute threads for each of `nodes` on this machine.
pub(crate) fn slots_for(nodes: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (u32::try_from(cores).unwrap_or(u32::MAX) / nodes.max(1)).max(1)
}

/// Checks a node's name.
pub(crate) fn checked_name(name: String) -> Result<String, Failure> {
    if is_name(&name) {
        return Ok(name);
    }
    Err(Failure::usage(format!("{name:?} is no name: it consists of 1 to 128 letters, digits, '.', '_' and '-'")))
}

/// `HOST-PID`, for a worker that has no name.
pub(crate) fn host_name() -> String {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(64).collect();
    format!("{}-{}", if host.is_empty() { "worker" } else { &host }, std::process::id())
}

/// This executable, to be started again.
pub(crate) fn own_executable() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        // Another file may have taken the path since: the link still leads to the one that runs.
        _ => Path::new("/proc/self/exe").to_owned(),
    }
}
