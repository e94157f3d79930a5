//! A store that is opened to be looked at.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[expect(dead_code, reason = "each test file uses a part")]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use elastic_flow_store::{Durability, Store, StoreError};
use elastic_flow_store_fs::{FsOptions, FsStore};

use common::{STEP, append, journal, open, segments};

/// Every file and folder below `folder`, with what is in it.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, None);
        } else {
            found.insert(path.clone(), Some(fs::read(path).unwrap()));
        }
    }
    found
}

/// A store with a record and a payload, and with all that a crash can leave.
fn with_leftovers(path: &Path) {
    let (store, _) = open(path, FsOptions::default()).unwrap();
    let old = segments(path)[0].clone();
    let old_bytes = fs::read(&old).unwrap();
    store.rewrite(&mut [b"kept".to_vec()].into_iter()).unwrap();
    append(&store, &[b"torn".to_vec()]);
    store.put(STEP, "a", b"payload", Durability::Os).unwrap();
    drop(store);
    let last = segments(path)[0].clone();
    let whole = fs::read(&last).unwrap();
    fs::write(&last, &whole[..whole.len() - 1]).unwrap();
    fs::write(&old, old_bytes).unwrap();
    fs::write(path.join("payloads/3/b.zst.7.tmp"), b"part").unwrap();
    fs::create_dir(path.join("payloads/4")).unwrap();
}

#[test]
fn a_look_sees_what_is_whole_names_what_a_crash_left_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    with_leftovers(&path);
    let before = tree(&path);
    let (store, report) = FsStore::look(&path).unwrap();
    assert_eq!(journal(&store), [b"kept"]);
    assert_eq!((report.journal_records, report.old_segments, report.temp_files), (1, 1, 1));
    assert_eq!(report.torn_tail.as_ref().map(|torn| torn.bytes), Some(28 + 3));
    assert_eq!(store.get(STEP, "a").unwrap().unwrap(), "payload");
    assert_eq!(store.steps().unwrap(), [STEP]);
    let refused = [
        store.append(&[b"x"], Durability::Os),
        store.rewrite(&mut std::iter::empty()),
        store.put(STEP, "b", b"x", Durability::Os),
        store.delete(STEP, "a"),
        store.delete_step(STEP),
    ];
    for refused in refused {
        assert!(
            matches!(&refused, Err(StoreError::Invalid { detail, .. }) if detail.contains("looked at")),
            "{refused:?}"
        );
    }
    assert!(matches!(open(&path, FsOptions::default()), Err(StoreError::Held { .. })));
    drop(store);
    assert_eq!(tree(&path), before);

    let (store, mended) = open(&path, FsOptions::default()).unwrap();
    assert_eq!(mended, report);
    assert_eq!(journal(&store), [b"kept"]);
}

#[test]
fn where_no_store_is_a_look_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("not-there")] {
        let refused = FsStore::look(&path).unwrap_err();
        assert!(refused.to_string().contains("there is no store in this folder"), "{refused}");
    }
    assert_eq!(tree(folder.path()), BTreeMap::new());
}
