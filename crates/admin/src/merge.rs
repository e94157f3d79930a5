//! The workers' series under the master's: one text, each family once, `node` added to what came from a worker.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Most bytes of a worker's text that are looked at.
const WORKER_BYTES_MAX: usize = 4 << 20;

/// A family: its comments and its samples.
#[derive(Debug, Default)]
struct Family {
    help: Option<String>,
    kind: Option<String>,
    samples: Vec<String>,
}

/// Merges `own` with the texts of workers, by node name. What does not parse is left out, and so is a worker's family whose type
/// differs from one seen before.
pub(crate) fn merge(own: &str, workers: &[(String, String)]) -> String {
    let mut families = BTreeMap::new();
    add(&mut families, own, None);
    for (node, text) in workers {
        let end = text.floor_char_boundary(WORKER_BYTES_MAX);
        add(&mut families, text.get(..end).unwrap_or_default(), Some(node));
    }
    let mut out = String::with_capacity(own.len());
    for (name, family) in families.into_iter().filter(|(_, family)| !family.samples.is_empty()) {
        // Writing to a string cannot fail.
        if let Some(help) = family.help {
            writeln!(out, "# HELP {name} {help}").ok();
        }
        if let Some(kind) = family.kind {
            writeln!(out, "# TYPE {name} {kind}").ok();
        }
        for sample in family.samples {
            writeln!(out, "{sample}").ok();
        }
    }
    out
}

fn add(families: &mut BTreeMap<String, Family>, text: &str, node: Option<&str>) {
    let mut current: Option<(String, bool)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("# HELP ") {
            if let Some((name, help)) = comment.split_once(' ')
                && is_name(name)
            {
                let family = families.entry(name.to_owned()).or_default();
                family.help.get_or_insert_with(|| help.to_owned());
            }
        } else if let Some(comment) = line.strip_prefix("# TYPE ") {
            current = None;
            if let Some((name, kind)) = comment.split_once(' ')
                && is_name(name)
                && matches!(kind, "counter" | "gauge" | "histogram" | "summary" | "untyped")
            {
                let family = families.entry(name.to_owned()).or_default();
                let agrees = family.kind.get_or_insert_with(|| kind.to_owned()) == kind;
                current = Some((name.to_owned(), agrees));
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            let Some((family_name, agrees)) = &current else { continue };
            if !agrees {
                continue;
            }
            if let Some(sample) = with_node(line, family_name, node)
                && let Some(family) = families.get_mut(family_name)
            {
                family.samples.push(sample);
            }
        }
    }
}

/// The sample with `node` among its labels; none if it is not a sample of `family`.
fn with_node(line: &str, family: &str, node: Option<&str>) -> Option<String> {
    let name_end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at_checked(name_end)?;
    let suffix = name.strip_prefix(family)?;
    if !matches!(suffix, "" | "_bucket" | "_sum" | "_count") {
        return None;
    }
    let (labels, value) = match rest.strip_prefix('{') {
        Some(inner) => {
            let end = labels_end(inner)?;
            (inner.get(..end)?, inner.get(end.saturating_add(1)..)?)
        }
        None => ("", rest),
    };
    value.split_ascii_whitespace().next()?.parse::<f64>().ok()?;
    let Some(node) = node else { return Some(line.to_owned()) };
    let has_node = labels.starts_with("node=") || labels.contains(",node=");
    let labels = labels.trim_end_matches(',');
    let own = if has_node { String::new() } else { format!("node=\"{}\"", escape(node)) };
    let comma = if labels.is_empty() || own.is_empty() { "" } else { "," };
    Some(format!("{name}{{{own}{comma}{labels}}} {}", value.trim()))
}

/// The index of the brace that ends the labels, quoted values aside.
fn labels_end(inner: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "# HELP a_total An a.\n# TYPE a_total counter\na_total{station=\"sent\"} 3\na_total 1\n\n";

    #[test]
    fn a_family_appears_once_with_the_workers_samples_by_node() {
        let worker = "# TYPE a_total counter\na_total{station=\"sent\"} 5\n# TYPE b gauge\nb 7\n".to_owned();
        let merged = merge(OWN, &[("w1".to_owned(), worker.clone()), ("w\"2".to_owned(), worker)]);
        assert_eq!(
            merged,
            "# HELP a_total An a.\n# TYPE a_total counter\na_total{station=\"sent\"} 3\na_total 1\n\
             a_total{node=\"w1\",station=\"sent\"} 5\na_total{node=\"w\\\"2\",station=\"sent\"} 5\n\
             # TYPE b gauge\nb{node=\"w1\"} 7\nb{node=\"w\\\"2\"} 7\n"
        );
    }

    #[test]
    fn histograms_keep_their_parts_together() {
        let worker =
            "# TYPE h_seconds histogram\nh_seconds_bucket{le=\"+Inf\"} 2\nh_seconds_sum 0.5\nh_seconds_count 2\n";
        assert_eq!(
            merge("", &[("w".to_owned(), worker.to_owned())]),
            "# TYPE h_seconds histogram\nh_seconds_bucket{node=\"w\",le=\"+Inf\"} 2\nh_seconds_sum{node=\"w\"} 0.5\n\
             h_seconds_count{node=\"w\"} 2\n"
        );
    }

    #[test]
    fn what_a_worker_makes_up_is_left_out() {
        for bad in [
            "# TYPE a_total gauge\na_total 9\n",
            "a_total 9\n",
            "# TYPE a_total counter\nother 9\n",
            "# TYPE a_total counter\na_total{x=\"} 9\n",
            "# TYPE a_total counter\na_total nine\n",
            "# TYPE 9a counter\n9a 1\n",
            "# TYPE a_total counter\na_total\n",
        ] {
            assert_eq!(merge(OWN, &[("w".to_owned(), bad.to_owned())]), merge(OWN, &[]), "{bad}");
        }
    }

    #[test]
    fn a_brace_in_a_value_does_not_end_the_labels() {
        let worker = "# TYPE b gauge\nb{x=\"}\\\"}\",node=\"n\"} 1\n".to_owned();
        assert_eq!(merge("", &[("w".to_owned(), worker)]), "# TYPE b gauge\nb{x=\"}\\\"}\",node=\"n\"} 1\n");
    }
}
