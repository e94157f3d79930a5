//! What a command starts from: the program's registrations, the configuration, the key, the build.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use elastic_flow_dataflow::seam::Program;
use elastic_flow_dataflow::source::DataRoots;
use elastic_flow_orchestrator::{Interceptors, MasterConfig, NodeConfig, Programs};
use elastic_flow_transport::Keyring;
use elastic_flow_wire::hello::NAME_BYTES_MAX;
use elastic_flow_wire::with_causes;

use crate::app::App;
use crate::args::Common;
use crate::build_id::build_id;
use crate::config::{
    Config, ConfigError, ConfigErrors, ENV_LOG, Origins, Sources, is_name, is_unspecified, split_address,
};
use crate::exit_code::Failure;
use crate::exposure;
use crate::keys::{Key, Reload};
use crate::logging::{self, LogTail};
use crate::paths::UserFolders;

/// A command's surroundings.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) app: &'a App,
    pub(crate) common: &'a Common,
    pub(crate) config: Config,
    pub(crate) programs: Arc<Programs>,
    /// Where each setting comes from.
    pub(crate) origins: Origins,
    sources: Sources,
    /// As it was read: `config` has what a command has settled since.
    as_read: Config,
    folders: UserFolders,
}

impl<'a> Context<'a> {
    /// Reads and checks the configuration.
    pub(crate) fn new(app: &'a App, common: &'a Common, flags: Flags) -> Result<Self, Failure> {
        let (context, errors) = Self::read(app, common, flags)?;
        if errors.is_empty() { Ok(context) } else { Err(Failure::usage(ConfigErrors(errors).to_string())) }
    }

    /// As [`Context::new`], but with what is wrong beside what could be read.
    pub(crate) fn read(app: &'a App, common: &'a Common, flags: Flags) -> Result<(Self, Vec<ConfigError>), Failure> {
        let sources = Sources {
            file: common.config.clone(),
            environment: std::env::vars_os().collect(),
            sets: common.sets.clone(),
            flags: flags.0,
        };
        let (config, origins, errors) = sources.load_all();
        let folders = UserFolders::from_environment(|name| std::env::var_os(name));
        let programs = app.programs()?;
        let as_read = config.clone();
        Ok((Self { app, common, config, programs, origins, sources, as_read, folders }, errors))
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

    /// The configured window, if there is one; its name.
    pub(crate) fn window(&self) -> Result<Option<&str>, Failure> {
        let name = self.config.window.as_deref();
        name.map(|name| self.app.find_window(name).map(|()| name)).transpose()
    }

    /// Refuses names in a master's configuration under which nothing is registered.
    pub(crate) fn check_names(&self) -> Result<(), Failure> {
        self.interceptors()?;
        self.app.find_method(&self.config.method)?;
        self.app.find_monitor(&self.config.heartbeat.monitor)?;
        self.window().map(drop)
    }

    /// The key of this cluster: the file named on purpose, else the user's own, made at the first start.
    pub(crate) fn key(&self) -> Result<Key, Failure> {
        Key::load(&self.config.security, &self.folders, true).map_err(|error| Failure::usage(with_causes(&error)))
    }

    /// The key of a cluster that runs already: never made anew.
    #[cfg(feature = "admin")]
    pub(crate) fn existing_key(&self) -> Result<Key, Failure> {
        Key::load(&self.config.security, &self.folders, false).map_err(|error| Failure::usage(with_causes(&error)))
    }

    /// Reads the keys of a node anew, which uses `addresses` and takes its keys from `ring`.
    pub(crate) fn reload(&self, addresses: Vec<(&'static str, String)>, ring: Keyring) -> Reload {
        Reload::new(&self.sources, &self.folders, &self.as_read, addresses, ring)
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

    /// Refuses addresses beyond loopback unless a key was given on purpose and plain text is allowed there. Says whether one lies
    /// beyond.
    pub(crate) fn check_exposure(&self, addresses: &[(&str, String)], key: &Key) -> Result<bool, Failure> {
        let mut beyond = false;
        for (what, address) in addresses {
            beyond |= exposure::check(what, address, key.given, &self.config.security)?;
        }
        Ok(beyond)
    }

    /// What every node needs.
    pub(crate) fn node(&self, name: String, keys: Keyring, key_given: bool, build: u128) -> NodeConfig {
        NodeConfig {
            cluster: self.config.cluster.clone(),
            name,
            keys,
            key_given,
            compress: self.config.compress,
            heartbeat_every: self.config.heartbeat.every,
            dead_after: self.config.heartbeat.dead_after,
            insecure_plaintext: self.config.security.insecure_plaintext,
            build,
            shutdown_grace: self.config.shutdown_grace,
        }
    }

    pub(crate) fn master_config(
        &self,
        node: NodeConfig,
        listen: String,
        advertise: Option<String>,
    ) -> Result<MasterConfig, Failure> {
        Ok(MasterConfig {
            node,
            listen,
            advertise,
            method: self.app.find_method(&self.config.method)?,
            monitor: self.app.find_monitor(&self.config.heartbeat.monitor)?,
            window: self.window()?.map(str::to_owned),
            settings: self.config.settings.clone(),
            durability: self.config.store.durability,
            keep_payloads: self.config.store.keep_payloads,
            keep_results: self.config.store.keep_results,
            min_workers: 0,
            expected: Vec::new(),
        })
    }

    /// The folders from which a worker reads splits. Where none is configured, a worker of this machine's own cluster may read
    /// what its user can; one of a cluster of servers reads nothing, and is sent the bytes.
    pub(crate) fn data_roots(&self, beyond: bool) -> Result<DataRoots, Failure> {
        match &self.config.data_roots {
            Some(folders) => DataRoots::under(folders)
                .map_err(|error| Failure::usage(format!("source.data_roots: {}", with_causes(&error)))),
            None if beyond => {
                DataRoots::under(std::iter::empty::<&Path>()).map_err(|error| Failure::usage(with_causes(&error)))
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
    if is_name(&name) && name.len() <= NAME_BYTES_MAX {
        return Ok(name);
    }
    let of = format!("1 to {NAME_BYTES_MAX} letters, digits, '.', '_' and '-'");
    Err(Failure::usage(format!("{name:?} is no name of a node: that consists of {of}")))
}

/// Checks the address that others are told.
pub(crate) fn checked_advertise(address: Option<String>) -> Result<Option<String>, Failure> {
    match address.as_deref().map(split_address) {
        Some(Some((host, port))) if port != 0 && !is_unspecified(host) => Ok(address),
        Some(_) => Err(Failure::usage(format!(
            "--advertise {}: others need a host and a port that they can connect to: HOST:PORT",
            address.unwrap_or_default()
        ))),
        None => Ok(None),
    }
}

/// The name of this machine, as far as it can be that of a node.
pub(crate) fn host_name() -> String {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).take(64).collect()
}

/// `HOST-PID`, for a worker that has no name.
pub(crate) fn name_of_process() -> String {
    let host: String = host_name().chars().filter(|c| *c != '.').take(48).collect();
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
