//! Where settings come from, in rising order: the file, the environment, `--set`, a command's own flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Config;
use super::keys::{apply, apply_server, is_key, is_section, nearest, unknown};
use super::origin::{Origin, join, lines_of};
use super::value::Raw;

/// Variables of the environment that set a key start with this: `ELASTIC_FLOW_STORE__URL` is `store.url`.
const ENV_PREFIX: &str = "ELASTIC_FLOW_";
/// Names the key file; `security.key_file` of the command line comes before it.
pub const ENV_KEY_FILE: &str = "ELASTIC_FLOW_KEY_FILE";
/// Names the file with the key before it; `security.old_key_file` of the command line comes before it.
pub const ENV_OLD_KEY_FILE: &str = "ELASTIC_FLOW_OLD_KEY_FILE";
/// The level of the log.
pub const ENV_LOG: &str = "ELASTIC_FLOW_LOG";

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    key: String,
    message: String,
    origin: Option<String>,
}

impl ConfigError {
    pub(super) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), origin: None }
    }

    fn from(mut self, origin: impl fmt::Display) -> Self {
        self.origin = Some(origin.to_string());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.message)?;
        match &self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is wrong:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// What a configuration is made from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// `--set section.key=value`, in order.
    pub sets: Vec<String>,
    /// A command's own flags, as (flag, key, value): they come last.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// Where settings come from, by the path of their key; those of a server by `servers.NAME.key`. What is not in it is the default.
pub type Origins = BTreeMap<String, Origin>;

impl Sources {
    /// Reads and checks the whole.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        self.load_traced().map(|(config, _)| config)
    }

    /// As [`Sources::load`], with the origin of everything that was set.
    ///
    /// # Errors
    /// As [`Sources::load`].
    pub fn load_traced(&self) -> Result<(Config, Origins), ConfigErrors> {
        let (config, origins, errors) = self.load_all();
        if errors.is_empty() { Ok((config, origins)) } else { Err(ConfigErrors(errors)) }
    }

    /// What could be read, with the defaults for what could not, the origins, and everything that is wrong.
    #[must_use]
    pub fn load_all(&self) -> (Config, Origins, Vec<ConfigError>) {
        let mut loading = Loading::default();
        if let Some(path) = &self.file {
            loading.file(path);
        }
        for (name, value) in &self.environment {
            if let (Some(name), Some(value)) = (name.to_str(), value.to_str()) {
                loading.variable(name, value);
            }
        }
        for set in &self.sets {
            loading.set(set);
        }
        for (flag, key, value) in &self.flags {
            loading.apply(key, &Raw::Text(value.clone()), Origin::Flag(flag), flag);
        }
        let Loading { config, mut errors, origins } = loading;
        config.check(&mut errors);
        (config, origins, errors)
    }
}

/// A configuration on its way.
#[derive(Default)]
struct Loading {
    config: Config,
    origins: Origins,
    errors: Vec<ConfigError>,
}

/// A file on its way.
struct InFile<'a> {
    path: &'a Path,
    lines: BTreeMap<String, usize>,
}

impl InFile<'_> {
    fn origin(&self, key: &str) -> Origin {
        Origin::File(self.path.to_owned(), self.lines.get(key).copied())
    }
}

impl Loading {
    /// Sets a key; `said` is how an error names where that was tried.
    fn apply(&mut self, key: &str, raw: &Raw, origin: Origin, said: impl fmt::Display) {
        let result = apply(&mut self.config, key, raw);
        self.note(key, result, origin, said);
    }

    fn note(&mut self, key: &str, result: Result<(), ConfigError>, origin: Origin, said: impl fmt::Display) {
        match result {
            Ok(()) => {
                // A server's short form is its role.
                let short = key.strip_prefix("servers.").is_some_and(|name| self.config.servers.contains_key(name));
                self.origins.insert(if short { format!("{key}.role") } else { key.to_owned() }, origin);
            }
            Err(error) => self.errors.push(error.from(said)),
        }
    }

    fn file(&mut self, path: &Path) {
        let shown = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.errors.push(ConfigError::new(shown, format!("cannot be read: {error}")));
                return;
            }
        };
        match text.parse::<Table>() {
            Ok(table) => self.table("", table, &InFile { path, lines: lines_of(&text) }),
            Err(error) => {
                let message = format!("is not TOML: {}", error.to_string().trim_end());
                self.errors.push(ConfigError::new(shown, message));
            }
        }
    }

    /// Walks the tables down to values. A path that cannot lead to a key is reported where it leaves the known ones.
    fn table(&mut self, prefix: &str, table: Table, file: &InFile<'_>) {
        for (name, value) in table {
            let path = join(prefix, &name);
            let origin = file.origin(&path);
            if let Value::Table(inner) = value {
                if path == "servers" {
                    self.servers(inner, file);
                } else if is_key(&path) {
                    self.apply(&path, &Raw::Toml(Value::Table(inner)), origin.clone(), origin);
                } else {
                    self.section(&path, inner, file);
                }
            } else if is_section(&path) {
                let message = format!("is {value}, but has to be a section: [{path}]");
                self.errors.push(ConfigError::new(path, message).from(origin));
            } else {
                self.apply(&path, &Raw::Toml(value), origin.clone(), origin);
            }
        }
    }

    fn section(&mut self, path: &str, inner: Table, file: &InFile<'_>) {
        if is_section(path) {
            self.table(path, inner, file);
        } else if inner.is_empty() {
            self.errors.push(unknown(path).from(file.origin(path)));
        } else {
            // Each key of an unknown section, so that each is named with what it may have meant.
            for key in inner.keys().map(|key| join(path, key)) {
                self.errors.push(unknown(&key).from(file.origin(&key)));
            }
        }
    }

    /// Names of servers may have dots, as names of hosts do.
    fn servers(&mut self, servers: Table, file: &InFile<'_>) {
        for (name, value) in servers {
            let path = join("servers", &name);
            let keys: Vec<(Option<String>, Value)> = if let Value::Table(inner) = value {
                inner.into_iter().map(|(key, value)| (Some(key), value)).collect()
            } else {
                vec![(None, value)]
            };
            for (key, value) in keys {
                let path = key.as_deref().map_or_else(|| path.clone(), |key| join(&path, key));
                let origin = file.origin(&path);
                let result = apply_server(&mut self.config, &name, key.as_deref(), &Raw::Toml(value));
                self.note(&path, result, origin.clone(), origin);
            }
        }
    }

    fn set(&mut self, set: &str) {
        let Some((key, value)) = set.split_once('=') else {
            let error = ConfigError::new(set, "has no '=': write --set section.key=value");
            self.errors.push(error.from("--set"));
            return;
        };
        let key = key.trim();
        // What was written where the name of a key file belongs may be the key.
        let said = if key.starts_with("security.") { format!("--set {key}") } else { format!("--set {set}") };
        self.apply(key, &Raw::Text(value.to_owned()), Origin::Set, said);
    }

    /// A variable with `__` is meant as a key, and has to be one. Others may belong to somebody else (an orchestrator's service
    /// links, say), unless they are nearly one of ours.
    fn variable(&mut self, variable: &str, value: &str) {
        let Some(rest) = variable.strip_prefix(ENV_PREFIX) else { return };
        let named = match variable {
            ENV_LOG => return,
            ENV_KEY_FILE => Some("security.key_file".to_owned()),
            ENV_OLD_KEY_FILE => Some("security.old_key_file".to_owned()),
            _ => None,
        };
        let key = named.unwrap_or_else(|| rest.replace("__", ".").to_ascii_lowercase());
        if is_key(&key) {
            self.apply(&key, &Raw::Text(value.to_owned()), Origin::Variable(variable.to_owned()), variable);
        } else if rest.contains("__") {
            self.errors.push(unknown(&key).from(variable));
        } else if let Some(known) = nearest(&key)
            && strsim::damerau_levenshtein(known, &key) <= 2
        {
            self.errors.push(unknown(&key).from(variable));
        }
    }
}
