//! Where settings come from, in rising order: the file, the environment, `--set`, a command's own flags.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Config;
use super::keys::{apply, is_key, is_section, nearest, unknown};
use super::value::Raw;

/// Variables of the environment that set a key start with this: `ELASTIC_FLOW_STORE__URL` is `store.url`.
const ENV_PREFIX: &str = "ELASTIC_FLOW_";
/// Names the key file; `security.key_file` of the command line comes before it.
pub const ENV_KEY_FILE: &str = "ELASTIC_FLOW_KEY_FILE";
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

    fn from(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
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

impl Sources {
    /// Reads and checks the whole.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let mut config = Config::default();
        let mut errors = Vec::new();
        if let Some(path) = &self.file {
            load_file(path, &mut config, &mut errors);
        }
        for (name, value) in &self.environment {
            if let (Some(name), Some(value)) = (name.to_str(), value.to_str()) {
                load_variable(name, value, &mut config, &mut errors);
            }
        }
        for set in &self.sets {
            let origin = format!("--set {set}");
            let result = match set.split_once('=') {
                Some((key, value)) => apply(&mut config, key.trim(), &Raw::Text(value.to_owned())),
                None => Err(ConfigError::new(set, "has no '=': write --set section.key=value")),
            };
            errors.extend(result.err().map(|error| error.from(&origin)));
        }
        for (flag, key, value) in &self.flags {
            let result = apply(&mut config, key, &Raw::Text(value.clone()));
            errors.extend(result.err().map(|error| error.from(flag)));
        }
        config.check(&mut errors);
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
    }
}

fn load_file(path: &Path, config: &mut Config, errors: &mut Vec<ConfigError>) {
    let shown = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            errors.push(ConfigError::new(shown, format!("cannot be read: {error}")));
            return;
        }
    };
    match text.parse::<Table>() {
        Ok(table) => load_table("", table, &shown, config, errors),
        Err(error) => {
            let message = format!("is not TOML: {}", error.to_string().trim_end());
            errors.push(ConfigError::new(shown, message));
        }
    }
}

/// Walks the tables down to values. A path that cannot lead to a key is reported where it leaves the known ones.
fn load_table(prefix: &str, table: Table, origin: &str, config: &mut Config, errors: &mut Vec<ConfigError>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        if !is_key(&path) || is_server(&path) {
            if let Value::Table(inner) = value {
                load_section(&path, inner, origin, config, errors);
                continue;
            }
            if is_section(&path) {
                let message = format!("is {value}, but has to be a section: [{path}]");
                errors.push(ConfigError::new(path, message).from(origin));
                continue;
            }
        }
        errors.extend(apply(config, &path, &Raw::Toml(value)).err().map(|error| error.from(origin)));
    }
}

fn load_section(path: &str, inner: Table, origin: &str, config: &mut Config, errors: &mut Vec<ConfigError>) {
    if is_section(path) || is_server(path) {
        load_table(path, inner, origin, config, errors);
    } else if inner.is_empty() {
        errors.push(unknown(path).from(origin));
    } else {
        // Each key of an unknown section, so that each is named with what it may have meant.
        errors.extend(inner.keys().map(|key| unknown(&format!("{path}.{key}")).from(origin)));
    }
}

fn is_server(path: &str) -> bool {
    path.strip_prefix("servers.").is_some_and(|name| !name.contains('.'))
}

/// A variable with `__` is meant as a key, and has to be one. Others may belong to somebody else (an orchestrator's service
/// links, say), unless they are nearly one of ours.
fn load_variable(variable: &str, value: &str, config: &mut Config, errors: &mut Vec<ConfigError>) {
    let Some(rest) = variable.strip_prefix(ENV_PREFIX) else { return };
    if variable == ENV_KEY_FILE {
        let result = apply(config, "security.key_file", &Raw::Text(value.to_owned()));
        errors.extend(result.err().map(|error| error.from(variable)));
        return;
    }
    if variable == ENV_LOG {
        return;
    }
    let key = rest.replace("__", ".").to_ascii_lowercase();
    if is_key(&key) {
        errors.extend(apply(config, &key, &Raw::Text(value.to_owned())).err().map(|error| error.from(variable)));
    } else if rest.contains("__") {
        errors.push(unknown(&key).from(variable));
    } else if let Some(known) = nearest(&key)
        && strsim::damerau_levenshtein(known, &key) <= 2
    {
        errors.push(unknown(&key).from(variable));
    }
}
