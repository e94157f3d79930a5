//! Every series has its place in one table, from which `docs/metrics.md` is made:
//! `UPDATE_GOLDEN=1 cargo test -p elastic-flow-integration-tests --test metrics_doc` writes it.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use elastic_flow::metrics::{SERIES, Series, SeriesKind};
use elastic_flow_integration_tests::outside::workspace;
use elastic_flow_integration_tests::sources::of_published_crates;
use proc_macro2::{TokenStream, TokenTree};

const HEAD: &str = "\
<!-- Made from the table in crates/admin/src/series.rs by the test `metrics_doc`; not to be edited here. -->

# Metrics

Every series of a node, as `/metrics` and `elastic_flow::metrics::render()` give it in the text format of Prometheus. A master serves its
workers' series with its own: those have the label `node` there, beside the labels below. Counters only rise, and start at 0 with the process.

The last column says what is worth being woken for; a series without it explains the others.

| Series | Kind | Unit | Labels | Meaning | Alert when |
|---|---|---|---|---|---|
";

const fn kind(series: &Series) -> &'static str {
    match series.kind {
        SeriesKind::Counter => "counter",
        SeriesKind::Gauge => "gauge",
        SeriesKind::Histogram => "histogram",
    }
}

fn document() -> String {
    let mut document = HEAD.to_owned();
    for series in SERIES {
        let labels: Vec<String> = series.labels.iter().map(|label| format!("`{label}`")).collect();
        let (unit, alert) = (series.unit(), series.alert_when.unwrap_or(""));
        let row = [&format!("`{}`", series.name), kind(series), unit, &labels.join(", "), series.help, alert];
        assert!(row.iter().all(|cell| !cell.contains('|')), "a bar would break the table: {row:?}");
        writeln!(document, "| {} |", row.join(" | ").trim_end()).expect("a text takes text");
    }
    document
}

/// A call of `counter!`, `gauge!` or `histogram!`: the kind, the name and the labels.
type Emitted = (String, String, BTreeSet<String>);

/// The calls in a source, at any depth, without those of its tests.
fn emitted(path: &Path, tokens: TokenStream, found: &mut Vec<Emitted>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match (token, tokens.get(at + 1), tokens.get(at + 2)) {
            (TokenTree::Ident(word), Some(TokenTree::Ident(name)), Some(TokenTree::Group(_)))
                if word == "mod" && name == "tests" =>
            {
                at += 2;
            }
            (TokenTree::Ident(kind), Some(TokenTree::Punct(bang)), Some(TokenTree::Group(call)))
                if bang.as_char() == '!' && ["counter", "gauge", "histogram"].iter().any(|it| kind == it) =>
            {
                found.push(one(path, kind.to_string(), call.stream()));
            }
            (TokenTree::Group(group), _, _) => emitted(path, group.stream(), found),
            _ => {}
        }
        at += 1;
    }
}

fn one(path: &Path, kind: String, call: TokenStream) -> Emitted {
    let tokens: Vec<String> = call.into_iter().map(|token| token.to_string()).collect();
    let text = |token: &String| token.strip_prefix('"').and_then(|it| it.strip_suffix('"')).map(str::to_owned);
    let name = tokens.first().and_then(text);
    let name = name.unwrap_or_else(|| panic!("{}: the name of a {kind} is to be a literal", path.display()));
    let labels = tokens.windows(3).filter(|it| matches!(it, [_, equal, greater] if equal == "=" && greater == ">"));
    (kind, name, labels.filter_map(|it| it.first().and_then(text)).collect())
}

#[test]
fn the_document_says_what_the_table_says() {
    let path = workspace().join("docs/metrics.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(workspace().join("docs")).expect("a folder");
        std::fs::write(&path, document()).expect("a file of the workspace");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == document(),
        "docs/metrics.md is not what crates/admin/src/series.rs says: see the head of this test"
    );
}

#[test]
fn what_is_emitted_stands_in_the_table_and_what_stands_there_is_emitted() {
    let mut found = Vec::new();
    for (path, text) in of_published_crates().into_iter().flatten() {
        let tokens = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        emitted(&path, tokens, &mut found);
    }
    let mut by_name: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for (kind, name, labels) in found {
        let (kinds, all) = by_name.entry(name).or_default();
        kinds.insert(kind);
        all.extend(labels);
    }
    let table: BTreeMap<_, _> = SERIES
        .iter()
        .map(|it| {
            let labels = it.labels.iter().map(|&label| label.to_owned()).collect();
            (it.name.to_owned(), (BTreeSet::from([kind(it).to_owned()]), labels))
        })
        .collect();
    assert_eq!(by_name, table);
}

#[test]
fn calls_are_found_at_any_depth() {
    let source = r#"
        fn tell() {
            let all = vec![(counter!("a_total", "by" => who, "of" => "x => y"), 1)];
            metrics::gauge!("b").set(1.0);
        }
        mod tests { fn not_this() { counter!("c").increment(1); } }
    "#;
    let mut found = Vec::new();
    emitted(Path::new("a.rs"), source.parse().expect("it is Rust"), &mut found);
    let labels = |labels: &[&str]| labels.iter().map(|&it| it.to_owned()).collect();
    let wanted: [Emitted; 2] =
        [("counter".into(), "a_total".into(), labels(&["by", "of"])), ("gauge".into(), "b".into(), labels(&[]))];
    assert_eq!(found, wanted);
}
