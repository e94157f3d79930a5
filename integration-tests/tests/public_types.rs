//! No type of a library behind the project stands in what the published crates show: who depends on the project is to be free of
//! bincode's, RocksDB's and the metrics crates' versions, and the project to change them.
//!
//! The sources are read, as the compiler's own list of public items is not to be had from a stable one. What a file takes in with
//! `use`, under whatever name, and type aliases over it are followed; macros are not expanded.

#![expect(clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![expect(clippy::wildcard_enum_match_arm, reason = "of Rust's many items a few are looked at")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use elastic_flow_integration_tests::sources::of_published_crates;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, Type, UseTree, Visibility};

/// The libraries, as code names them.
const BEHIND: &[&str] = &["bincode", "bincode1", "rocksdb", "metrics", "metrics_util", "metrics_exporter_prometheus"];

/// One file: its items, and what of the libraries its plain names stand for.
struct Source {
    path: PathBuf,
    items: Vec<Item>,
    /// Names that stand for a library or for something of one.
    names: BTreeSet<String>,
}

impl Source {
    fn parse(path: &Path, text: &str) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let items = flat(file.items);
        let mut names: BTreeSet<String> = BEHIND.iter().map(|&name| name.to_owned()).collect();
        // A module of one's own hides the library of its name.
        for item in &items {
            if let Item::Mod(module) = item {
                names.remove(&module.ident.to_string());
            }
        }
        for item in &items {
            if let Item::Use(it) = item {
                let taken = taken_in(&it.tree, it.leading_colon.is_some(), &names);
                names.extend(taken);
            }
        }
        for item in &items {
            if let Item::Type(alias) = item
                && mentioned(&names, |mentions| mentions.visit_type(&alias.ty)).is_some()
            {
                names.insert(alias.ident.to_string());
            }
        }
        Self { path: path.to_owned(), items, names }
    }

    /// What its public items show of the libraries, as sentences. `hidden` are the crate's types and traits that are not public.
    fn shown(&self, hidden: &BTreeSet<String>) -> Vec<String> {
        let shown = self.items.iter().filter_map(|item| {
            let of = mentioned(&self.names, |mentions| visit_public(item, &self.names, hidden, mentions))?;
            Some(format!("{}: {} shows {of}", self.path.display(), name_of(item)))
        });
        shown.collect()
    }
}

/// Items of a file and of the modules written out in it, without tests.
fn flat(items: Vec<Item>) -> Vec<Item> {
    let mut all = Vec::new();
    for item in items {
        match item {
            Item::Mod(module) if is_test(&module.attrs) => {}
            Item::Mod(mut module) => {
                let inner = module.content.take();
                all.push(Item::Mod(module));
                all.extend(inner.map(|(_, items)| flat(items)).unwrap_or_default());
            }
            other => all.push(other),
        }
    }
    all
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|it| it.path().is_ident("cfg") && it.parse_args::<syn::Path>().is_ok_and(|it| it.is_ident("test")))
}

/// The names under which a `use` takes something of a library in. A glob takes all, under names that nobody sees here: it counts as
/// the library itself.
fn taken_in(tree: &UseTree, from_root: bool, names: &BTreeSet<String>) -> Vec<String> {
    let root = |ident: &syn::Ident| {
        let name = ident.to_string();
        names.contains(&name) || (from_root && BEHIND.contains(&name.as_str()))
    };
    match tree {
        UseTree::Path(path) if root(&path.ident) => ends(&path.tree),
        UseTree::Rename(rename) if root(&rename.ident) => vec![rename.rename.to_string()],
        UseTree::Name(name) if root(&name.ident) => vec![name.ident.to_string()],
        UseTree::Group(group) => group.items.iter().flat_map(|tree| taken_in(tree, from_root, names)).collect(),
        _ => Vec::new(),
    }
}

fn ends(tree: &UseTree) -> Vec<String> {
    match tree {
        UseTree::Path(path) => ends(&path.tree),
        UseTree::Name(name) => vec![name.ident.to_string()],
        UseTree::Rename(rename) => vec![rename.rename.to_string()],
        UseTree::Group(group) => group.items.iter().flat_map(ends).collect(),
        UseTree::Glob(_) => Vec::new(),
    }
}

/// The first path that begins with one of the names.
struct Mentions<'a> {
    names: &'a BTreeSet<String>,
    found: Option<String>,
}

impl<'a> Visit<'a> for Mentions<'_> {
    fn visit_path(&mut self, path: &'a syn::Path) {
        let first = path.segments.first().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if self.names.contains(&first) || (path.leading_colon.is_some() && BEHIND.contains(&first.as_str())) {
            let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.found.get_or_insert(segments.join("::"));
        }
        visit::visit_path(self, path);
    }

    // Code and attributes are nobody's business outside.
    fn visit_block(&mut self, _: &'a syn::Block) {}
    fn visit_expr(&mut self, _: &'a syn::Expr) {}
    fn visit_attribute(&mut self, _: &'a Attribute) {}
}

fn mentioned(names: &BTreeSet<String>, look: impl FnOnce(&mut Mentions<'_>)) -> Option<String> {
    let mut mentions = Mentions { names, found: None };
    look(&mut mentions);
    mentions.found
}

const fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Looks at what an item shows to other crates.
fn visit_public(item: &Item, names: &BTreeSet<String>, hidden: &BTreeSet<String>, mentions: &mut Mentions<'_>) {
    match item {
        Item::Fn(it) if is_public(&it.vis) => mentions.visit_signature(&it.sig),
        Item::Struct(it) if is_public(&it.vis) => {
            mentions.visit_generics(&it.generics);
            it.fields.iter().filter(|field| is_public(&field.vis)).for_each(|field| mentions.visit_type(&field.ty));
        }
        Item::Enum(it) if is_public(&it.vis) => mentions.visit_item_enum(it),
        Item::Union(it) if is_public(&it.vis) => mentions.visit_item_union(it),
        Item::Trait(it) if is_public(&it.vis) => mentions.visit_item_trait(it),
        Item::Type(it) if is_public(&it.vis) => mentions.visit_item_type(it),
        Item::Const(it) if is_public(&it.vis) => mentions.visit_type(&it.ty),
        Item::Static(it) if is_public(&it.vis) => mentions.visit_type(&it.ty),
        Item::ExternCrate(it) if is_public(&it.vis) && BEHIND.contains(&it.ident.to_string().as_str()) => {
            mentions.found = Some(it.ident.to_string());
        }
        Item::Use(it) if is_public(&it.vis) => {
            mentions.found = mentions.found.take().or_else(|| re_exported(it, names));
        }
        Item::Impl(it) => visit_impl(it, hidden, mentions),
        _ => {}
    }
}

/// What a `pub use` gives on of a library.
fn re_exported(it: &syn::ItemUse, names: &BTreeSet<String>) -> Option<String> {
    fn first(tree: &UseTree) -> Vec<String> {
        match tree {
            UseTree::Path(path) => vec![path.ident.to_string()],
            UseTree::Name(name) => vec![name.ident.to_string()],
            UseTree::Rename(rename) => vec![rename.ident.to_string()],
            UseTree::Group(group) => group.items.iter().flat_map(first).collect(),
            UseTree::Glob(_) => Vec::new(),
        }
    }
    let behind =
        |name: &String| names.contains(name) || (it.leading_colon.is_some() && BEHIND.contains(&name.as_str()));
    first(&it.tree).into_iter().find(behind)
}

/// An implementation is public where its trait and its type are.
fn visit_impl(it: &syn::ItemImpl, hidden: &BTreeSet<String>, mentions: &mut Mentions<'_>) {
    let is_hidden =
        |path: &syn::Path| path.segments.last().is_some_and(|last| hidden.contains(&last.ident.to_string()));
    let type_is_hidden = matches!(&*it.self_ty, Type::Path(of) if is_hidden(&of.path));
    let trait_is_hidden = it.trait_.as_ref().is_some_and(|(path, _)| is_hidden(path));
    if type_is_hidden || trait_is_hidden {
        return;
    }
    mentions.visit_generics(&it.generics);
    mentions.visit_type(&it.self_ty);
    if let Some((path, _)) = &it.trait_ {
        mentions.visit_path(path);
    }
    for item in &it.items {
        let of_trait = it.trait_.is_some();
        match item {
            ImplItem::Fn(function) if of_trait || is_public(&function.vis) => mentions.visit_signature(&function.sig),
            ImplItem::Const(constant) if of_trait || is_public(&constant.vis) => mentions.visit_type(&constant.ty),
            ImplItem::Type(associated) => mentions.visit_type(&associated.ty),
            _ => {}
        }
    }
}

fn name_of(item: &Item) -> String {
    match item {
        Item::Fn(it) => format!("fn {}", it.sig.ident),
        Item::Struct(it) => format!("struct {}", it.ident),
        Item::Enum(it) => format!("enum {}", it.ident),
        Item::Trait(it) => format!("trait {}", it.ident),
        Item::Type(it) => format!("type {}", it.ident),
        Item::Impl(_) => "an implementation".to_owned(),
        Item::Use(_) => "a `pub use`".to_owned(),
        _ => "an item".to_owned(),
    }
}

/// Types and traits of a crate that are not public, unless another one of that name is.
fn hidden(sources: &[Source]) -> BTreeSet<String> {
    let (mut public, mut private) = (BTreeSet::new(), BTreeSet::new());
    for item in sources.iter().flat_map(|source| &source.items) {
        let (visibility, ident) = match item {
            Item::Struct(it) => (&it.vis, &it.ident),
            Item::Enum(it) => (&it.vis, &it.ident),
            Item::Trait(it) => (&it.vis, &it.ident),
            _ => continue,
        };
        if is_public(visibility) { &mut public } else { &mut private }.insert(ident.to_string());
    }
    &private - &public
}

#[test]
fn published_crates_show_no_type_of_the_libraries_behind_them() {
    let (mut shown, mut behind) = (Vec::new(), 0);
    for files in of_published_crates() {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::parse(path, text)).collect();
        behind += sources.iter().filter(|source| source.names.len() > BEHIND.len()).count();
        let hidden = hidden(&sources);
        shown.extend(sources.iter().flat_map(|source| source.shown(&hidden)));
    }
    assert_eq!(shown, Vec::<String>::new());
    assert!(behind >= 5, "the libraries are used in {behind} files only: is this where the sources are?");
}

#[test]
fn what_shows_a_library_is_found_and_what_does_not_is_not() {
    for (text, is_shown) in [
        ("pub fn open() -> rocksdb::Error { todo!() }", true),
        ("pub(crate) fn open() -> rocksdb::Error { todo!() }", false),
        ("use rocksdb::{DB as Base}; pub struct Store { pub base: Base }", true),
        ("use rocksdb::DB; pub struct Store { base: DB }", false),
        ("pub struct Failed(pub Box<rocksdb::Error>);", true),
        ("pub enum Failed { Base { source: bincode::error::DecodeError } }", true),
        (
            "pub struct Failed; impl From<rocksdb::Error> for Failed { fn from(_: rocksdb::Error) -> Self { Self } }",
            true,
        ),
        ("struct Failed; impl From<rocksdb::Error> for Failed { fn from(_: rocksdb::Error) -> Self { Self } }", false),
        ("pub struct Mine; impl From<Mine> for rocksdb::Options { fn from(_: Mine) -> Self { todo!() } }", true),
        ("pub struct Mine; impl Mine { pub fn count(&self) -> ::metrics::Counter { todo!() } }", true),
        ("pub struct Mine; impl Mine { fn count(&self) -> ::metrics::Counter { todo!() } }", false),
        ("pub trait Coded { fn code(&self) -> Result<(), bincode::error::EncodeError>; }", true),
        ("pub trait Coded: bincode::Encode {}", true),
        ("pub fn all<T: bincode::Encode>(_: T) {}", true),
        ("type Handle = metrics_exporter_prometheus::PrometheusHandle; pub fn handle() -> Handle { todo!() }", true),
        ("pub use metrics::Recorder;", true),
        ("pub use ::metrics;", true),
        ("mod metrics; pub use metrics::Metrics;", false),
        ("mod metrics; pub use ::metrics::Recorder;", true),
        ("pub use crate::metrics::Metrics;", false),
        ("pub fn count() { metrics::counter!(\"a\").increment(1); let _: Option<rocksdb::DB> = None; }", false),
        ("#[cfg(test)] mod tests { pub fn open() -> rocksdb::Error { todo!() } }", false),
        ("pub mod inner { pub fn open() -> rocksdb::Error { todo!() } }", true),
    ] {
        let source = Source::parse(Path::new("a.rs"), text);
        let found = source.shown(&hidden(&[Source::parse(Path::new("a.rs"), text)]));
        assert_eq!(found.len(), usize::from(is_shown), "{text}: {found:?}");
    }
}
