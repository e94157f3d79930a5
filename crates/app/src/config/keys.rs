//! Every key, in one table: what sets it, or why this version does not have it.

use std::collections::BTreeMap;

use elastic_flow_orchestrator::config::CHUNK_BYTES_MIN;
use toml::Value;

use super::value::{Bytes, Raw, read};
use super::{Config, ConfigError, Server, ServerRole};

/// What a key does.
enum Effect {
    /// Sets it.
    Set(fn(&mut Config, &Raw) -> Result<(), String>),
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
        Key { name: $name, effect: Effect::Set(|config, raw| { config.$($field).+ = read(raw)?; Ok(()) }) }
    };
    ($name:literal, some $($field:ident).+) => {
        Key { name: $name, effect: Effect::Set(|config, raw| { config.$($field).+ = Some(read(raw)?); Ok(()) }) }
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
    set!("distribute.chunk_items", settings.chunk_items),
    Key { name: "distribute.chunk_bytes", effect: Effect::Set(set_chunk_bytes) },
    set!("distribute.chunk_adapts", settings.chunk_adapts),
    set!("distribute.open_per_slot", settings.open_per_slot),
    set!("distribute.task_chunks_max", settings.task_chunks_max),
    set!("distribute.allow_mixed_builds", settings.allow_mixed_builds),
    Key { name: "distribute.open_per_worker", effect: Effect::Renamed("distribute.open_per_slot") },
    later!("distribute.window", "chunks end on line borders and after distribute.chunk_items items"),
    later!("distribute.master_works", "start a worker beside the master"),
    later!("source.read", "a worker reads a file where it has that very one, and the master ships it elsewhere"),
    set!("source.data_roots", some data_roots),
    later!("memory.budget", "chunks in flight are bounded by distribute.chunk_bytes and distribute.open_per_slot"),
    set!("store.url", some store.url),
    set!("store.durability", store.durability),
    set!("store.keep_payloads", store.keep_payloads),
    set!("store.keep_results", store.keep_results),
    later!("store.keep_ledger", "the ledger is kept as long as its step"),
    set!("heartbeat.every", heartbeat.every),
    set!("heartbeat.dead_after", heartbeat.dead_after),
    Key { name: "heartbeat.monitor", effect: Effect::Set(check_monitor) },
    set!("retry.max_attempts", settings.max_attempts),
    set!("retry.max_losses", settings.max_losses),
    set!("retry.max_skips", settings.max_skips),
    set!("retry.backoff", settings.retry_backoff),
    set!("retry.grace", settings.grace),
    later!("retry.task_stall", "cancel a step that hangs"),
    later!("retry.speculate", "a chunk runs on one worker at a time"),
    later!("chaos.seed", "nothing is broken on purpose"),
    later!("chaos.worker_error", "nothing is broken on purpose"),
    later!("chaos.parcel_lost", "nothing is broken on purpose"),
    later!("chaos.parcel_delayed", "nothing is broken on purpose"),
    later!("chaos.worker_exit", "nothing is broken on purpose"),
    set!("security.key_file", some security.key_file),
    set!("security.insecure_plaintext", security.insecure_plaintext),
    set!("admin.listen", admin.listen),
    set!("admin.hosts", admin.hosts),
    set!("admin.metrics_open", admin.metrics_open),
];

/// Every key that can be set in this version, but those under `[servers]`.
pub fn known_keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(|key| matches!(key.effect, Effect::Set(_))).map(|key| key.name)
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
        return set_server(&mut config.servers, path, raw).map_err(|message| ConfigError::new(name, message));
    }
    let Some(key) = KEYS.iter().find(|key| key.name == name) else { return Err(unknown(name)) };
    let result = match &key.effect {
        Effect::Set(set) => set(config, raw),
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

fn check_monitor(_config: &mut Config, raw: &Raw) -> Result<(), String> {
    match read::<String>(raw)?.as_str() {
        "default" => Ok(()),
        other => {
            Err(format!("is {other:?}, but monitors of one's own are not available in this version: it is \"default\""))
        }
    }
}

/// `servers.NAME = "role"` and `servers.NAME.key`.
fn set_server(servers: &mut BTreeMap<String, Server>, path: &str, raw: &Raw) -> Result<(), String> {
    let fresh = || Server { role: ServerRole::Worker, listen: None, admin: None, slots: None };
    let Some((name, key)) = path.rsplit_once('.') else {
        let role = role(raw)?;
        servers.entry(path.to_owned()).or_insert_with(fresh).role = role;
        return Ok(());
    };
    let server = servers.entry(name.to_owned()).or_insert_with(fresh);
    match key {
        "role" => server.role = role(raw)?,
        "listen" => server.listen = Some(read(raw)?),
        "admin" => server.admin = Some(read(raw)?),
        "slots" => server.slots = Some(read(raw)?),
        _ => return Err("is unknown: a server has role, listen, admin and slots".to_owned()),
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
