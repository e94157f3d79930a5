//! Every key, in one table: what sets it, or why this version does not have it.

use std::collections::BTreeMap;

use elastic_flow_orchestrator::config::{CHUNK_BYTES_MIN, MAX_SKIPS_MAX};
use toml::Value;

use super::value::{Bytes, Raw, Setting, read, read_key_path};
use super::{Config, ConfigError, Server, ServerRole};

/// How a key is set, and what it is set to, if to anything.
type Set = fn(&mut Config, &Raw) -> Result<(), String>;
type Shown = fn(&Config) -> Option<Value>;

/// What a key does.
enum Effect {
    /// Sets it.
    Set(Set, Shown),
    /// Belongs to a later version: refused rather than ignored, with what to do meanwhile.
    Later(&'static str),
    /// Was named so by mistake often enough to say how it is named.
    Renamed(&'static str),
}

struct Key {
    name: &'static str,
    effect: Effect,
}

/// The path of a field of [`Config`].
macro_rules! set {
    ($name:literal, $($field:ident).+) => {
        Key {
            name: $name,
            effect: Effect::Set(
                |config, raw| { config.$($field).+ = read(raw)?; Ok(()) },
                |config| Some(config.$($field).+.to_toml()),
            ),
        }
    };
    ($name:literal, some $($field:ident).+) => {
        set!($name, some $($field).+, read)
    };
    ($name:literal, some $($field:ident).+, $read:ident) => {
        Key {
            name: $name,
            effect: Effect::Set(
                |config, raw| { config.$($field).+ = Some($read(raw)?); Ok(()) },
                |config| config.$($field).+.as_ref().map(Setting::to_toml),
            ),
        }
    };
}

macro_rules! later {
    ($name:literal, $meanwhile:literal) => {
        Key { name: $name, effect: Effect::Later($meanwhile) }
    };
}

static KEYS: &[Key] = &[
    set!("cluster", cluster),
    set!("program", some program),
    set!("interceptors", interceptors),
    set!("compress", compress),
    set!("shutdown_grace", shutdown_grace),
    set!("distribute.method", method),
    set!("distribute.window", some window),
    set!("distribute.chunk_items", settings.chunk_items),
    Key {
        name: "distribute.chunk_bytes",
        effect: Effect::Set(set_chunk_bytes, |config| Some(Bytes(config.settings.chunk_bytes).to_toml())),
    },
    set!("distribute.chunk_adapts", settings.chunk_adapts),
    set!("distribute.open_per_slot", settings.open_per_slot),
    set!("distribute.task_chunks_max", settings.task_chunks_max),
    set!("distribute.allow_mixed_builds", settings.allow_mixed_builds),
    Key { name: "distribute.open_per_worker", effect: Effect::Renamed("distribute.open_per_slot") },
    later!("distribute.master_works", "start a worker beside the master"),
    set!("source.read", settings.read),
    set!("source.data_roots", some data_roots),
    later!("memory.budget", "chunks in flight are bounded by distribute.chunk_bytes and distribute.open_per_slot"),
    set!("store.url", some store.url),
    set!("store.durability", store.durability),
    set!("store.keep_payloads", store.keep_payloads),
    set!("store.keep_results", store.keep_results),
    later!("store.keep_ledger", "the ledger is kept as long as its step"),
    set!("heartbeat.every", heartbeat.every),
    set!("heartbeat.dead_after", heartbeat.dead_after),
    set!("heartbeat.monitor", heartbeat.monitor),
    set!("retry.max_attempts", settings.max_attempts),
    set!("retry.max_losses", settings.max_losses),
    Key {
        name: "retry.max_skips",
        effect: Effect::Set(set_max_skips, |config| Some(config.settings.max_skips.to_toml())),
    },
    set!("retry.backoff", settings.retry_backoff),
    set!("retry.grace", settings.grace),
    later!("retry.task_stall", "cancel a step that hangs"),
    later!("retry.speculate", "a chunk runs on one worker at a time"),
    later!("chaos.seed", "nothing is broken on purpose"),
    later!("chaos.worker_error", "nothing is broken on purpose"),
    later!("chaos.parcel_lost", "nothing is broken on purpose"),
    later!("chaos.parcel_delayed", "nothing is broken on purpose"),
    later!("chaos.worker_exit", "nothing is broken on purpose"),
    set!("security.key_file", some security.key_file, read_key_path),
    set!("security.old_key_file", some security.old_key_file, read_key_path),
    set!("security.insecure_plaintext", security.insecure_plaintext),
    set!("admin.listen", admin.listen),
    set!("admin.hosts", admin.hosts),
    set!("admin.metrics_open", admin.metrics_open),
    set!("admin.min_workers", admin.min_workers),
];

/// Every key that can be set in this version, but those under `[servers]`.
pub fn known_keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(|key| matches!(key.effect, Effect::Set(..))).map(|key| key.name)
}

/// Every key that can be set, with its value, if it has one.
pub(super) fn values(config: &Config) -> impl Iterator<Item = (&'static str, Option<Value>)> {
    KEYS.iter().filter_map(|key| match &key.effect {
        Effect::Set(_, shown) => Some((key.name, shown(config))),
        Effect::Later(_) | Effect::Renamed(_) => None,
    })
}

/// Whether `name` is a key of any version.
pub(super) fn is_key(name: &str) -> bool {
    KEYS.iter().any(|key| key.name == name) || name.starts_with("servers.")
}

/// Whether `name` is a section, or a part of one.
pub(super) fn is_section(name: &str) -> bool {
    name == "servers" || KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// Sets one key.
pub(super) fn apply(config: &mut Config, name: &str, raw: &Raw) -> Result<(), ConfigError> {
    if let Some(path) = name.strip_prefix("servers.") {
        let (server, key) = split_server(path);
        return apply_server(config, server, key, raw);
    }
    let Some(key) = KEYS.iter().find(|key| key.name == name) else { return Err(unknown(name)) };
    let result = match &key.effect {
        Effect::Set(set, _) => set(config, raw),
        Effect::Later(meanwhile) => Err(format!("is not available in this version: {meanwhile}")),
        Effect::Renamed(now) => Err(format!("is called {now}")),
    };
    result.map_err(|message| ConfigError::new(name, message))
}

/// The error for a key that does not exist, with the nearest one that does.
pub(super) fn unknown(name: &str) -> ConfigError {
    let message = match nearest(name) {
        Some(known) => format!("is unknown: did you mean {known}?"),
        None => "is unknown".to_owned(),
    };
    ConfigError::new(name, message)
}

/// The key nearest to `name`: by its spelling, or with the same last part in another section.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    let near = known_keys()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().min(name.len()).div_ceil(3));
    near.map(|(_, known)| known).or_else(|| known_keys().find(|known| last(known) == last(name)))
}

fn set_chunk_bytes(config: &mut Config, raw: &Raw) -> Result<(), String> {
    let Bytes(bytes) = read(raw)?;
    config.settings.chunk_bytes = bytes;
    // Adaptation never goes below its smallest chunk: a smaller start is meant to stay.
    config.settings.chunk_adapts &= bytes >= CHUNK_BYTES_MIN;
    Ok(())
}

fn set_max_skips(config: &mut Config, raw: &Raw) -> Result<(), String> {
    let skips = read::<u64>(raw)?;
    if skips > MAX_SKIPS_MAX {
        return Err(format!("is {skips}, but each is kept: it is {MAX_SKIPS_MAX} at most"));
    }
    config.settings.max_skips = skips;
    Ok(())
}

/// A server's keys.
pub(super) const SERVER_KEYS: [&str; 5] = ["role", "listen", "advertise", "admin", "slots"];

/// `NAME` and `NAME.KEY` as they come from the environment and the command line. Names of hosts have dots, too.
fn split_server(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once('.') {
        Some((name, key)) if SERVER_KEYS.contains(&key) => (name, Some(key)),
        _ => (path, None),
    }
}

/// Sets one key of a server, or with none its role.
pub(super) fn apply_server(config: &mut Config, name: &str, key: Option<&str>, raw: &Raw) -> Result<(), ConfigError> {
    let path = key.map_or_else(|| format!("servers.{name}"), |key| format!("servers.{name}.{key}"));
    set_server(&mut config.servers, name, key, raw).map_err(|message| ConfigError::new(path, message))
}

fn set_server(servers: &mut BTreeMap<String, Server>, name: &str, key: Option<&str>, raw: &Raw) -> Result<(), String> {
    let server = servers.entry(name.to_owned()).or_default();
    match key.unwrap_or("role") {
        "role" => server.role = role(raw)?,
        "listen" => server.listen = Some(read(raw)?),
        "advertise" => server.advertise = Some(read(raw)?),
        "admin" => server.admin = Some(read(raw)?),
        "slots" => server.slots = Some(read(raw)?),
        _ => return Err(format!("is unknown: a server has {}", SERVER_KEYS.join(", "))),
    }
    Ok(())
}

fn role(raw: &Raw) -> Result<ServerRole, String> {
    let text = match raw {
        Raw::Text(text) => text.as_str(),
        Raw::Toml(value) => value.as_str().unwrap_or_default(),
    };
    match text {
        "master" => Ok(ServerRole::Master),
        "worker" | "slave" => Ok(ServerRole::Worker),
        _ => Err(format!("is {}, but a role is \"master\" or \"worker\"", shown(raw))),
    }
}

fn shown(raw: &Raw) -> String {
    match raw {
        Raw::Text(text) => format!("{text:?}"),
        Raw::Toml(value @ Value::Table(_)) => format!("a table ({})", value.to_string().replace('\n', " ")),
        Raw::Toml(value) => value.to_string(),
    }
}
