//! Files that are gone, shorter, longer or other than at submission, before and while they are read.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use elastic_flow_wire::message::{FailureKind, PayloadKind};
use tempfile::{TempDir, tempdir};

use super::*;

const LINE: &[u8] = b"some twenty-four bytes.\n";
const FILE_BYTES: u64 = 3_000_000;

/// A file of 3 MB with a time of modification long ago, so that writing to it changes the time for certain.
fn old_file(name: &str) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    write_old(&path, &LINE.repeat(125_000));
    (folder, path)
}

fn write_old(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
}

fn truncate(path: &Path, bytes: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    use std::io::{Seek, SeekFrom};
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

/// A worker answers "not here" and the master cannot ship, with an error that has these words.
fn assert_not_here(payload: &Payload, words: &[&str]) {
    match open_blocks(payload).map(|_| ()) {
        Err(OpenFailure::NotHere { message }) => {
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
        other => panic!("not NotHere but {other:?}"),
    }
    let error = ship(payload, u64::MAX).unwrap_err();
    assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    assert_eq!(error.failure_kind(), FailureKind::Source);
}

#[test]
fn a_file_that_is_gone_fails_every_chunk_by_name_and_size() {
    let (_folder, path) = old_file("vanishing");
    let source = resolve(&[&path]);
    let mut cutter = cutter(&source);
    let first = cutter.cut(1_000_000, 1).unwrap().unwrap();
    fs::remove_file(&path).unwrap();
    let rest = cut_all(&mut cutter, 1_000_000, 1);
    assert_eq!(rest.len(), 2, "the rest is cut all the same");
    for cut in [first].iter().chain(&rest) {
        assert_not_here(&cut.payload, &[path.to_str().unwrap(), "3000000 bytes", "gone"]);
    }
    // Put back, as the error asks for, it can be shipped.
    write_old(&path, &LINE.repeat(125_000));
    let lines = rest.iter().map(|cut| read(&ship(&cut.payload, u64::MAX).unwrap()).0.len()).sum::<usize>();
    assert_eq!(lines, 125_000 - 41_667);
}

#[test]
fn a_shorter_file_fails_every_chunk_by_name_and_both_sizes() {
    let (_folder, path) = old_file("shrinking");
    let cuts = cut_all(&mut cutter(&resolve(&[&path])), 1_000_000, 1);
    truncate(&path, 2_500_000);
    for cut in &cuts {
        assert_not_here(&cut.payload, &[path.to_str().unwrap(), "3000000 bytes", "2500000"]);
    }
}

#[test]
fn another_file_under_the_name_fails_every_chunk_by_name_and_both_sizes() {
    for (offset, what) in [(0, "its beginning"), (FILE_BYTES - 1, "its end")] {
        let (_folder, path) = old_file("replaced");
        let cuts = cut_all(&mut cutter(&resolve(&[&path])), 1_000_000, 1);
        overwrite(&path, offset, b"X");
        for cut in &cuts {
            assert_not_here(
                &cut.payload,
                &[path.to_str().unwrap(), "other content", "3000000 bytes then, 3000000 now"],
            );
        }
        assert!(!cuts.is_empty(), "{what}");
    }
}

#[test]
fn a_stretch_with_other_ends_is_not_here_and_the_others_are_read() {
    let (_folder, path) = old_file("patched");
    let cuts = cut_all(&mut cutter(&resolve(&[&path])), 1_000_000, 1);
    overwrite(&path, 1_000_005, b"X");
    assert_not_here(&cuts[1].payload, &["other content"]);
    assert_eq!(read(&cuts[0].payload).1, 1_000_000);
    assert_eq!(read(&cuts[2].payload).1, 1_000_000);
}

#[test]
fn a_copy_with_another_time_is_the_same_file() {
    let (_folder, path) = old_file("copied");
    let cuts = cut_all(&mut cutter(&resolve(&[&path])), u64::MAX, 1);
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    assert_eq!(read(&cuts[0].payload).0.len(), 125_000);
}

#[test]
fn a_grown_file_is_read_to_its_size_at_submission_and_reported() {
    let (_folder, path) = old_file("log");
    truncate(&path, FILE_BYTES - 1);
    let source = resolve(&[&path]);
    overwrite(&path, FILE_BYTES - 1, b" and more of this line\nand another\n");
    let cuts = cut_all(&mut cutter(&source), 800_000, 1);
    let read: Vec<_> = cuts.iter().map(|cut| read(&cut.payload)).collect();
    let lines: Vec<_> = read.iter().flat_map(|(lines, _)| lines).collect();
    assert_eq!(lines.len(), 125_000);
    assert!(lines.iter().all(|line| **line == LINE[..23]));
    assert_eq!(read.iter().map(|(_, bytes)| bytes).sum::<u64>(), FILE_BYTES - 1);
    let [grown] = source.grown().try_into().unwrap();
    assert_eq!((grown.submitted_bytes, grown.found_bytes), (FILE_BYTES - 1, FILE_BYTES + 34));
    assert_eq!(grown.path, path.to_str().unwrap());
}

/// A file that was opened, and of which one block was read.
fn half_read(name: &str) -> (TempDir, PathBuf, Box<dyn Blocks>) {
    let (folder, path) = old_file(name);
    let cuts = cut_all(&mut cutter(&resolve(&[&path])), u64::MAX, 1);
    let mut blocks = open_blocks(&cuts[0].payload).unwrap();
    assert!(blocks.next_block().unwrap().is_some());
    assert!(blocks.bytes_read() > 0 && blocks.bytes_read() < FILE_BYTES);
    (folder, path, blocks)
}

#[test]
fn a_file_that_shrinks_while_it_is_read_fails_with_both_sizes() {
    // Below what was read, within what is still to be read, and only by the last byte.
    for length in [10, 2_000_000, FILE_BYTES - 1] {
        let (_folder, path, mut blocks) = half_read("shrinking");
        truncate(&path, length);
        let error = read_error(&mut *blocks);
        let SourceError::Shrunk { path: named, submitted_bytes, found_bytes } = error else { panic!("{error}") };
        assert_eq!((named.as_str(), submitted_bytes, found_bytes), (path.to_str().unwrap(), FILE_BYTES, length));
        assert_eq!(blocks.next_block().unwrap(), None);
    }
}

#[test]
fn a_file_that_is_written_to_while_it_is_read_fails() {
    let (_folder, path, mut blocks) = half_read("patched");
    overwrite(&path, 2_000_000, b"X");
    let error = read_error(&mut *blocks);
    assert!(matches!(error, SourceError::ChangedWhileRead { found_bytes: FILE_BYTES, .. }), "{error}");
    assert_eq!(error.failure_kind(), FailureKind::SourceChanged, "it is not to be read again");
}

#[test]
fn a_compressed_file_that_is_written_to_while_it_is_read_is_called_changed_and_not_corrupt() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("patched.gz");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&LINE.repeat(125_000)).unwrap();
    write_old(&path, &encoder.finish().unwrap());
    let cuts = cut_all(&mut cutter(&resolve(&[&path])), u64::MAX, 1);
    let mut blocks = open_blocks(&cuts[0].payload).unwrap();
    assert!(blocks.next_block().unwrap().is_some());
    overwrite(&path, 2_000_000, &[0xff; 100_000]);
    let error = read_error(&mut *blocks);
    assert!(matches!(error, SourceError::ChangedWhileRead { .. }), "{error}");
    // Found by the next reader, it is what it is.
    let error = read_error(&mut *open_blocks(&cuts[0].payload).unwrap());
    assert!(matches!(error, SourceError::Corrupt { .. }), "{error}");
}

#[test]
fn a_file_that_is_rewritten_longer_while_it_is_read_fails() {
    let (_folder, path, mut blocks) = half_read("rewritten");
    fs::write(&path, LINE.repeat(130_000).to_ascii_uppercase()).unwrap();
    let error = read_error(&mut *blocks);
    assert!(matches!(error, SourceError::ChangedWhileRead { found_bytes: 3_120_000, .. }), "{error}");
}

#[test]
fn a_file_that_grows_while_it_is_read_is_read_to_its_size_at_submission() {
    let (_folder, path, mut blocks) = half_read("log");
    overwrite(&path, FILE_BYTES, b"more\n");
    while blocks.next_block().unwrap().is_some() {}
    assert_eq!(blocks.bytes_read(), FILE_BYTES);
}

#[test]
fn a_file_whose_name_is_taken_by_another_is_read_to_its_end() {
    let (_folder, path, mut blocks) = half_read("rotated");
    fs::rename(&path, path.with_extension("1")).unwrap();
    fs::write(&path, "new\n").unwrap();
    while let Some(block) = blocks.next_block().unwrap() {
        assert!(block.chunks(LINE.len()).all(|line| line == LINE));
    }
    assert_eq!(blocks.bytes_read(), FILE_BYTES);
}

#[test]
fn a_packed_file_that_changes_after_the_chunk_was_opened_fails_by_name() {
    let folder = tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| folder.path().join(name));
    type Harm = fn(&Path);
    let harms: [(Harm, &str); 3] = [
        (|path| fs::remove_file(path).unwrap(), "gone"),
        (|path| truncate(path, 3), "10 bytes at submission and has 3 now"),
        (|path| overwrite(path, 4, b"X"), "10 bytes"),
    ];
    for (harm, word) in harms {
        for path in &paths {
            write_old(path, b"ten bytes\n");
        }
        let cuts = cut_all(&mut cutter(&resolve(&[&paths[0], &paths[1], &paths[2]])), 1000, 1);
        assert_eq!((cuts.len(), cuts[0].covers.len()), (1, 3));
        let mut blocks = open_blocks(&cuts[0].payload).unwrap();
        harm(&paths[1]);
        let error = read_error(&mut *blocks).to_string();
        assert!(error.contains(paths[1].to_str().unwrap()) && error.contains(word), "{error}");
        assert!(matches!(open_blocks(&cuts[0].payload), Err(OpenFailure::NotHere { .. })), "the next attempt ships");
    }
}

#[test]
fn a_packed_file_that_grows_after_the_chunk_was_opened_is_read_to_its_size_at_submission() {
    let folder = tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    for path in &paths {
        write_old(path, b"ten bytes\n");
    }
    let cuts = cut_all(&mut cutter(&resolve(&[&paths[0], &paths[1]])), 1000, 1);
    assert_eq!((cuts.len(), cuts[0].covers.len()), (1, 2));
    let mut blocks = open_blocks(&cuts[0].payload).unwrap();
    overwrite(&paths[1], 10, b"and more\n");
    assert_eq!(&*blocks.next_block().unwrap().unwrap(), b"ten bytes\nten bytes\n");
    assert_eq!((blocks.next_block().unwrap(), blocks.bytes_read()), (None, 20));

    // Grown, and its beginning is another.
    let mut blocks = open_blocks(&cuts[0].payload).unwrap();
    overwrite(&paths[1], 0, b"TEN bytes\nand more\nand more\n");
    let error = read_error(&mut *blocks);
    assert!(matches!(error, SourceError::ChangedWhileRead { submitted_bytes: 10, found_bytes: 28, .. }), "{error}");
}

#[test]
fn a_file_that_was_written_to_and_has_its_former_size_is_named() {
    let (_folder, path) = old_file("patched");
    let source = resolve(&[&path]);
    assert_eq!(source.rewritten(), [""; 0]);
    overwrite(&path, 2_000_000, b"X");
    assert_eq!(source.rewritten(), [path.to_str().unwrap()]);
    overwrite(&path, FILE_BYTES, b"X");
    assert_eq!((source.rewritten().len(), source.grown().len()), (0, 1), "a file that has grown is named as that");
    truncate(&path, 10);
    assert_eq!(source.rewritten(), [""; 0], "a shorter one has failed");

    // Of a small file all bytes are compared.
    write_old(&path, &LINE[..10]);
    let source = resolve(&[&path]);
    overwrite(&path, 0, b"S");
    assert_eq!(source.rewritten(), [""; 0]);
}

#[test]
fn resolving_gives_regular_files_once_in_the_order_of_their_paths() {
    let folder = tempdir().unwrap();
    fs::create_dir_all(folder.path().join("sub/.hidden")).unwrap();
    for name in ["b.txt", "a.txt", "sub/c.txt", ".dot.txt", "sub/.hidden/d.txt", "odd[1].txt"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let at = |name: &str| folder.path().join(name);
    let names = |paths: &[&Path]| -> Vec<String> {
        let parts = resolve(paths).source_parts();
        let strip = |name: &str| name.strip_prefix(folder.path().to_str().unwrap()).unwrap()[1..].to_owned();
        parts.iter().map(|part| strip(&part.name)).collect()
    };
    assert_eq!(names(&[&at("**/*.txt")]), ["a.txt", "b.txt", "odd[1].txt", "sub/c.txt"]);
    assert_eq!(names(&[&at("*")]), ["a.txt", "b.txt", "odd[1].txt"]);
    assert_eq!(names(&[&at("b.txt"), &at("[ab].txt"), &at("a.txt")]), ["a.txt", "b.txt"]);
    assert_eq!(names(&[&at("odd[1].txt")]), ["odd[1].txt"]);
    assert_eq!(names(&[&at(".dot.txt")]), [".dot.txt"]);
}

#[test]
fn what_is_no_file_is_refused_at_submission_by_name() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let refused = |path: &Path| {
        let paths = vec![path.to_str().unwrap().to_owned()];
        let error = ResolvedSource::resolve([&SourceSpec::Lines { paths }]).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        error
    };
    assert!(matches!(refused(folder.path()), SourceError::Directory { .. }));
    assert!(matches!(refused(&folder.path().join("absent")), SourceError::Open { .. }));
    assert!(matches!(refused(&folder.path().join("*.txt")), SourceError::NothingMatches { .. }));
    assert!(matches!(refused(&folder.path().join("a***b")), SourceError::Pattern { .. }));
    assert!(matches!(refused(&socket), SourceError::NotRegular { .. }));
}

#[test]
fn a_node_reads_nothing_outside_of_its_data_roots() {
    let folder = tempdir().unwrap();
    let (inside, outside) = (folder.path().join("data"), folder.path().join("secret"));
    fs::create_dir_all(&inside).unwrap();
    fs::write(&outside, "secret\n").unwrap();
    fs::write(inside.join("open"), "open\n").unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    let roots = DataRoots::under([&inside]).unwrap();
    for (path, allowed) in [
        (inside.join("open"), true),
        (inside.join("link"), false),
        (inside.join("../secret"), false),
        (outside.clone(), false),
    ] {
        let cuts = cut_all(&mut cutter(&resolve(&[&path])), 100, 1);
        match roots.confine(&cuts[0].payload) {
            Ok(confined) => assert!(allowed && read(&confined).0.len() == 1, "{}", path.display()),
            Err(OpenFailure::NotHere { message }) => assert!(!allowed && message.contains("data_roots"), "{message}"),
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(DataRoots::unrestricted().confine(&cuts[0].payload), Ok(cuts[0].payload.clone()));
    }
    assert!(roots.check(Path::new("relative")).is_err());
    assert!(DataRoots::under([folder.path().join("absent")]).is_err());
    let nothing = DataRoots::under::<&Path>([]).unwrap();
    assert!(nothing.check(&inside.join("open")).is_err());
}

#[test]
fn a_path_that_became_a_pipe_or_folder_is_not_here() {
    let (_folder, path) = old_file("folder");
    let cuts = cut_all(&mut cutter(&resolve(&[&path])), u64::MAX, 1);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(open_blocks(&cuts[0].payload), Err(OpenFailure::NotHere { .. })));
    assert!(File::open(&path).is_ok(), "a folder opens, and must not be taken for a file");
}

#[test]
fn payloads_that_no_master_makes_are_refused_without_a_panic() {
    let (_folder, path) = old_file("file");
    let cuts = cut_all(&mut cutter(&resolve(&[&path])), 1_000_000, 1);
    let text = String::from_utf8(cuts[1].payload.body.to_vec()).unwrap();
    let body = |text: String| Payload { kind: PayloadKind::Split, body: text.into_bytes().into() };
    let split = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        body(text.replacen(from, to, 1))
    };
    for payload in [
        body(String::new()),
        body("{}".to_owned()),
        body(r#"{"Range":{"start":5,"end":4}}"#.to_owned()),
        split(r#""offset":1000000"#, r#""offset":18446744073709551615"#),
        split(r#""offset":1000000"#, r#""offset":2000001"#),
        split(r#""compression":"None""#, r#""compression":"Gzip""#),
        Payload { kind: PayloadKind::Bytes, body: b"1234567"[..].into() },
    ] {
        let opened = open_blocks(&payload).map(|_| ());
        assert!(matches!(opened, Err(OpenFailure::Failed { kind: FailureKind::Decode, .. })), "{opened:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    #[test]
    fn a_damaged_descriptor_never_panics(at in 0_usize..400, byte: u8, cut: bool) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, LINE.repeat(10)).unwrap();
        let cuts = cut_all(&mut cutter(&resolve(&[&path])), 100, 1);
        let mut body = cuts[1].payload.body.to_vec();
        let at = at % body.len();
        body[at] = byte;
        body.truncate(if cut { at } else { body.len() });
        if let Ok(mut blocks) = open_blocks_or_range(&Payload { kind: PayloadKind::Split, body: body.into() }) {
            while let Ok(Some(_)) = blocks.next_block() {}
        }
    }
}

fn open_blocks_or_range(payload: &Payload) -> Result<Box<dyn Blocks>, ()> {
    match open(&chunk(payload)) {
        Ok(Feed::Lines(blocks)) => Ok(blocks),
        _ => Err(()),
    }
}
