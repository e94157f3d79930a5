//! The configuration as a file that would give it again, with the origin of every value.

use std::fmt::Write as _;

use toml::Value;

use super::keys::values;
use super::origin::Origin;
use super::{Config, Origins};

/// Where the origins begin, in characters, unless a value is longer.
const ORIGIN_COLUMN: usize = 44;

/// A setting as `config show` has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Shown {
    /// Its path; that of a server's is `servers.NAME.key`.
    pub key: String,
    /// Its section, with the name of a server in quotes where TOML needs them; empty for none.
    pub section: String,
    /// Its last part.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<Value>,
    /// Where that comes from.
    pub origin: Origin,
}

impl Config {
    /// Every setting, with its origin: those without a section first, `[servers]` last.
    #[must_use]
    pub fn shown(&self, origins: &Origins) -> Vec<Shown> {
        let defaults = Self::default();
        let by_default: Vec<_> = values(&defaults).collect();
        let mut shown: Vec<Shown> = values(self)
            .map(|(key, value)| {
                let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
                let untouched = by_default.iter().any(|it| *it == (key, value.clone()));
                let origin = match origins.get(key) {
                    Some(origin) => origin.clone(),
                    None if untouched => Origin::Default,
                    None => Origin::Implied,
                };
                Shown { key: key.to_owned(), section: section.to_owned(), name: name.to_owned(), value, origin }
            })
            .collect();
        for (name, server) in &self.servers {
            let quoted = if name.contains('.') { Value::String(name.clone()).to_string() } else { name.clone() };
            let text = |value: &Option<String>| value.clone().map(Value::String);
            let slots = server.slots.map(|slots| Value::Integer(slots.into()));
            let values = [
                ("role", Some(Value::String(server.role.name().to_owned()))),
                ("listen", text(&server.listen)),
                ("advertise", text(&server.advertise)),
                ("admin", text(&server.admin)),
                ("slots", slots),
            ];
            for (field, value) in values.into_iter().filter(|(_, value)| value.is_some()) {
                let key = format!("servers.{name}.{field}");
                let origin = origins.get(&key).cloned().unwrap_or(Origin::Default);
                shown.push(Shown { key, section: format!("servers.{quoted}"), name: field.to_owned(), value, origin });
            }
        }
        shown
    }

    /// The whole as TOML, with the origins as comments. What is not set is a comment altogether.
    #[must_use]
    pub fn to_toml(&self, origins: &Origins) -> String {
        let mut text = String::new();
        let mut section = String::new();
        for shown in self.shown(origins) {
            if shown.section != section {
                section.clone_from(&shown.section);
                write!(text, "\n[{section}]\n").ok();
            }
            let line = match &shown.value {
                Some(value) => format!("{} = {value}", shown.name),
                None => format!("# {} is not set", shown.name),
            };
            match shown.value {
                Some(_) => writeln!(text, "{line:<ORIGIN_COLUMN$}# {}", shown.origin).ok(),
                None => writeln!(text, "{line}").ok(),
            };
        }
        text
    }
}
