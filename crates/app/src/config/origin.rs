//! Where each setting comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// Nobody set it, but another setting implies another value than the default.
    Implied,
    /// The file, and the line in it.
    File(PathBuf, Option<usize>),
    /// A variable of the environment.
    Variable(String),
    /// `--set`.
    Set,
    /// A flag of the command.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Implied => f.write_str("implied by another setting"),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Set => f.write_str("--set"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The line of each key of a TOML text, by its path. Empty if the text is not TOML.
pub(super) fn lines_of(text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    if let Ok(table) = DeTable::parse(text) {
        walk(text, "", table.get_ref(), &mut lines);
    }
    lines
}

fn walk(text: &str, prefix: &str, table: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let path = join(prefix, name.get_ref());
        let before = text.get(..name.span().start).unwrap_or_default();
        lines.insert(path.clone(), before.matches('\n').count() + 1);
        if let DeValue::Table(inner) = value.get_ref() {
            walk(text, &path, inner, lines);
        }
    }
}

/// The path of `name` within the table at `prefix`.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_sections_inline_tables_and_dotted_names() {
        let text = "cluster = \"c\"\n\n[servers]\nyam1 = { role = \"master\",\n  slots = 1 }\n\"a.b\" = \"slave\"\n[retry]\nx.y = 1\n";
        let lines = lines_of(text);
        let line = |path: &str| lines.get(path).copied();
        assert_eq!(
            (line("cluster"), line("servers.yam1.role"), line("servers.yam1.slots")),
            (Some(1), Some(4), Some(5))
        );
        assert_eq!((line("servers.a.b"), line("retry.x.y"), line("nothing")), (Some(6), Some(8), None));
        assert!(lines_of("x = [").is_empty());
    }

    #[test]
    fn an_origin_is_named_as_people_find_it() {
        assert_eq!(Origin::File("c.toml".into(), Some(3)).to_string(), "c.toml:3");
        assert_eq!(Origin::Variable("ELASTIC_FLOW_CLUSTER".to_owned()).to_string(), "ELASTIC_FLOW_CLUSTER");
        assert_eq!(Origin::Default.to_string(), "default");
    }
}
